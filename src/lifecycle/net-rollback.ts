/**
 * A container's network as it was at a snapshot: what differs is changed, and nothing else, until nothing differs. The kernel
 * knows all there is, so a killed rollback is done again, and goes on. Each kind alone is as atomic as its tool.
 */
import { firstLine, HostError } from '../errors.ts';
import { type Lines, type WayBack, without } from '../netns/kind.ts';
import { linkNames, links } from '../netns/links.ts';
import { commandArgv } from '../runner/batch.ts';
import { runTool, type SpawnContext } from '../runner/spawn.ts';
import { netSnapshotFolder, requireNetSnapshot } from '../state/net-snapshots.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer } from '../state/store.ts';
import type { Step } from '../step.ts';
import { type Context, spawnContext } from './context.ts';
import { holdAlone } from './hold.ts';
import { requireNamespace } from './namespace.ts';
import { type Difference, differences, KINDS, type NetState, readNetState, readSavedState } from './net-state.ts';

/** A link, then its addresses, then their routes, then what these are for; more for what the kernel rounds. */
const PASSES = 8;

const SHOWN = 20;

function planPass(way: WayBack, then: NetState, now: NetState): Step[] {
  return KINDS.flatMap((kind) => kind.restore(way, then.lines.get(kind) ?? [], now.lines.get(kind) ?? []));
}

/** `ip`, or `ip -6`, of a step that ip(8) can do as one of many. */
function batchOf({ run }: Step): readonly string[] | undefined {
  if (run.kind !== 'run' || run.argv[0] !== 'ip' || run.netns === undefined) return undefined;
  const option = run.argv[1] === '-6' ? ['-6'] : [];
  return ['ip', ...option, '-n', run.netns, '-force', '-batch', '-'];
}

/** Goes on after a failure, as another pass may mend it. What the tools complained of. */
async function runSteps(steps: readonly Step[], context: SpawnContext): Promise<string[]> {
  const complaints: string[] = [];
  const run = async (argv: Lines, stdin?: string) => {
    const { exitCode, stderr } = await runTool(argv, context, stdin);
    if (exitCode !== 0) complaints.push(`${argv[0]}: ${firstLine(stderr)}`);
  };
  let rest = steps;
  for (let first = rest[0]; first !== undefined; first = rest[0]) {
    const batch = batchOf(first);
    let end = 1;
    if (batch === undefined) await run(commandArgv(first.run as Parameters<typeof commandArgv>[0]));
    else {
      while (end < rest.length && batchOf(rest[end] as Step)?.join() === batch.join()) end += 1;
      const lines = rest.slice(0, end).map(({ run }) => (run.kind === 'run' ? run.argv : []));
      const words = batch[1] === '-6' ? 2 : 1;
      await run(batch, lines.map((argv) => `${argv.slice(words).join(' ')}\n`).join(''));
    }
    rest = rest.slice(end);
  }
  return complaints;
}

function notRestored(
  container: string,
  snapshot: string,
  left: readonly Difference[],
  complaints: readonly string[],
): HostError {
  const interfaces = left.find(({ kind }) => kind === links);
  const [old, now] = [linkNames(interfaces?.old ?? []), linkNames(interfaces?.now ?? [])];
  const gone = without(old, now).map((name) => `interface ${name} is gone`);
  const added = without(now, old).map((name) => `interface ${name} was not there`);
  const lines = left.flatMap((difference) => [
    ...without(difference.old, difference.now).map((line) => `${difference.kind.name}: missing: ${line}`),
    ...without(difference.now, difference.old).map((line) => `${difference.kind.name}: too much: ${line}`),
  ]);
  const causes = [...gone, ...added];
  const cause = causes.length > 0 ? causes.join(', ') : (lines[0] ?? left[0]?.kind.name ?? '');
  const details = [...lines.slice(0, SHOWN), ...new Set(complaints)];
  return new HostError(`cannot restore all of the network of ${container}: ${cause}`, {
    details: details.join('\n'),
    hint: `minict net diff ${container} ${snapshot} shows what is left`,
  });
}

/** Without a lock, and without a change: its first pass. */
export async function rollBackNetSteps(context: Context, container: string, snapshot: string): Promise<Step[]> {
  await getContainer(context.roots, container);
  const paths = containerPaths(context.roots, container);
  requireNetSnapshot(paths, container, snapshot);
  const namespace = requireNamespace(context, container, `roll back the network of ${container}`);
  const way = { ...namespace, folder: netSnapshotFolder(paths, snapshot), asked: new Map() };
  return planPass(way, readSavedState(paths, snapshot), await readNetState(namespace));
}

/** Throws NotFoundError, ConflictError; HostError for what could not be restored. */
export async function rollBackNet(context: Context, container: string, snapshot: string): Promise<void> {
  const { lock } = await holdAlone(context, container, false);
  try {
    const paths = containerPaths(context.roots, container);
    requireNetSnapshot(paths, container, snapshot);
    const namespace = requireNamespace(context, container, `roll back the network of ${container}`);
    const then = readSavedState(paths, snapshot);
    const way = { ...namespace, folder: netSnapshotFolder(paths, snapshot), asked: new Map() };
    let complaints: string[] = [];
    let left = '';
    for (let pass = 1; pass <= PASSES; pass += 1) {
      const now = await readNetState(namespace);
      const different = differences(then, now);
      if (different.length === 0) return;
      const known = JSON.stringify(different.map(({ now }) => now));
      // Once more would come to the same.
      if (known === left) break;
      left = known;
      complaints = await runSteps(planPass(way, then, now), spawnContext(context, lock.fd));
    }
    const different = differences(then, await readNetState(namespace));
    if (different.length > 0) throw notRestored(container, snapshot, different, complaints);
  } finally {
    lock.release();
  }
}
