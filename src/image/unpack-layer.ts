/** From a layer's blob to its directory: once, whoever wants it. */
import { closeSync, existsSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { InvalidInputError } from '../errors.ts';
import { takeLock } from '../host/syscalls.ts';
import { imagePaths, type Roots } from '../state/paths.ts';
import { blobPath } from './blobs.ts';
import { readDocuments } from './catalog.ts';
import { adoptLayer, layerDir } from './layers.ts';
import type { Descriptor } from './oci.ts';
import { type Staging, withStaging } from './staging.ts';
import { type Compression, compressionNamed, inflatedPiecesOf, piecesOf, unpackPieces } from './unpack.ts';

/** Digest of its content, uncompressed. `what` is for messages. Throws InvalidInputError. */
export async function unpackBlob(
  path: string,
  compression: Compression | undefined,
  tree: string,
  lockFd: number,
  what: string,
): Promise<string> {
  const fd = openSync(path, 'r');
  const hasher = new Bun.CryptoHasher('sha256');
  try {
    const pieces = compression ? inflatedPiecesOf(fd, compression, what) : piecesOf(fd);
    await unpackPieces(pieces, what, tree, lockFd, (piece) => void hasher.update(piece));
    return `sha256:${hasher.digest('hex')}`;
  } finally {
    closeSync(fd);
  }
}

/**
 * Unpacks a blob, unless its layer is there already; who comes meanwhile waits. Throws InvalidInputError where its content
 * is not what `diffId` says.
 */
async function ensureLayer(staging: Staging, blob: Descriptor, diffId: string): Promise<void> {
  const dir = layerDir(staging.roots, diffId);
  if (existsSync(dir)) return;
  const lockPath = join(imagePaths(staging.roots).layers, `.lock-${basename(dir)}`);
  const lock = takeLock(lockPath, 'exclusive');
  try {
    if (existsSync(dir)) return;
    const tree = join(staging.dir, basename(dir));
    mkdirSync(tree, { mode: 0o755 });
    // `…tar+gzip`, `…tar+zstd`, and docker's `…tar.gzip`
    const compression = compressionNamed(/[+.](gzip|zstd)$/.exec(blob.mediaType)?.[1] ?? '');
    const path = blobPath(staging.roots, blob.digest);
    const found = await unpackBlob(path, compression, tree, staging.lockFd, `layer ${blob.digest}`);
    if (found !== diffId) {
      throw new InvalidInputError(`cannot use layer ${blob.digest}: its content is ${found}, not ${diffId}`, {
        hint: 'pull or import it again',
      });
    }
    adoptLayer(staging.roots, diffId, tree);
  } finally {
    rmSync(lockPath, { force: true });
    lock?.release();
  }
}

/** Layers that are unpacked at a time. */
const AT_ONCE = 2;

/** Unpacks those of an image that are not there yet; `layers` has the blobs, `diffIds` the digests of their content. */
export async function ensureLayers(
  staging: Staging,
  layers: readonly Descriptor[],
  diffIds: readonly string[],
): Promise<void> {
  const todo = layers.map((blob, index) => ({ blob, diffId: diffIds[index] as string }));
  const work = async () => {
    for (let next = todo.shift(); next !== undefined; next = todo.shift()) {
      await ensureLayer(staging, next.blob, next.diffId);
    }
  };
  const results = await Promise.allSettled(Array.from({ length: AT_ONCE }, work));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/** Of an image of the store, whose top layer may be a blob alone: a commit leaves it so. */
export async function unpackImage(roots: Roots, name: string, id: string): Promise<void> {
  const { manifest, config } = readDocuments(roots, id);
  await withStaging(roots, `unpack image ${name}`, (staging) =>
    ensureLayers(staging, manifest.layers, config.rootfs.diff_ids),
  );
}
