/**
 * Undo, backwards through everything, never stopping at the first error. "Not done yet" and "already gone" are success;
 * a thing whose identity is not the recorded one is somebody else's and stays.
 */
import { statSync, unlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { firstLine } from '../errors.ts';
import type { Claim, Step } from '../step.ts';
import { commandArgv } from './batch.ts';
import { identityOf } from './identity.ts';
import { doInProcess } from './in-process.ts';
import type { Identities } from './journal.ts';
import { runTool, type SpawnContext } from './spawn.ts';

/** Of the step's claims those that are there and not known to be another's. */
function ours(step: Step, identities: Identities): Claim[] {
  return (step.claims ?? []).filter((claim) => {
    const now = identityOf(claim);
    const recorded = identities.get(step.id)?.[claim.name];
    if (now === undefined || recorded !== undefined) return now === recorded;
    return claim.kind !== 'file' || isEmptyFile(claim.name);
  });
}

/** A killed minict may have made a file without recording it; anything more than an empty, bare file is another's. */
function isEmptyFile(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat?.isFile() === true && stat.size === 0 && stat.dev === statSync(dirname(path)).dev;
}

/** Steps whose recorded things are still there after their undo. */
function remaining(steps: readonly Step[], identities: Identities): boolean {
  return steps.some((step) =>
    (step.claims ?? []).some((claim) => {
      const recorded = identities.get(step.id)?.[claim.name];
      return recorded !== undefined && identityOf(claim) === recorded;
    }),
  );
}

/**
 * Undoes `steps`; returns what could not be undone, each in one line. `meanwhile` is what the caller has to do itself
 * once all is undone, done while the files are being removed; after a failure it is not.
 */
export async function undoSteps(
  steps: readonly Step[],
  identities: Identities,
  context: SpawnContext,
  meanwhile: () => Promise<void> = async () => {},
): Promise<string[]> {
  const ids = new Set(steps.map((step) => step.id));
  const backwards = [...steps].reverse().filter((step) => step.undo && !(step.endsWith && ids.has(step.endsWith)));
  const failures: string[] = [];

  // Unmounts first, in one call: everything else a container has hangs on its namespaces.
  const unmounting = backwards.filter((step) => step.undo?.kind === 'umount');
  const targets = unmounting.flatMap((step) => ours(step, identities).map((claim) => claim.name));
  if (targets.length > 0) {
    const outcome = await runTool(['umount', '--', ...targets], context);
    if (outcome.exitCode !== 0 && remaining(unmounting, identities)) failures.push(firstLine(outcome.stderr));
  }
  for (const { undo } of unmounting) {
    if (undo?.kind !== 'umount' || !undo.unlink) continue;
    for (const path of undo.targets.filter(isEmptyFile)) unlinkSync(path);
  }

  const trees: string[] = [];
  for (const step of backwards) {
    const undo = step.undo;
    if (undo === undefined || undo.kind === 'umount') continue;
    if (step.claims !== undefined && ours(step, identities).length === 0) continue;
    if (undo.kind === 'rmtree') {
      if (statSync(undo.path, { throwIfNoEntry: false })) trees.push(undo.path);
      continue;
    }
    try {
      if (doInProcess(undo) || undo.kind !== 'run') continue;
      const outcome = await runTool(commandArgv(undo), context);
      if (outcome.exitCode !== 0 && remaining([step], identities)) failures.push(firstLine(outcome.stderr));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') failures.push((error as Error).message);
    }
  }
  const removal = trees.length > 0 ? runTool(['rm', '-rf', '--one-file-system', '--', ...trees], context) : undefined;
  try {
    if (failures.length === 0) await meanwhile();
  } finally {
    const outcome = await removal;
    if (outcome !== undefined && outcome.exitCode !== 0) failures.push(firstLine(outcome.stderr));
  }
  return failures;
}
