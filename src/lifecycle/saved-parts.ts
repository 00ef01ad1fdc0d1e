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
import { sourceOf } from './attachments.ts';
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

/** What of a directory is packed, and how; to be asked when nobody writes into it any more. */
type Packing = () => Pick<PackOptions, 'isPlain' | 'only'>;

const LAYER: Packing = () => ({});
const PLAIN: Packing = () => ({ isPlain: true });

/** Of a directory that nobody writes into until it has been sent. */
async function measuredPart(staging: Staging, verb: string, dir: string, packing: Packing): Promise<Part> {
  const options = { ...staging, ...packing() };
  const pieces = () => packedPiecesOf(dir, verb, options);
  const hasher = new Bun.CryptoHasher('sha256');
  let size = 0;
  for await (const piece of pieces()) {
    hasher.update(piece);
    size += piece.length;
  }
  return { digest: `sha256:${hasher.digest('hex')}`, size, pieces };
}

async function copiedPart(staging: Staging, verb: string, dir: string, packing: Packing): Promise<Part> {
  const copy = new BlobWriter(staging);
  for await (const piece of packedPiecesOf(dir, verb, { ...staging, ...packing() })) copy.write(piece);
  return { ...copy.close(), pieces: () => fromFile(copy.path) };
}

/** What a container's programs write into. */
export interface Written {
  /** Its upper directory, what it changed in a tree of its own, or the one that it has in place. */
  readonly root: Part | undefined;
  /** Files of volumes, by their places. */
  readonly volumes: ReadonlyMap<number, Part>;
}

function requireRoot({ name, inPlace }: ContainerSpec, verb: string): void {
  if (inPlace === undefined) return;
  if (!existsSync(inPlace)) {
    throw new NotFoundError(`cannot ${verb}: ${inPlace} is not there any more`, { hint: `put ${inPlace} back` });
  }
  if (mountsIn([inPlace]).get(inPlace)?.length) {
    throw new ConflictError(`cannot ${verb}: its mounts are in its files, in ${inPlace}`, {
      hint: `minict stop ${name}`,
    });
  }
}

/**
 * `payload` is the cgroup of a container that is up: its programs are held still for the time that copies of all take, however
 * slow their reader is. Named volumes come along with `named`; others may write into them at any time.
 */
export async function readWritten(
  context: Context,
  staging: Staging,
  verb: string,
  spec: ContainerSpec,
  { payload, named }: { readonly payload: string | undefined; readonly named: boolean },
): Promise<Written> {
  requireRoot(spec, verb);
  const read = (dir: string, packing: Packing, isCopied: boolean) =>
    isCopied || payload !== undefined
      ? copiedPart(staging, verb, dir, packing)
      : measuredPart(staging, verb, dir, packing);
  const readAll = async (): Promise<Written> => {
    const { upper, files } = containerPaths(context.roots, spec.name);
    const root = treeOf(spec, files) ?? upper;
    const packing = hasTrees(spec) ? () => ({ only: differenceOfTree(context, spec, root) }) : LAYER;
    const volumes = new Map<number, Part>();
    const seen = new Set<string>();
    for (const [index, volume] of (spec.volumes ?? []).entries()) {
      const dir = volume.type === 'volume' ? sourceOf(context, spec, volume) : undefined;
      const isNamed = volume.type === 'volume' && volume.name !== undefined;
      if (dir === undefined || !existsSync(dir) || seen.has(dir) || (isNamed && !named)) continue;
      seen.add(dir);
      volumes.set(index, await read(dir, PLAIN, isNamed));
    }
    return { root: existsSync(root) ? await read(root, packing, false) : undefined, volumes };
  };
  return payload === undefined ? readAll() : whileFrozen(payload, readAll);
}

function hasTrees(spec: ContainerSpec): boolean {
  return driverOf(spec).trees !== undefined;
}

/** Directories that no image has, those of its snapshots included, with what each is. */
export async function readLayers(
  context: Context,
  staging: Staging,
  verb: string,
  spec: ContainerSpec,
  { root }: Written,
): Promise<ReadonlyMap<string, Part>> {
  const { lower, inPlace, imageId, snapshots = [] } = spec;
  // Elsewhere, a directory in place is one under an upper directory.
  if (lower === undefined) return new Map([[inPlace as string, root as Part]]);
  const dirs = [{ lower, imageId }, ...snapshots].flatMap((files) =>
    ownLayers(staging.roots, files.lower, files.imageId),
  );
  // A snapshot's tree, and what that was made of.
  const trees = new Map(hasTrees(spec) ? snapshots.map(({ lower: [tree, ...below] }) => [tree, below]) : []);
  const packingOf = (dir: string): Packing => {
    const below = trees.get(dir);
    return below ? () => ({ only: differenceOfTree(context, { ...spec, lower: below }, dir) }) : LAYER;
  };
  const layers = new Map<string, Part>();
  for (const dir of new Set(dirs)) layers.set(dir, await measuredPart(staging, verb, dir, packingOf(dir)));
  return layers;
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
