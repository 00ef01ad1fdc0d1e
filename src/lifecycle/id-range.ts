/** Which ids of the host a user namespace has: a range of its own for each container. */
import { readFileSync, rmSync } from 'node:fs';
import { HostError } from '../errors.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { USERNS_IDS } from '../spec/userns.ts';
import { lockIdRanges } from '../state/locks.ts';
import { idRangesLockPath } from '../state/paths.ts';
import { findContainer, listContainers } from '../state/store.ts';
import type { Context } from './context.ts';

interface Range {
  readonly from: number;
  readonly count: number;
}

const FIRST = 1_000_000;
/** Below what the kernel, and programs that take ids for signed numbers, have for none. */
const LAST = 2 ** 31 - 1;

/** subuid(5): what users may have in containers of their own. */
function delegated(path: string): Range[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return [...text.matchAll(/^[^:\n]*:(\d+):(\d+)\s*$/gm)].map(([, from, count]) => ({
    from: Number(from),
    count: Number(count),
  }));
}

/** Throws HostError where none is free. */
export function chooseRange(taken: readonly Range[]): number {
  for (let from = FIRST; from + USERNS_IDS - 1 <= LAST; ) {
    const other = taken.find((range) => range.from < from + USERNS_IDS && from < range.from + range.count);
    if (other === undefined) return from;
    from = other.from + other.count;
  }
  throw new HostError('cannot choose ids for a user namespace: all ranges are taken', {
    hint: 'cat /etc/subuid /etc/subgid',
  });
}

async function takenRanges({ roots }: Context, name: string): Promise<Range[]> {
  const others = listContainers(roots).filter((other) => other !== name);
  const specs = await Promise.all(others.map((other) => findContainer(roots, other)));
  const own = specs.flatMap((spec) => (spec?.userns ? [{ from: spec.userns.hostId, count: USERNS_IDS }] : []));
  return [...own, ...delegated('/etc/subuid'), ...delegated('/etc/subgid')];
}

/** Chosen, and not kept from others. */
export async function withChosenIds(context: Context, spec: ContainerSpec): Promise<ContainerSpec> {
  return { ...spec, userns: { hostId: chooseRange(await takenRanges(context, spec.name)) } };
}

/** `use` makes the container of the spec that it gets; nobody else chooses until it has. */
export async function withIdRange<T>(
  context: Context,
  spec: ContainerSpec,
  use: (spec: ContainerSpec) => Promise<T>,
): Promise<T> {
  const lock = lockIdRanges(context.roots);
  try {
    return await use(await withChosenIds(context, spec));
  } finally {
    rmSync(idRangesLockPath(context.roots), { force: true });
    lock.release();
  }
}
