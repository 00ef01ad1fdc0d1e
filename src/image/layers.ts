/**
 * Layers as directories in overlayfs's form, each unpacked once and shared by all images and containers that have it.
 * They lie side by side under short names, so that many of them fit into one mount's options.
 */
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { InvalidInputError } from '../errors.ts';
import { takeLock } from '../host/syscalls.ts';
import { imagePaths, type Roots } from '../state/paths.ts';
import { blobPath } from './blobs.ts';
import type { Descriptor } from './oci.ts';
import type { Staging } from './staging.ts';
import { type Compression, compressionNamed, inflatedPiecesOf, piecesOf, unpackPieces } from './unpack.ts';

/** 80 bits of the digest of its content: nobody finds a second layer with the same. */
const NAME_DIGITS = 20;

export function layerDir(roots: Roots, diffId: string): string {
  return join(imagePaths(roots).layers, diffId.slice('sha256:'.length).slice(0, NAME_DIGITS));
}

/** Directories of all layers that are there. */
export function layerDirs(roots: Roots): string[] {
  const { layers } = imagePaths(roots);
  if (!existsSync(layers)) return [];
  return readdirSync(layers)
    .filter((name) => !name.startsWith('.'))
    .map((name) => join(layers, name));
}

/** Puts an unpacked tree into its place; where the layer is there already the tree is left to its staging folder. */
export function adoptLayer(roots: Roots, diffId: string, tree: string): void {
  const dir = layerDir(roots, diffId);
  try {
    if (!existsSync(dir)) renameSync(tree, dir);
  } catch (error) {
    // rename(2) does not replace a folder that has something in it: another one was quicker.
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

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
export async function ensureLayer(staging: Staging, blob: Descriptor, diffId: string): Promise<void> {
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
