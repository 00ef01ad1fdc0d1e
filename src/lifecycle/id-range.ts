/** Which ids of the host a user namespace has: a range of its own for each container. */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ConflictError, HostError } from '../errors.ts';
import { readToolOutput } from '../host/tool-output.ts';
import { readIdMaps } from '../host/user-namespace.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { USERNS_IDS } from '../spec/userns.ts';
import { lockIdRanges } from '../state/locks.ts';
import { containerPaths, ID_RANGES_LOCK, USERNS_DIR } from '../state/paths.ts';
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

function overlaps(range: Range, from: number): boolean {
  return range.from < from + USERNS_IDS && from < range.from + range.count;
}

/** Throws HostError where none is free. */
export function chooseRange(taken: readonly Range[]): number {
  for (let from = FIRST; from + USERNS_IDS - 1 <= LAST; ) {
    const other = taken.find((range) => overlaps(range, from));
    if (other === undefined) return from;
    from = other.from + other.count;
  }
  throw new HostError('cannot choose ids for a user namespace: all ranges are taken', {
    hint: 'cat /etc/subuid /etc/subgid',
  });
}

interface UsedRange extends Range {
  readonly file: string;
}

/** Those of other roots' containers that are up, by the namespaces themselves: where their records are nobody knows. */
async function othersRanges({ roots }: Context): Promise<UsedRange[]> {
  const names = existsSync(USERNS_DIR) ? readdirSync(USERNS_DIR) : [];
  // No container's name begins with a dot. What of this root's is up has an enter record.
  const others = names.filter((name) => !name.startsWith('.') && !existsSync(containerPaths(roots, name).runDir));
  if (others.length === 0) return [];
  const output = await readToolOutput(readIdMaps(others.map((name) => join(USERNS_DIR, name))));
  let file = '';
  return (output?.stdout.split('\n') ?? []).flatMap((line) => {
    if (line.startsWith('/')) file = line;
    const [, from, count] = /^\s*\d+\s+(\d+)\s+(\d+)$/.exec(line) ?? [];
    return from === undefined ? [] : [{ file, from: Number(from), count: Number(count) }];
  });
}

async function takenRanges(context: Context, name: string): Promise<Range[]> {
  const { roots } = context;
  const others = listContainers(roots).filter((other) => other !== name);
  const specs = await Promise.all(others.map((other) => findContainer(roots, other)));
  const own = specs.flatMap((spec) => (spec?.userns ? [{ from: spec.userns.hostId, count: USERNS_IDS }] : []));
  return [...own, ...(await othersRanges(context)), ...delegated('/etc/subuid'), ...delegated('/etc/subgid')];
}

/** Chosen, and not kept from others. */
export async function withChosenIds(context: Context, spec: ContainerSpec): Promise<ContainerSpec> {
  return { ...spec, userns: { hostId: chooseRange(await takenRanges(context, spec.name)) } };
}

async function whileLocked<T>(use: () => Promise<T>): Promise<T> {
  const lock = lockIdRanges();
  try {
    return await use();
  } finally {
    rmSync(ID_RANGES_LOCK, { force: true });
    lock.release();
  }
}

/** `use` makes the container of the spec that it gets; nobody else chooses until it has. */
export async function withIdRange<T>(
  context: Context,
  spec: ContainerSpec,
  use: (spec: ContainerSpec) => Promise<T>,
): Promise<T> {
  return whileLocked(async () => use(await withChosenIds(context, spec)));
}

/**
 * `use` makes the namespace of a container that has its ids already, and no namespace (after a reboot). Throws ConflictError where
 * another root's container has come to them meanwhile.
 */
export async function withOwnRange<T>(
  context: Context,
  { name }: ContainerSpec,
  hostId: number,
  use: () => Promise<T>,
): Promise<T> {
  return whileLocked(async () => {
    const other = (await othersRanges(context)).find((range) => overlaps(range, hostId));
    if (other === undefined) return use();
    const last = hostId + USERNS_IDS - 1;
    throw new ConflictError(
      `cannot start ${name}: its ids ${hostId} to ${last} of the host are those of ${other.file}`,
      {
        hint: `minict clone ${name} NAME makes one with other ids`,
      },
    );
  });
}
