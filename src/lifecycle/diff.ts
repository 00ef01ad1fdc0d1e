/** diff: what a container changed of its image, whatever snapshots it has. */
import { existsSync } from 'node:fs';
import { NotFoundError } from '../errors.ts';
import { treeOf } from '../spec/container.ts';
import { containerPaths } from '../state/paths.ts';
import { type Change, changesBetween } from '../storage/changes.ts';
import { changesOfTree } from '../storage/tree-changes.ts';
import type { Context } from './context.ts';
import { holdContainer } from './hold.ts';
import { ownLayersOf, requireLayers } from './own-layers.ts';
import { treeMountPoints } from './tree-layer.ts';

/** Throws NotFoundError, ConflictError (it has no layers). */
export async function diffContainer(context: Context, name: string): Promise<Change[]> {
  const { spec, lock } = await holdContainer(context, name);
  try {
    const lower = requireLayers(spec, 'diff');
    const gone = lower.find((path) => !existsSync(path));
    if (gone !== undefined) {
      throw new NotFoundError(`cannot diff ${name}: ${gone} is not there any more`, { hint: `put ${gone} back` });
    }
    const { files } = containerPaths(context.roots, name);
    if (treeOf(spec, files) !== undefined) return changesOfTree(files, lower, treeMountPoints(spec));
    const own = new Set(ownLayersOf(context.roots, spec));
    const ofImage = lower.filter((dir) => !own.has(dir));
    return changesBetween(containerPaths(context.roots, name).upper, lower, ofImage);
  } finally {
    lock.release();
  }
}
