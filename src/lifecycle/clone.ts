/** clone: the spec of a container with the files and settings of another one; a name and addresses of its own come later. */
import { existsSync } from 'node:fs';
import type { TreeOrigin } from '../plan/files.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer, writeContainer } from '../state/store.ts';
import type { Context } from './context.ts';
import { copyUpper, freezeUpper, requireLayers, settle } from './own-layers.ts';
import { lendTree, treeOwner } from './own-trees.ts';
import { getSnapshot } from './snapshots.ts';

/** What `withFiles` gets, and what it makes of it. */
type Use = (lower: string[], image: Pick<ContainerSpec, 'image' | 'imageId'>, origin?: TreeOrigin) => Promise<void>;

/**
 * Hands over layers with the files of `name`, as they are or as they were at a snapshot; they stay until `use` has ended. The
 * caller holds the container's exclusive lock, and the images' shared one. Throws ConflictError, NotFoundError.
 */
export async function withFiles(
  context: Context,
  instance: string,
  name: string,
  snapshot: string | undefined,
  lockFd: number,
  use: Use,
): Promise<void> {
  const spec = settle(context, await getContainer(context.roots, name));
  const lower = requireLayers(spec, 'clone');
  const taken = snapshot === undefined ? undefined : getSnapshot(spec, snapshot);
  const owner = treeOwner(context, instance, spec, lockFd);
  if (owner !== undefined) {
    return lendTree(owner, taken, (origin) => use(taken?.lower.slice(1) ?? lower, taken ?? spec, origin));
  }
  if (taken !== undefined) return use(taken.lower, taken);
  if (!existsSync(containerPaths(context.roots, name).enter)) {
    return use(freezeUpper(context, spec, (frozen) => frozen).lower ?? lower, spec);
  }
  // The copy is the clone's alone: until that has it, `pending` keeps it.
  let copied: string[] = lower;
  const pending = await copyUpper(context, instance, spec, lockFd, (layers) => {
    copied = layers;
    return layers === lower ? spec : { ...spec, pending: { kind: 'copy', layer: layers[0] as string } };
  });
  await use(copied, spec);
  if (pending.pending !== undefined) writeContainer(context.roots, spec);
}
