/**
 * The parts of a container that is saved: directories as tars, each known by its digest before it is sent, and the images
 * below them. What nobody writes into is read twice for that; what a program may write into is held still, and read once.
 */
import { closeSync, existsSync, openSync, statSync } from 'node:fs';
import { whileFrozen } from '../cgroup/freeze.ts';
import { ConflictError, NotFoundError } from '../errors.ts';
import { mountsIn } from '../host/facts.ts';
import { BlobWriter, blobPath } from '../image/blobs.ts';
import { readDocuments } from '../image/catalog.ts';
import { packedPiecesOf } from '../image/pack.ts';
import type { Staging } from '../image/staging.ts';
import { layersOfImage } from '../image/store.ts';
import { piecesOf } from '../image/unpack.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { containerPaths, type Roots } from '../state/paths.ts';

/** A directory as a tar: what it is, and how it is read. */
export interface Part {
  readonly digest: string;
  readonly size: number;
  readonly pieces: () => AsyncIterable<Buffer>;
}

async function* fromFile(path: string): AsyncGenerator<Buffer> {
  const fd = openSync(path, 'r');
  try {
    yield* piecesOf(fd);
  } finally {
    closeSync(fd);
  }
}

/** Of a directory that nobody writes into until it has been sent. */
async function measuredPart(staging: Staging, verb: string, dir: string): Promise<Part> {
  const pieces = () => packedPiecesOf(dir, verb, staging);
  const hasher = new Bun.CryptoHasher('sha256');
  let size = 0;
  for await (const piece of pieces()) {
    hasher.update(piece);
    size += piece.length;
  }
  return { digest: `sha256:${hasher.digest('hex')}`, size, pieces };
}

/** Of a directory that programs write into: they are held still for the time that a copy takes, however slow its reader is. */
async function copiedPart(staging: Staging, verb: string, dir: string, payload: string): Promise<Part> {
  const copy = new BlobWriter(staging);
  await whileFrozen(payload, async () => {
    for await (const piece of packedPiecesOf(dir, verb, staging)) copy.write(piece);
  });
  return { ...copy.close(), pieces: () => fromFile(copy.path) };
}

/**
 * The directory that a container's programs write into: its own upper one, or the one that it has in place. `payload` is the
 * cgroup of a container that is up.
 */
export async function readWritten(
  staging: Staging,
  verb: string,
  { name, inPlace }: ContainerSpec,
  payload: string | undefined,
): Promise<Part | undefined> {
  const dir = inPlace ?? containerPaths(staging.roots, name).upper;
  if (!existsSync(dir)) {
    if (inPlace === undefined) return undefined;
    throw new NotFoundError(`cannot ${verb}: ${dir} is not there any more`, { hint: `put ${dir} back` });
  }
  if (inPlace !== undefined && mountsIn([dir]).get(dir)?.length) {
    throw new ConflictError(`cannot ${verb}: its mounts are in its files, in ${dir}`, { hint: `minict stop ${name}` });
  }
  return payload === undefined ? measuredPart(staging, verb, dir) : copiedPart(staging, verb, dir, payload);
}

export interface Parts {
  /** What it wrote since its last layer. */
  readonly upper: Part | undefined;
  /** Directories that no image has, those of its snapshots included. */
  readonly layers: ReadonlyMap<string, Part>;
}

export async function readParts(
  staging: Staging,
  verb: string,
  { lower, inPlace, imageId, snapshots = [] }: ContainerSpec,
  written: Part | undefined,
): Promise<Parts> {
  // Elsewhere, a directory in place is one under an upper directory.
  if (lower === undefined) return { upper: undefined, layers: new Map([[inPlace as string, written as Part]]) };
  const dirs = [{ lower, imageId }, ...snapshots].flatMap((files) =>
    ownLayers(staging.roots, files.lower, files.imageId),
  );
  const layers = new Map<string, Part>();
  for (const dir of new Set(dirs)) layers.set(dir, await measuredPart(staging, verb, dir));
  return { upper: written, layers };
}

/** Those of its layers that are not its image's, the top one first. */
export function ownLayers(roots: Roots, lower: readonly string[], imageId: string | undefined): string[] {
  const ofImage = new Set(imageId === undefined ? [] : layersOfImage(roots, imageId));
  return lower.filter((dir) => !ofImage.has(dir));
}

/** Documents and layers of images, each once; first the documents that tell of the others. */
export function blobsOf(roots: Roots, images: readonly string[]): { digest: string; size: number }[] {
  const digests = images.flatMap((image) => {
    const { manifest } = readDocuments(roots, image);
    return [image, manifest.config.digest, ...manifest.layers.map((layer) => layer.digest)];
  });
  return [...new Set(digests)].map((digest) => ({ digest, size: statSync(blobPath(roots, digest)).size }));
}

export function fromBlob(roots: Roots, digest: string): AsyncIterable<Buffer> {
  return fromFile(blobPath(roots, digest));
}
