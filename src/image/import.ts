/** Import of a directory or a tarball, as an image of one layer. */
import { closeSync, mkdirSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { InvalidInputError } from '../errors.ts';
import { statUserPath } from '../host/user-path.ts';
import type { Roots } from '../state/paths.ts';
import { BlobWriter } from './blobs.ts';
import { composeImage, type Layer, nameImage } from './compose.ts';
import { adoptLayer } from './layers.ts';
import { layerType } from './media-types.ts';
import { packedPiecesOf } from './pack.ts';
import { parseImageName } from './reference.ts';
import { type Staging, withStaging } from './staging.ts';
import { requireNewName } from './store.ts';
import { compressionOf, inflatedPiecesOf, piecesOf, unpackPieces } from './unpack.ts';
import { unpackBlob } from './unpack-layer.ts';

/** Stands for standard input. */
const STDIN = '-';

async function* withHead(head: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  if (head.length > 0) yield head;
  yield* rest;
}

/** As many of the first bytes as a pipe gives, eight at least where it has them. */
function readHead(fd: number): Buffer {
  const head = Buffer.alloc(512);
  let length = 0;
  while (length < 8) {
    const more = readSync(fd, head, length, head.length - length, null);
    if (more === 0) break;
    length += more;
  }
  return head.subarray(0, length);
}

/** The blob is the tar itself, hashed and written while it is unpacked. */
async function layerOfPieces(staging: Staging, pieces: AsyncIterable<Buffer>, source: string): Promise<Layer> {
  const writer = new BlobWriter(staging);
  const tree = join(staging.dir, 'tree');
  mkdirSync(tree, { mode: 0o755 });
  await unpackPieces(pieces, source, tree, staging.lockFd, (piece) => writer.write(piece));
  const blob = writer.publish(layerType(undefined));
  adoptLayer(staging.roots, blob.digest, tree);
  return { blob, diffId: blob.digest, createdBy: `minict image import ${source}` };
}

/** What the OCI format knows stays compressed; of the rest the blob is what is in it. */
async function layerOfTarball(staging: Staging, fd: number, source: string): Promise<Layer> {
  const head = readHead(fd);
  if (head.length === 0) throw new InvalidInputError(`cannot import ${source}: the file is empty`);
  const compression = compressionOf(head);
  const raw = withHead(head, piecesOf(fd));
  if (compression === undefined) return layerOfPieces(staging, raw, source);
  const writer = new BlobWriter(staging);
  for await (const piece of raw) writer.write(piece);
  if (compression.name !== 'gzip' && compression.name !== 'zstd') {
    const file = openSync(writer.path, 'r');
    try {
      return await layerOfPieces(staging, inflatedPiecesOf(file, compression, source), source);
    } finally {
      closeSync(file);
    }
  }
  const tree = join(staging.dir, 'tree');
  mkdirSync(tree, { mode: 0o755 });
  const diffId = await unpackBlob(writer.path, compression, tree, staging.lockFd, source);
  const blob = writer.publish(layerType(compression.name));
  adoptLayer(staging.roots, diffId, tree);
  return { blob, diffId, createdBy: `minict image import ${source}` };
}

async function layerOf(staging: Staging, source: string): Promise<Layer> {
  if (source === STDIN) return layerOfTarball(staging, 0, 'standard input');
  if (statUserPath(source, `import ${source}`).isDirectory()) {
    return layerOfPieces(staging, packedPiecesOf(source, `import ${source}`, staging), source);
  }
  const fd = openSync(source, 'r');
  try {
    return await layerOfTarball(staging, fd, source);
  } finally {
    closeSync(fd);
  }
}

function requireImportable(source: string): void {
  if (source === STDIN) return;
  const stat = statUserPath(source, `import ${source}`);
  if (stat.isDirectory() && readdirSync(source).length === 0) {
    throw new InvalidInputError(`cannot import ${source}: the directory is empty`);
  }
  if (!stat.isDirectory() && !stat.isFile()) {
    throw new InvalidInputError(`cannot import ${source}: neither file nor directory`);
  }
}

/** Throws NotFoundError, ConflictError (the name is taken), InvalidInputError (empty, damaged, hostile), HostError. */
export async function importImage(roots: Roots, source: string, rawName: string): Promise<void> {
  const name = parseImageName(rawName);
  const verb = `import ${source === STDIN ? 'standard input' : source}`;
  requireImportable(source);
  await requireNewName(roots, name, verb);
  await withStaging(roots, verb, async (staging) => {
    const layer = await layerOf(staging, source);
    await nameImage(roots, name, composeImage(staging, [layer], {}), verb);
  });
}
