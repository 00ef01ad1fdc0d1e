/** How an image comes to be: layers and a configuration become its documents, and those get a name. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Roots } from '../state/paths.ts';
import { BlobWriter, writeBlob, writeManifest } from './blobs.ts';
import { changeCatalog, nameOf, withName } from './catalog.ts';
import { adoptTree, ownDir } from './layers.ts';
import { CONFIG, layerType } from './media-types.ts';
import type { Config, Descriptor } from './oci.ts';
import { type PackOptions, packInto } from './pack.ts';
import { parseImageName } from './reference.ts';
import { type Staging, withStaging } from './staging.ts';
import { requireNewName, taken } from './store.ts';

/** A layer of an image: its blob, and the digest of what is in it. */
export interface Layer {
  readonly blob: Descriptor;
  readonly diffId: string;
  /** For the history. */
  readonly createdBy: string;
  /** When it was made, where that is not now; ISO 8601. */
  readonly created?: string;
}

/** The name of this machine's kind as Go has it, which images use. */
const ARCHITECTURE = { x64: 'amd64', arm64: 'arm64' }[process.arch as 'x64' | 'arm64'] ?? process.arch;

/** An image of the layers, or of those on top of `base`'s. */
export function composeImage(
  staging: Staging,
  layers: readonly Layer[],
  settings: Config['config'],
  base?: { readonly layers: readonly Descriptor[]; readonly config: Config },
  created = new Date().toISOString(),
): Descriptor {
  const config: Config = {
    architecture: base?.config.architecture ?? ARCHITECTURE,
    os: 'linux',
    created,
    config: settings ?? {},
    rootfs: {
      type: 'layers',
      diff_ids: [...(base?.config.rootfs.diff_ids ?? []), ...layers.map(({ diffId }) => diffId)],
    },
    history: [
      ...(base?.config.history ?? []),
      ...layers.map((layer) => ({ created: layer.created ?? created, created_by: layer.createdBy })),
    ],
  };
  const all = [...(base?.layers ?? []), ...layers.map(({ blob }) => blob)];
  return writeManifest(staging, writeBlob(staging, CONFIG, JSON.stringify(config)), all);
}

/** A layer with what is in a tree, which stays as it is. `what` is for messages. Throws HostError. */
export async function packLayer(
  staging: Staging,
  tree: string,
  createdBy: string,
  what: string,
  options: Omit<PackOptions, 'lockFd'> = {},
): Promise<Layer> {
  const writer = new BlobWriter(staging);
  const { lockFd } = staging;
  await writer.follow((fd) => packInto(fd, tree, what, { ...options, lockFd }));
  const blob = writer.publish(layerType(undefined));
  // A plain tar: what is in it is the blob itself.
  return { blob, diffId: blob.digest, createdBy };
}

/** A layer of a tree that lies in the staging folder; the tree becomes the layer's directory. */
export async function layerOfTree(staging: Staging, tree: string, createdBy: string, what: string): Promise<Layer> {
  const layer = await packLayer(staging, tree, createdBy, what);
  adoptTree(tree, ownDir(staging.roots, layer.diffId));
  return layer;
}

/** Gives the image a name that is free, or with `move` takes it from another one. Throws ConflictError. */
export async function nameImage(
  roots: Roots,
  name: string,
  manifest: Descriptor,
  verb: string,
  { move = false } = {},
): Promise<void> {
  await changeCatalog(roots, (entries) => {
    if (!move && entries.some((entry) => nameOf(entry) === name)) throw taken(name, verb);
    return withName(entries, name, manifest);
  });
}

/** Makes an image of one layer, a tree that `fill` puts into an empty folder. Throws ConflictError, and what `fill` throws. */
export async function imageOfTree(
  roots: Roots,
  rawName: string,
  verb: string,
  fill: (tree: string, lockFd: number) => Promise<void>,
): Promise<void> {
  const name = parseImageName(rawName);
  await requireNewName(roots, name, verb);
  await withStaging(roots, verb, async (staging) => {
    const tree = join(staging.dir, 'tree');
    mkdirSync(tree, { mode: 0o755 });
    await fill(tree, staging.lockFd);
    const layer = await layerOfTree(staging, tree, `minict ${verb}`, verb);
    await nameImage(roots, name, composeImage(staging, [layer], {}), verb);
  });
}
