/** From a layer's blob to its directory: once, whoever wants it. */
import { closeSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { InvalidInputError } from '../errors.ts';
import { type Lock, takeLock } from '../host/exec-calls.ts';
import type { Roots } from '../state/paths.ts';
import { blobPath } from './blobs.ts';
import { readDocuments } from './catalog.ts';
import { completeFolders } from './folders.ts';
import { adoptTree, type LayerPlace, layerLockPath, layerPlaces, overlayDirs, unpackedDir } from './layers.ts';
import type { Descriptor } from './oci.ts';
import { type Staging, withStaging } from './staging.ts';
import {
  type Compression,
  compressionOfFile,
  inflatedPiecesOf,
  piecesOf,
  type UnpackOptions,
  unpackPieces,
} from './unpack.ts';

/** A layer that lies in the staging folder. */
interface UnpackedTree {
  readonly tree: string;
  /** Folders that it has only as the way to what is in them, as byte strings. */
  readonly impliedFolders: readonly string[];
}

let treesMade = 0;

/** Throws InvalidInputError, HostError. */
export async function unpackTree(
  staging: Staging,
  pieces: AsyncIterable<Buffer>,
  options: Omit<UnpackOptions, 'dir' | 'lockFd'>,
): Promise<UnpackedTree> {
  treesMade += 1;
  const tree = join(staging.dir, `tree-${treesMade}`);
  mkdirSync(tree, { mode: 0o755 });
  return { tree, impliedFolders: await unpackPieces(pieces, { ...options, dir: tree, lockFd: staging.lockFd }) };
}

/** The same of a blob, with the digest of its content. */
export async function unpackBlob(
  staging: Staging,
  path: string,
  compression: Compression | undefined,
  options: Pick<UnpackOptions, 'verb' | 'isLayer'>,
): Promise<UnpackedTree & { readonly diffId: string }> {
  const fd = openSync(path, 'r');
  const hasher = new Bun.CryptoHasher('sha256');
  try {
    const pieces = compression ? inflatedPiecesOf(fd, compression, options.verb) : piecesOf(fd);
    const unpacked = await unpackTree(staging, pieces, { ...options, tap: (piece) => void hasher.update(piece) });
    return { ...unpacked, diffId: `sha256:${hasher.digest('hex')}` };
  } finally {
    closeSync(fd);
  }
}

/** The layer of an image that has no other. */
export function adoptOnlyLayer(roots: Roots, diffId: string, { tree, impliedFolders }: UnpackedTree): void {
  const [place] = layerPlaces(roots, [diffId]) as [LayerPlace];
  adoptTree(tree, impliedFolders.length > 0 ? place.onTop : place.own);
}

/** A layer, and where its blob is. */
interface Layer {
  readonly blob: Descriptor;
  readonly path: string;
  readonly place: LayerPlace;
}

/** Throws InvalidInputError where the content is not what the image says. */
async function unpack(staging: Staging, { blob, path, place: { diffId } }: Layer): Promise<UnpackedTree> {
  const unpacked = await unpackBlob(staging, path, compressionOfFile(path), {
    verb: `unpack layer ${blob.digest}`,
    isLayer: true,
  });
  if (unpacked.diffId === diffId) return unpacked;
  throw new InvalidInputError(`cannot unpack layer ${blob.digest}: its content is ${unpacked.diffId}, not ${diffId}`, {
    hint: 'pull or import it again',
  });
}

const RETRY_MS = 20;

/** Waits without holding up what else this process unpacks: who has the lock may wait for just that. */
async function waitForLock(path: string): Promise<Lock> {
  for (;;) {
    const lock = takeLock(path, 'exclusive', false);
    if (lock !== undefined) return lock;
    await Bun.sleep(RETRY_MS);
  }
}

/** Undefined where the layer is in its place now; what is returned waits for the layers below. */
async function unpackOnce(staging: Staging, layer: Layer): Promise<UnpackedTree | undefined> {
  const { place } = layer;
  if (unpackedDir(place) !== undefined) return undefined;
  const lockPath = layerLockPath(staging.roots, place.diffId);
  const lock = await waitForLock(lockPath);
  try {
    if (unpackedDir(place) !== undefined) return undefined;
    const unpacked = await unpack(staging, layer);
    if (unpacked.impliedFolders.length > 0) return unpacked;
    adoptTree(unpacked.tree, place.own);
    return undefined;
  } finally {
    rmSync(lockPath, { force: true });
    lock.release();
  }
}

/** Layers that are unpacked at a time. */
const AT_ONCE = 2;

async function unpackAll(staging: Staging, layers: readonly Layer[]): Promise<Map<string, UnpackedTree>> {
  const waiting = new Map<string, UnpackedTree>();
  // An image may have the same layer twice.
  const todo = [...new Map(layers.map((layer) => [layer.place.diffId, layer])).values()];
  const work = async () => {
    for (let next = todo.shift(); next !== undefined; next = todo.shift()) {
      const unpacked = await unpackOnce(staging, next);
      if (unpacked !== undefined) waiting.set(next.place.diffId, unpacked);
    }
  };
  const results = await Promise.allSettled(Array.from({ length: AT_ONCE }, work));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  return waiting;
}

/**
 * Unpacks those of an image that are not there yet; `blobs` and `diffIds` have the same order, the bottom one first, and
 * `pathOf` tells where a blob is. Throws InvalidInputError, HostError.
 */
export async function ensureLayers(
  staging: Staging,
  blobs: readonly Descriptor[],
  diffIds: readonly string[],
  pathOf: (digest: string) => string,
): Promise<void> {
  const places = layerPlaces(staging.roots, diffIds);
  const layers = blobs.map((blob, i) => ({ blob, path: pathOf(blob.digest), place: places[i] as LayerPlace }));
  const waiting = await unpackAll(staging, layers);
  const below: string[] = [];
  for (const layer of layers) {
    const { place } = layer;
    if (unpackedDir(place) === undefined) {
      const { tree, impliedFolders } = waiting.get(place.diffId) ?? (await unpack(staging, layer));
      waiting.delete(place.diffId);
      completeFolders(tree, impliedFolders, below);
      adoptTree(tree, place.onTop);
    }
    below.unshift(unpackedDir(place) as string);
  }
}

/**
 * Of an image of the store, whose top layer may be a blob alone: a commit leaves it so. Returns the directories, the top
 * one first.
 */
export async function unpackImage(roots: Roots, name: string, id: string): Promise<string[]> {
  const { manifest, config } = readDocuments(roots, id);
  const { diff_ids: diffIds } = config.rootfs;
  await withStaging(roots, `unpack image ${name}`, (staging) =>
    ensureLayers(staging, manifest.layers, diffIds, (digest) => blobPath(roots, digest)),
  );
  return overlayDirs(roots, diffIds);
}
