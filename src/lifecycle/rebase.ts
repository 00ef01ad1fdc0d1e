/** rebase: another image under a container. The files of before stay as a snapshot. */
import type { ContainerSpec } from '../spec/container.ts';
import { getContainer } from '../state/store.ts';
import type { Context } from './context.ts';
import { ensureImageTree } from './image-trees.ts';
import { freezeUpper, ownLayersOf, replaceFiles, requireLayers } from './own-layers.ts';
import { rebaseTree, treeOwner } from './own-trees.ts';
import { lockRoot, resolveRoot } from './root.ts';
import { snapshotOf } from './snapshots.ts';
import { withTreeLayer } from './tree-layer.ts';
import { whileDown } from './while-down.ts';

/** Free, and telling when: `before-rebase`, `before-rebase-2`, … */
function snapshotName({ snapshots = [] }: ContainerSpec): string {
  const taken = new Set(snapshots.map(({ name }) => name));
  let name = 'before-rebase';
  for (let number = 2; taken.has(name); number += 1) name = `before-rebase-${number}`;
  return name;
}

export interface RebaseOptions {
  readonly image: string;
  /** What the container wrote lies on top of the new image, too. */
  readonly keepChanges: boolean;
  readonly graceMs: number;
}

/** Returns the name of the snapshot that has the files of before. Settings stay as they are. */
export async function rebaseContainer(
  context: Context,
  instance: string,
  name: string,
  { image: ref, keepChanges, graceMs }: RebaseOptions,
): Promise<string> {
  requireLayers(await getContainer(context.roots, name), 'rebase');
  const { source } = await resolveRoot(context, { image: ref });
  // Nobody removes the image until the container has it.
  const rootLock = lockRoot(context, source);
  let snapshot = '';
  try {
    const { storage } = await getContainer(context.roots, name);
    await ensureImageTree(context, { ...source, storage });
    await whileDown(context, instance, name, graceMs, async (spec, lockFd) => {
      snapshot = snapshotName(spec);
      const owner = treeOwner(context, instance, spec, lockFd);
      if (owner !== undefined) {
        const { imageId: _, ...rest } = spec;
        const rebase = (onTop?: string) =>
          rebaseTree(owner, source, onTop, (lower) => ({
            ...rest,
            ...source,
            snapshots: [...(spec.snapshots ?? []), snapshotOf(spec, snapshot, lower)],
          }));
        return keepChanges ? withTreeLayer(owner, `rebase ${name}`, rebase) : rebase();
      }
      const kept = freezeUpper(context, spec, (frozen) => ({
        ...frozen,
        snapshots: [...(frozen.snapshots ?? []), snapshotOf(spec, snapshot, frozen.lower ?? [])],
      }));
      const { imageId: _, ...rest } = kept;
      const own = keepChanges ? ownLayersOf(context.roots, { ...kept, snapshots: [] }) : [];
      replaceFiles(context, { ...rest, ...source, lower: [...own, ...(source.lower ?? [])] });
    });
  } finally {
    rootLock.release();
  }
  return snapshot;
}
