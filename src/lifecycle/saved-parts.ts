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
import { type PackOptions, packedPiecesOf } from '../image/pack.ts';
import type { Staging } from '../image/staging.ts';
import { layersOfImage } from '../image/store.ts';
import { piecesOf } from '../image/unpack.ts';
import { type ContainerSpec, treeOf } from '../spec/container.ts';
import { containerPaths, type Roots } from '../state/paths.ts';
import { driverOf } from '../storage/driver.ts';
import type { Context } from './context.ts';
import { differenceOfTree } from './tree-layer.ts';

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

/** What is packed of a directory that has more in it than a layer would. */
type Only = () => PackOptions['only'];

const ALL: Only = () => undefined;

/** Of a directory that nobody writes into until it has been sent. */
async function measuredPart(staging: Staging, verb: string, dir: string, chosen: Only): Promise<Part> {
  const only = chosen();
  const { lockFd } = staging;
  const pieces = () => packedPiecesOf(dir, verb, { lockFd, ...(only === undefined ? {} : { only }) });
  const hasher = new Bun.CryptoHasher('sha256');
  let size = 0;
  for await (const piece of pieces()) {
    hasher.update(piece);
    size += piece.length;
  }
  return { digest: `sha256:${hasher.digest('hex')}`, size, pieces };
}

/** Of a directory that programs write into: they are held still for the time that a copy takes, however slow its reader is. */
async function copiedPart(staging: Staging, verb: string, dir: string, payload: string, chosen: Only): Promise<Part> {
  const copy = new BlobWriter(staging);
  const { lockFd } = staging;
  await whileFrozen(payload, async () => {
    const only = chosen();
    const options = { lockFd, ...(only === undefined ? {} : { only }) };
    for await (const piece of packedPiecesOf(dir, verb, options)) copy.write(piece);
  });
  return { ...copy.close(), pieces: () => fromFile(copy.path) };
}

/**
 * The directory that a container's programs write into: its own upper one, what it changed in a tree of its own, or the one
 * that it has in place. `payload` is the cgroup of a container that is up.
 */
export async function readWritten(
  context: Context,
  staging: Staging,
  verb: string,
  spec: ContainerSpec,
  payload: string | undefined,
): Promise<Part | undefined> {
  const { name, inPlace } = spec;
  const { upper, files } = containerPaths(staging.roots, name);
  const dir = treeOf(spec, files) ?? upper;
  const only = hasTrees(spec) ? () => differenceOfTree(context, spec, dir) : ALL;
  if (!existsSync(dir)) {
    if (inPlace === undefined) return undefined;
    throw new NotFoundError(`cannot ${verb}: ${dir} is not there any more`, { hint: `put ${dir} back` });
  }
  if (inPlace !== undefined && mountsIn([dir]).get(dir)?.length) {
    throw new ConflictError(`cannot ${verb}: its mounts are in its files, in ${dir}`, { hint: `minict stop ${name}` });
  }
  return payload === undefined ? measuredPart(staging, verb, dir, only) : copiedPart(staging, verb, dir, payload, only);
}

function hasTrees(spec: ContainerSpec): boolean {
  return driverOf(spec).trees !== undefined;
}

export interface Parts {
  /** What it wrote since its last layer. */
  readonly upper: Part | undefined;
  /** Directories that no image has, those of its snapshots included. */
  readonly layers: ReadonlyMap<string, Part>;
}

export async function readParts(
  context: Context,
  staging: Staging,
  verb: string,
  spec: ContainerSpec,
  written: Part | undefined,
): Promise<Parts> {
  const { lower, inPlace, imageId, snapshots = [] } = spec;
  // Elsewhere, a directory in place is one under an upper directory.
  if (lower === undefined) return { upper: undefined, layers: new Map([[inPlace as string, written as Part]]) };
  const dirs = [{ lower, imageId }, ...snapshots].flatMap((files) =>
    ownLayers(staging.roots, files.lower, files.imageId),
  );
  // The tree of a snapshot, and what it was made of.
  const trees = new Map(hasTrees(spec) ? snapshots.map((files) => [files.lower[0], files]) : []);
  const onlyOf = (dir: string): Only => {
    const files = trees.get(dir);
    return files
      ? () => differenceOfTree(context, { ...spec, ...files, name: spec.name, lower: files.lower.slice(1) }, dir)
      : ALL;
  };
  const layers = new Map<string, Part>();
  for (const dir of new Set(dirs)) layers.set(dir, await measuredPart(staging, verb, dir, onlyOf(dir)));
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
