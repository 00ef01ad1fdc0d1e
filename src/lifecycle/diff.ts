/** diff: what a container changed of its image, whatever snapshots it has, or of one of those. */
import { existsSync } from 'node:fs';
import { NotFoundError } from '../errors.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { containerPaths } from '../state/paths.ts';
import { type Change, changesBetween } from '../storage/changes.ts';
import { driverOf } from '../storage/driver.ts';
import { changesOfTree } from '../storage/tree-changes.ts';
import type { Context } from './context.ts';
import { holdContainer } from './hold.ts';
import { ownLayersOf, requireLayers } from './own-layers.ts';
import { getSnapshot } from './snapshots.ts';
import { treeMountPoints } from './tree-layer.ts';

/** What is compared with what, and on top of the first, where it is the container as it is now, what that has written. */
interface Comparison {
  readonly live: string | undefined;
  readonly now: readonly string[];
  readonly before: readonly string[];
}

/** A container whose files are one tree; a snapshot's is the first of its layers, and what that was made of is below it. */
const isTree = (spec: ContainerSpec) => driverOf(spec).trees !== undefined;

async function compare(context: Context, name: string, choose: (spec: ContainerSpec) => Comparison): Promise<Change[]> {
  const { spec, lock } = await holdContainer(context, name);
  try {
    const { live, now, before } = choose(spec);
    const gone = [...now, ...before].find((path) => !existsSync(path));
    if (gone !== undefined) {
      throw new NotFoundError(`cannot diff ${name}: ${gone} is not there any more`, { hint: `put ${gone} back` });
    }
    if (!isTree(spec)) return changesBetween(live, now, before);
    const tree = live === undefined ? (now[0] as string) : containerPaths(context.roots, name).files;
    return changesOfTree(tree, before, treeMountPoints(context, spec));
  } finally {
    lock.release();
  }
}

/** Throws NotFoundError, ConflictError (it has no layers). */
export function diffContainer(context: Context, name: string): Promise<Change[]> {
  return compare(context, name, (spec) => {
    const now = requireLayers(spec, 'diff');
    const own = new Set(ownLayersOf(context.roots, spec));
    const before = now.filter((dir) => !own.has(dir));
    return { live: containerPaths(context.roots, name).upper, now, before };
  });
}

/** What became of a snapshot until another one, or until now. Throws NotFoundError. */
export function diffSnapshot(context: Context, name: string, from: string, to: string | undefined): Promise<Change[]> {
  return compare(context, name, (spec) => {
    const { lower } = getSnapshot(spec, from);
    const before = isTree(spec) ? lower.slice(0, 1) : lower;
    if (to !== undefined) return { live: undefined, now: getSnapshot(spec, to).lower, before };
    return { live: containerPaths(context.roots, name).upper, now: requireLayers(spec, 'diff'), before };
  });
}
