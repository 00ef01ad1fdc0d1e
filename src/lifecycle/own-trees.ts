/**
 * Files of a container that are one tree: copied for a snapshot or a clone, or put in place of others. container.json says
 * so before it is done.
 */
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import { whileFrozen } from '../cgroup/freeze.ts';
import type { TreeOrigin } from '../plan/files.ts';
import type { ContainerSpec, Snapshot } from '../spec/container.ts';
import { containerPaths } from '../state/paths.ts';
import { writeContainer } from '../state/store.ts';
import { moveToTrash, removeTree } from '../state/trash.ts';
import type { Command } from '../step.ts';
import { driverOf, type TreeDriver } from '../storage/driver.ts';
import { type Context, spawnContext } from './context.ts';
import { imageTreeOf } from './image-trees.ts';
import { newLayer } from './own-layers.ts';
import { runCommands } from './run-commands.ts';
import { cgroupOf } from './status.ts';

/** A container whose files are a tree; the caller holds its exclusive lock, which child processes inherit. */
export interface TreeOwner {
  readonly context: Context;
  readonly instance: string;
  readonly spec: ContainerSpec;
  readonly trees: TreeDriver;
  readonly lockFd: number;
}

/** Undefined where its files are layers. */
export function treeOwner(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  lockFd: number,
): TreeOwner | undefined {
  const { trees } = driverOf(spec);
  return trees && { context, instance, spec, trees, lockFd };
}

function filesOf({ context, spec }: TreeOwner): string {
  return containerPaths(context.roots, spec.name).files;
}

function newFilesOf(owner: TreeOwner): string {
  return `${filesOf(owner)}.new`;
}

/** Finishes, or takes back, what a killed minict began. Returns what is so then. */
export function settleTree(context: Context, spec: ContainerSpec): ContainerSpec {
  const { pending, ...settled } = spec;
  const { files } = containerPaths(context.roots, spec.name);
  if (pending?.kind === 'copy') {
    for (const path of [pending.layer, `${pending.layer}.merge`].filter(existsSync)) removeTree(path);
  }
  if (pending?.kind === 'adopt' && existsSync(pending.layer)) {
    if (existsSync(files)) {
      if (pending.keep === undefined) removeTree(moveToTrash(context.roots, files, 'files'));
      else renameSync(files, pending.keep);
    }
    renameSync(pending.layer, files);
  }
  writeContainer(context.roots, settled);
  return settled;
}

/** Makes the tree `to`; half of one does not stay. Until the next write of container.json, that says what is under way. */
async function makeTree({ context, instance, spec, lockFd }: TreeOwner, commands: readonly Command[], to: string) {
  const pending: ContainerSpec = { ...spec, pending: { kind: 'copy', layer: to } };
  writeContainer(context.roots, pending);
  try {
    mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
    const { payload } = cgroupOf(instance, spec.name);
    const copy = () => runCommands(`copy the files of ${spec.name}`, commands, spawnContext(context, lockFd));
    await whileFrozen(payload, copy);
  } catch (error) {
    settleTree(context, pending);
    throw error;
  }
}

/** A copy of its files as they are, held still meanwhile. `change` gets what a snapshot of them is made of. */
export async function keepTree(owner: TreeOwner, change: (lower: string[]) => ContainerSpec): Promise<void> {
  const { context, spec, trees } = owner;
  const copy = newLayer(context);
  await makeTree(owner, trees.fromTree(filesOf(owner), copy), copy);
  writeContainer(context.roots, change([copy, ...(spec.lower ?? [])]));
}

/** Hands over a copy of its files, or of a snapshot's, that is the other one's alone. */
export async function lendTree(
  owner: TreeOwner,
  snapshot: Snapshot | undefined,
  use: (origin: TreeOrigin) => Promise<void>,
): Promise<void> {
  const { context, spec, trees } = owner;
  const copy = newFilesOf(owner);
  await makeTree(owner, trees.fromTree(snapshot?.lower[0] ?? filesOf(owner), copy), copy);
  try {
    await use({ tree: copy, isOwn: true });
  } finally {
    settleTree(context, { ...spec, pending: { kind: 'copy', layer: copy } });
  }
}

/** Of a stopped container: its files become what `commands` make of the tree, and `changed` is so from then on. */
async function replaceTree(
  owner: TreeOwner,
  commands: (to: string) => readonly Command[],
  changed: ContainerSpec,
  keep?: string,
): Promise<void> {
  const { context } = owner;
  const layer = newFilesOf(owner);
  await makeTree(owner, commands(layer), layer);
  const pending: ContainerSpec = {
    ...changed,
    pending: { kind: 'adopt', layer, ...(keep === undefined ? {} : { keep }) },
  };
  writeContainer(context.roots, pending);
  settleTree(context, pending);
}

/** Its files become those of the snapshot, of which `changed` has the rest. */
export async function restoreTree(owner: TreeOwner, { lower }: Snapshot, changed: ContainerSpec): Promise<void> {
  const [tree = '', ...image] = lower;
  await replaceTree(owner, (to) => owner.trees.fromTree(tree, to), { ...changed, lower: image });
}

/**
 * Its files become those of another image, with `onTop` on top of them; `change` gets what a snapshot of those of before is
 * made of.
 */
export async function rebaseTree(
  owner: TreeOwner,
  source: Pick<ContainerSpec, 'image' | 'imageId' | 'lower'>,
  onTop: string | undefined,
  change: (lower: string[]) => ContainerSpec,
): Promise<void> {
  const { context, spec, trees } = owner;
  const keep = newLayer(context);
  mkdirSync(dirname(keep), { recursive: true, mode: 0o700 });
  const image = onTop === undefined ? imageTreeOf(context.roots, { ...source, storage: spec.storage }) : undefined;
  const layers = [...(onTop === undefined ? [] : [onTop]), ...(source.lower ?? [])];
  const commands = (to: string) =>
    image === undefined ? trees.fromLayers(layers, to) : trees.fromTree(image.tree, to);
  await replaceTree(owner, commands, change([keep, ...(spec.lower ?? [])]), keep);
}
