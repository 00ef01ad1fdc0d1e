/** Snapshots of a container's network: made, compared, forgotten. */
import { join } from 'node:path';
import { unifiedDiff } from '../host/unified-diff.ts';
import { netSnapshotFolder, removeNetSnapshot, requireNetSnapshot, writeNetSnapshot } from '../state/net-snapshots.ts';
import { containerPaths } from '../state/paths.ts';
import type { Context } from './context.ts';
import { holdAlone, holdContainer } from './hold.ts';
import { requireNamespace } from './namespace.ts';
import { differences, filesOf, readNetState, readSavedState } from './net-state.ts';

/** Throws NotFoundError, ConflictError, HostError. */
export async function createNetSnapshot(context: Context, container: string, snapshot: string): Promise<void> {
  const { lock } = await holdAlone(context, container, false);
  try {
    const namespace = requireNamespace(context, container, `make a network snapshot of ${container}`);
    const state = await readNetState(namespace);
    writeNetSnapshot(containerPaths(context.roots, container), container, snapshot, filesOf(state));
  } finally {
    lock.release();
  }
}

/** Throws NotFoundError. */
export async function forgetNetSnapshot(context: Context, container: string, snapshot: string): Promise<void> {
  const { lock } = await holdAlone(context, container, false);
  try {
    const paths = containerPaths(context.roots, container);
    requireNetSnapshot(paths, container, snapshot);
    removeNetSnapshot(paths, snapshot);
  } finally {
    lock.release();
  }
}

/** A unified diff from a snapshot to another one, or to now; empty where nothing differs. Throws NotFoundError, ConflictError. */
export async function diffNet(
  context: Context,
  container: string,
  snapshot: string,
  to: string | undefined,
  colour: boolean,
): Promise<string> {
  const { lock } = await holdContainer(context, container);
  try {
    const paths = containerPaths(context.roots, container);
    requireNetSnapshot(paths, container, snapshot);
    if (to !== undefined) requireNetSnapshot(paths, container, to);
    const then = readSavedState(paths, snapshot);
    const now =
      to === undefined
        ? await readNetState(requireNamespace(context, container, `compare the network of ${container}`))
        : readSavedState(paths, to);
    const diffs = differences(then, now).map(({ kind, now: lines }) =>
      unifiedDiff(
        { label: `${snapshot}/${kind.name}`, path: join(netSnapshotFolder(paths, snapshot), kind.name) },
        { label: `${to ?? 'now'}/${kind.name}`, text: lines.map((line) => `${line}\n`).join('') },
        colour,
      ),
    );
    return (await Promise.all(diffs)).join('');
  } finally {
    lock.release();
  }
}
