/** Import of a directory or a tarball, as an image of one layer. */
import { closeSync, openSync, readdirSync, readSync, realpathSync } from 'node:fs';
import { InvalidInputError } from '../errors.ts';
import { statUserPath } from '../host/user-path.ts';
import type { Roots } from '../state/paths.ts';
import { BlobWriter } from './blobs.ts';
import { composeImage, type Layer, nameImage } from './compose.ts';
import { layerType } from './media-types.ts';
import { packedPiecesOf } from './pack.ts';
import { parseImageName } from './reference.ts';
import { type Staging, withStaging } from './staging.ts';
import { importedFrom, requireNewName } from './store.ts';
import { compressionOf, inflatedPiecesOf, piecesOf } from './unpack.ts';
import { adoptOnlyLayer, unpackBlob, unpackTree } from './unpack-layer.ts';

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

/** What is imported, and how messages and the history call it. */
interface Source {
  readonly path: string;
  readonly verb: string;
  readonly createdBy: string;
}

function sourceOf(path: string): Source {
  const name = path === STDIN ? 'standard input' : path;
  return { path, verb: `import ${name}`, createdBy: importedFrom(path === STDIN ? name : realpathSync(path)) };
}

/** Archives that hold a root file system somewhere inside, by a file at their top, and what takes them. */
const OTHERS_ARCHIVES = [
  ['minict-container.json', 'an archive of save-container', 'load-container -i'],
  ['oci-layout', 'an archive of images', 'image load -i'],
  ['manifest.json', 'an archive of images', 'image load -i'],
] as const;

/** `docker save` in place of `docker export`, say. Throws InvalidInputError. */
function refuseOthersArchive(tree: string, { verb, path }: Source): void {
  const names = new Set(readdirSync(tree));
  if (['bin', 'etc', 'sbin', 'usr'].some((folder) => names.has(folder))) return;
  const found = OTHERS_ARCHIVES.find(([name]) => names.has(name));
  if (found === undefined) return;
  const [, kind, taker] = found;
  const isFolder = path !== STDIN && statUserPath(path, verb).isDirectory();
  const hint = isFolder ? `minict image pull oci:${path} NAME` : `minict ${taker} ${path === STDIN ? 'FILE' : path}`;
  throw new InvalidInputError(`cannot ${verb}: it is ${kind}, and no root file system`, { hint });
}

/** The blob is the tar itself, hashed and written while it is unpacked. */
async function layerOfPieces(staging: Staging, pieces: AsyncIterable<Buffer>, source: Source): Promise<Layer> {
  const { verb, createdBy } = source;
  const writer = new BlobWriter(staging);
  const unpacked = await unpackTree(staging, pieces, { verb, isLayer: false, tap: (piece) => writer.write(piece) });
  refuseOthersArchive(unpacked.tree, source);
  const blob = writer.publish(layerType(undefined));
  adoptOnlyLayer(staging.roots, blob.digest, unpacked);
  return { blob, diffId: blob.digest, createdBy };
}

/** What the OCI format knows stays compressed; of the rest the blob is what is in it. */
async function layerOfTarball(staging: Staging, fd: number, source: Source): Promise<Layer> {
  const { verb, createdBy } = source;
  const head = readHead(fd);
  if (head.length === 0) throw new InvalidInputError(`cannot ${verb}: the file is empty`);
  const compression = compressionOf(head);
  const raw = withHead(head, piecesOf(fd));
  if (compression === undefined) return layerOfPieces(staging, raw, source);
  const writer = new BlobWriter(staging);
  for await (const piece of raw) writer.write(piece);
  if (compression.name !== 'gzip' && compression.name !== 'zstd') {
    const file = openSync(writer.path, 'r');
    try {
      return await layerOfPieces(staging, inflatedPiecesOf(file, compression, verb), source);
    } finally {
      closeSync(file);
    }
  }
  const { diffId, ...unpacked } = await unpackBlob(staging, writer.path, compression, { verb, isLayer: false });
  refuseOthersArchive(unpacked.tree, source);
  const blob = writer.publish(layerType(compression.name));
  adoptOnlyLayer(staging.roots, diffId, unpacked);
  return { blob, diffId, createdBy };
}

async function layerOf(staging: Staging, path: string): Promise<Layer> {
  const source = sourceOf(path);
  if (path === STDIN) return layerOfTarball(staging, 0, source);
  if (statUserPath(path, source.verb).isDirectory()) {
    return layerOfPieces(staging, packedPiecesOf(path, source.verb, staging), source);
  }
  const fd = openSync(path, 'r');
  try {
    return await layerOfTarball(staging, fd, source);
  } finally {
    closeSync(fd);
  }
}

function requireImportable(path: string): void {
  if (path === STDIN) return;
  const stat = statUserPath(path, `import ${path}`);
  if (stat.isDirectory() && readdirSync(path).length === 0) {
    throw new InvalidInputError(`cannot import ${path}: the directory is empty`);
  }
  if (!stat.isDirectory() && !stat.isFile()) {
    throw new InvalidInputError(`cannot import ${path}: neither file nor directory`);
  }
}

/** Throws NotFoundError, ConflictError (the name is taken), InvalidInputError (empty, damaged, hostile), HostError. */
export async function importImage(roots: Roots, path: string, rawName: string): Promise<void> {
  const name = parseImageName(rawName);
  requireImportable(path);
  const { verb } = sourceOf(path);
  await requireNewName(roots, name, verb);
  await withStaging(roots, verb, async (staging) => {
    const layer = await layerOf(staging, path);
    await nameImage(roots, name, composeImage(staging, [layer], {}), verb);
  });
}
