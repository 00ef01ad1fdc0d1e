/** What a container changed of its image, where its files are one tree: as a layer. */
import { join } from 'node:path';
import { whileFrozen } from '../cgroup/freeze.ts';
import { type Layer, packLayer } from '../image/compose.ts';
import { packedPiecesOf } from '../image/pack.ts';
import { type Staging, withStaging } from '../image/staging.ts';
import { unpackTree } from '../image/unpack-layer.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { containerPaths } from '../state/paths.ts';
import { readRootfsFacts } from '../storage/mount-points.ts';
import { mountPointsOf } from '../storage/rootfs.ts';
import { type Difference, differenceOf } from '../storage/tree-changes.ts';
import { readAttachments } from './attachments.ts';
import { type Context, spawnContext } from './context.ts';
import type { TreeOwner } from './own-trees.ts';
import { runCommands } from './run-commands.ts';

/** Mount points that minict made in its tree, as its image lacks them. */
export function treeMountPoints(context: Context, spec: ContainerSpec): Set<string> {
  const { lower = [], image } = spec;
  const root = { layers: lower, image: lower, overlay: true, what: `image ${image}` };
  return mountPointsOf(readRootfsFacts(root, readAttachments(context, spec, false)));
}

/** What makes a tree of the layers that `spec` has. */
export function differenceOfTree(context: Context, spec: ContainerSpec, tree: string): Difference {
  return differenceOf(tree, spec.lower ?? [], treeMountPoints(context, spec));
}

/**
 * A layer for an image of the container: with `onImage` of what it changed, else of all its files. One that is up is copied
 * first, its processes held still meanwhile unless `payload` is undefined. `verb` is for messages. Throws HostError.
 */
export async function packTree(
  { context, spec, trees }: TreeOwner,
  staging: Staging,
  verb: string,
  { createdBy, onImage, isUp, payload }: { createdBy: string; onImage: boolean; isUp: boolean; payload?: string },
): Promise<Layer> {
  const { files } = containerPaths(context.roots, spec.name);
  const copy = join(staging.dir, 'files');
  if (isUp) {
    const make = () => runCommands(verb, trees.fromTree(files, copy), spawnContext(context, staging.lockFd));
    await (payload === undefined ? make() : whileFrozen(payload, make));
  }
  const tree = isUp ? copy : files;
  return packLayer(staging, tree, createdBy, verb, onImage ? { only: differenceOfTree(context, spec, tree) } : {});
}

/** Hands over a directory in overlayfs's form with what a stopped container changed. Throws HostError. */
export async function withTreeLayer(
  { context, spec }: TreeOwner,
  verb: string,
  use: (layer: string) => Promise<void>,
): Promise<void> {
  const { files } = containerPaths(context.roots, spec.name);
  await withStaging(context.roots, verb, async (staging) => {
    const pieces = packedPiecesOf(files, verb, {
      lockFd: staging.lockFd,
      only: differenceOfTree(context, spec, files),
    });
    await use((await unpackTree(staging, pieces, { verb, isLayer: true, tap: () => {} })).tree);
  });
}
