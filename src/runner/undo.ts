/**
 * Undo, backwards through everything, never stopping at the first error. "Not done yet" and "already gone" are success;
 * a thing whose identity is not the recorded one is somebody else's and stays.
 */
import { statSync, unlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { firstLine, HostError } from '../errors.ts';
import { mountsIn } from '../host/facts.ts';
import { detachMounts, inMountNamespace, unmount } from '../host/namespaces.ts';
import { removeSubvolumesArgv } from '../host/subvolume.ts';
import { sayCommand } from '../host/verbose.ts';
import type { Claim, Command, Step } from '../step.ts';
import { commandArgv } from './batch.ts';
import { endGroup } from './end-group.ts';
import { identityOf } from './identity.ts';
import { doInProcess } from './in-process.ts';
import type { Identities } from './journal.ts';
import { removeSmallTree } from './small-tree.ts';
import { runTool, type SpawnContext } from './spawn.ts';

/** What is undone of one object (container or network). */
export interface Undoing {
  readonly steps: readonly Step[];
  readonly identities: Identities;
  /** What still goes on in it (processes that end), and why that failed: waited for when the mounts are gone. */
  readonly ending?: Promise<string | undefined>;
}

/** Of the step's claims those that are there and not known to be another's. */
export function ownClaims(step: Step, identities: Identities): Claim[] {
  return (step.claims ?? []).filter((claim) => {
    const now = identityOf(claim);
    const recorded = identities.get(step.id)?.[claim.name];
    if (now === undefined || recorded !== undefined) return now === recorded && now !== undefined;
    return claim.kind !== 'file' || isEmptyFile(claim.name);
  });
}

/** A killed minict may have made a file without recording it; anything more than an empty, bare file is another's. */
function isEmptyFile(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat?.isFile() === true && stat.size === 0 && stat.dev === statSync(dirname(path)).dev;
}

/** Whether a recorded thing of the step is there. */
function remains(step: Step, identities: Identities): boolean {
  return (step.claims ?? []).some((claim) => {
    const recorded = identities.get(step.id)?.[claim.name];
    return recorded !== undefined && identityOf(claim) === recorded;
  });
}

/** First line of what a tool says of its failure, a missing tool included; undefined where it worked. */
async function complaint(argv: readonly string[], context: SpawnContext): Promise<string | undefined> {
  try {
    const { exitCode, stderr } = await runTool(argv, context);
    return exitCode === 0 ? undefined : firstLine(stderr) || `${argv[0]} ended with ${exitCode}`;
  } catch (error) {
    return (error as Error).message;
  }
}

/** What it says of its failure; who has the step's thing may not be there to be asked. */
async function undoOne(step: Step, undo: Command, identities: Identities, context: SpawnContext) {
  try {
    return await tryUndo(step, undo, identities, context);
  } catch (error) {
    if (error instanceof HostError) return error.message;
    throw error;
  }
}

async function tryUndo(step: Step, undo: Command, identities: Identities, context: SpawnContext) {
  if (step.claims !== undefined && ownClaims(step, identities).length === 0) return undefined;
  if (undo.kind === 'run') {
    const said = await doUndo(undo, context);
    return step.leaves || remains(step, identities) ? said : undefined;
  }
  try {
    doInProcess(undo);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : (error as Error).message;
  }
}

async function doUndo(undo: Command & { kind: 'run' }, context: SpawnContext): Promise<string | undefined> {
  if (undo.does?.what !== 'end group') return complaint(commandArgv(undo), context);
  if (context.verbose) sayCommand(commandArgv(undo));
  return endGroup(undo.does.group);
}

/** Who goes in by a namespace's file, or looks into it, has it open for a moment. */
const GOES_IN_MS = 100;

async function unmountOne(target: string): Promise<boolean> {
  const end = performance.now() + GOES_IN_MS;
  let state = unmount(target);
  while (state === 'busy' && performance.now() < end) {
    await Bun.sleep(1);
    state = unmount(target);
  }
  return state === 'done';
}

/** By system calls; of those that are busy umount(8) tells why. */
async function unmountAll(targets: readonly string[], context: SpawnContext): Promise<string | undefined> {
  if (targets.length === 0) return undefined;
  const argv = (those: readonly string[]) => ['umount', '--', ...those];
  if (context.verbose) sayCommand(argv(targets));
  const left: string[] = [];
  for (const target of targets) if (!(await unmountOne(target))) left.push(target);
  return left.length === 0 ? undefined : complaint(argv(left), context);
}

/**
 * A mount in a namespace that stays has no identity: it is known as this step's by what is seen there. Returns what is said of a
 * failure.
 */
function unmountWithin({ run, undo }: Step, { verbose }: SpawnContext): string | undefined {
  if (run.kind !== 'mount' || undo?.kind !== 'umount' || undo.mntns === undefined) return undefined;
  if (!statSync(undo.mntns, { throwIfNoEntry: false })) return undefined;
  const { source, target } = run;
  try {
    inMountNamespace(undo.mntns, () => {
      const [wanted, there] = [source, target].map((path) => statSync(path, { throwIfNoEntry: false }));
      if (wanted === undefined || wanted.dev !== there?.dev || wanted.ino !== there.ino) return;
      if (verbose) sayCommand(commandArgv(undo));
      detachMounts(undo.targets);
    });
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** What rm leaves may have a btrfs subvolume in it. */
async function removeTrees(trees: readonly string[], context: SpawnContext): Promise<string | undefined> {
  const argv = (those: readonly string[]) => ['rm', '-rf', '--one-file-system', '--', ...those];
  const large = trees.filter((tree) => !removeSmallTree(tree));
  if (context.verbose && large.length < trees.length) sayCommand(argv(trees.filter((tree) => !large.includes(tree))));
  if (large.length === 0) return undefined;
  const said = await complaint(argv(large), context);
  const left = said === undefined ? [] : large.filter((path) => statSync(path, { throwIfNoEntry: false }));
  return left.length === 0 ? said : complaint(removeSubvolumesArgv(left), context);
}

/**
 * Undoes many objects at once; returns for each what could not be undone, a line each. Files of an object go last, and
 * stay where something of it was left. `meanwhile` is what the caller has to do itself for those of which nothing was
 * left (their indices), done while files are being removed.
 */
export async function undoAll(
  objects: readonly Undoing[],
  context: SpawnContext,
  meanwhile: (undone: readonly number[]) => Promise<void> = async () => {},
): Promise<string[][]> {
  const failures: string[][] = objects.map(() => []);
  const work = objects.map(({ steps, identities }) => {
    const ids = new Set(steps.map((step) => step.id));
    const backwards = [...steps].reverse().filter((step) => step.undo && !(step.endsWith && ids.has(step.endsWith)));
    return { identities, backwards, unmounting: backwards.filter((step) => step.undo?.kind === 'umount') };
  });

  for (const [index, { backwards, identities }] of work.entries()) {
    for (const step of backwards) {
      const failure = step.leaves && step.undo && (await undoOne(step, step.undo, identities, context));
      if (failure) failures[index]?.push(failure);
    }
  }

  // What something could not be taken out of stays.
  const kept = failures.map((failed) => failed.length > 0);
  // Then unmounts: everything else a container has hangs on its namespaces.
  const targetsOf = (wanted: (step: Step) => boolean) =>
    work.flatMap(({ unmounting, identities }, index) =>
      (kept[index] ? [] : unmounting)
        .filter(wanted)
        .flatMap((step) => ownClaims(step, identities).map((claim) => claim.name)),
    );
  const said = await unmountAll(
    targetsOf(() => true),
    context,
  );
  if (said !== undefined) {
    const busy = targetsOf(({ undo }) => undo?.kind === 'umount' && undo.lazy === true);
    if (busy.length > 0) await complaint(['umount', '--lazy', '--', ...busy], context);
    for (const [index, { unmounting, identities }] of work.entries()) {
      if (!kept[index] && unmounting.some((step) => remains(step, identities))) failures[index]?.push(said);
    }
  }
  for (const [index, { unmounting }] of work.entries()) {
    for (const step of kept[index] ? [] : unmounting) {
      const failure = unmountWithin(step, context);
      if (failure !== undefined) failures[index]?.push(failure);
      const { undo } = step;
      if (undo?.kind !== 'umount' || !undo.unlink) continue;
      try {
        for (const path of undo.targets.filter(isEmptyFile)) unlinkSync(path);
      } catch (error) {
        // Somebody has a copy of the mount.
        failures[index]?.push((error as Error).message);
      }
    }
  }

  for (const [index, { ending }] of objects.entries()) {
    const failure = await ending;
    if (failure !== undefined) failures[index]?.push(failure);
  }

  const trees = new Map<string, number>();
  for (const [index, { backwards, identities }] of work.entries()) {
    for (const step of backwards) {
      const { undo } = step;
      if (undo === undefined || undo.kind === 'umount' || step.leaves) continue;
      if (undo.kind === 'rmtree') {
        if (statSync(undo.path, { throwIfNoEntry: false })) trees.set(undo.path, index);
        continue;
      }
      const failure = await undoOne(step, undo, identities, context);
      if (failure !== undefined) failures[index]?.push(failure);
    }
  }
  for (const [path, mounts] of mountsIn([...trees.keys()])) {
    const known = failures[trees.get(path) as number];
    if (mounts.length > 0 && known?.length === 0) known.push(`mounted in it: ${mounts.join(' ')}`);
  }
  const undone = failures.flatMap((failed, index) => (failed.length === 0 ? [index] : []));
  const removable = [...trees].filter(([, index]) => undone.includes(index)).map(([path]) => path);
  const rest = meanwhile(undone);
  // What it throws is looked at when the files are gone; and it has come to where it waits, for the disk, before a process is
  // started for them.
  rest.catch(() => {});
  await new Promise<void>((next) => setImmediate(next));
  const removal = removable.length > 0 ? removeTrees(removable, context) : undefined;
  try {
    await rest;
  } finally {
    const refused = await removal;
    if (refused !== undefined) {
      for (const path of removable) {
        if (statSync(path, { throwIfNoEntry: false })) failures[trees.get(path) as number]?.push(refused);
      }
    }
  }
  return failures;
}

/** Undoes one object. */
export async function undoSteps(undoing: Undoing, context: SpawnContext): Promise<string[]> {
  return (await undoAll([undoing], context)).flat();
}
