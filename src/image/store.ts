/** Images as containers use them: found by name, by digest or as a directory. */
import { existsSync, readdirSync, realpathSync, type Stats } from 'node:fs';
import { ConflictError, InvalidInputError, NotFoundError } from '../errors.ts';
import { statUserPath } from '../host/user-path.ts';
import type { Roots } from '../state/paths.ts';
import { type Entry, isListed, nameOf, readCatalog, readDocuments } from './catalog.ts';
import { overlayDirs } from './layers.ts';
import type { Config } from './oci.ts';
import { digestPrefix, nameOfTarball, parseImageName, shownName } from './reference.ts';

export interface Image {
  /** As it is shown; the real path of a directory that is used as one. */
  readonly name: string;
  /** Digest of its manifest; absent for a directory. */
  readonly id?: string;
  /** Directories, the top one first. */
  readonly layers: readonly string[];
  /** What it says of the programs in it. */
  readonly settings: NonNullable<Config['config']>;
}

/** Directories of an image's layers, the top one first. */
export function layersOfImage(roots: Roots, digest: string): string[] {
  return overlayDirs(roots, readDocuments(roots, digest).config.rootfs.diff_ids);
}

export function imageOf(roots: Roots, entry: Entry): Image {
  const { config } = readDocuments(roots, entry.digest);
  const name = nameOf(entry);
  return {
    name: name === undefined ? entry.digest : shownName(name),
    id: entry.digest,
    layers: overlayDirs(roots, config.rootfs.diff_ids),
    settings: config.config ?? {},
  };
}

/** By name, or by the beginning of its digest where that is one image's alone. Throws InvalidInputError, ConflictError. */
export function selectEntry(entries: readonly Entry[], ref: string): Entry | undefined {
  const prefix = digestPrefix(ref);
  const full = prefix !== undefined && ref.startsWith('sha256:') ? undefined : parseImageName(ref);
  const named = entries.find((entry) => full !== undefined && nameOf(entry) === full);
  if (named !== undefined || prefix === undefined) return named;
  const alike = entries.filter(({ digest }) => digest.startsWith(prefix));
  if (new Set(alike.map(({ digest }) => digest)).size > 1) {
    throw new ConflictError(`cannot use image ${ref}: more than one has a digest that begins so`, {
      hint: 'minict image ls',
    });
  }
  return alike[0];
}

export function noSuchImage(verb: string): NotFoundError {
  return new NotFoundError(`cannot ${verb}: no such image`, { hint: 'minict image ls' });
}

/** Throws NotFoundError, too. */
export function getEntry(entries: readonly Entry[], ref: string, verb: string): Entry {
  const entry = selectEntry(entries, ref);
  if (entry !== undefined) return entry;
  throw noSuchImage(verb);
}

/** What `read` makes of an image's files; undefined where the image was removed meanwhile. */
async function unlessRemoved<T>(roots: Roots, digest: string, read: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (isListed(roots, digest)) throw error;
    return undefined;
  }
}

export async function findImage(roots: Roots, ref: string): Promise<Image | undefined> {
  const entry = selectEntry(await readCatalog(roots), ref);
  return entry && unlessRemoved(roots, entry.digest, () => imageOf(roots, entry));
}

export function taken(name: string, verb: string): ConflictError {
  return new ConflictError(`cannot ${verb}: image ${shownName(name)} exists already`, {
    hint: `minict image rm ${shownName(name)}, or another tag`,
  });
}

/** Throws ConflictError where an image of that name is there: before the work that would be in vain. */
export async function requireNewName(roots: Roots, name: string, verb: string): Promise<void> {
  if ((await readCatalog(roots)).some((entry) => nameOf(entry) === name)) throw taken(name, verb);
}

/** An image that is made at first use. */
export interface ImageToMake {
  readonly name: string;
  readonly make: () => Promise<Image>;
}

/**
 * `--image X`: with a `/` a path (a directory is used in place, read-only; a tarball is imported once under its file
 * name), without one an image's name or digest. `base` is made at first use.
 */
export async function resolveImage(roots: Roots, ref: string): Promise<Image> {
  const found = await lookUpImage(roots, ref);
  const image = 'make' in found ? await found.make() : found;
  const { name, id } = image;
  if (id === undefined || image.layers.every((dir) => existsSync(dir))) return image;
  const { unpackImage } = await import('./unpack-layer.ts');
  const layers = await unlessRemoved(roots, id, () => unpackImage(roots, name, id));
  if (layers === undefined) throw noSuchImage(`use image ${ref}`);
  return { ...image, layers };
}

/** As resolveImage, but makes and writes nothing. */
export async function lookUpImage(roots: Roots, ref: string): Promise<Image | ImageToMake> {
  if (!ref.includes('/')) {
    const image = await findImage(roots, ref);
    if (image !== undefined) return image;
    if (ref === 'base') return { name: 'base', make: async () => (await import('./base.ts')).makeBase(roots) };
    const hint = existsSync(ref) ? `--image ./${ref} is the file of that name` : 'minict image ls';
    throw new NotFoundError(`cannot use image ${ref}: no such image`, { hint });
  }
  const stat = statUserPath(ref, `use image ${ref}`);
  const path = realpathSync(ref);
  if (stat.isDirectory()) {
    if (readdirSync(path).length === 0) throw new InvalidInputError(`cannot use image ${ref}: the directory is empty`);
    return { name: path, layers: [path], settings: {} };
  }
  if (!stat.isFile()) throw new InvalidInputError(`cannot use image ${ref}: neither file nor directory`);
  if (stat.size === 0) throw new InvalidInputError(`cannot use image ${ref}: the file is empty`);
  const name = nameOfTarball(path);
  const image = await findImage(roots, name);
  if (image === undefined) return { name, make: () => importOnce(roots, path, name) };
  requireMadeOf(roots, image, path, ref, stat);
  return image;
}

/** In the history of an image, who made its layer. */
export function importedFrom(path: string): string {
  return `minict image import ${path}`;
}

/** Throws ConflictError where the image of a tarball's name is of something else, or of what the tarball was before. */
function requireMadeOf(roots: Roots, { name, id = '' }: Image, path: string, ref: string, stat: Stats): void {
  const { created = '', history } = readDocuments(roots, id).config;
  const by = history?.map((entry) => entry.created_by ?? '').join('; ') ?? '';
  const isOthers = by !== importedFrom(path);
  const isStale = stat.mtimeMs > Date.parse(created) && stat.mtimeMs <= Date.now();
  if (!isOthers && !isStale) return;
  const cause = isOthers ? `image ${name} is of '${by}'` : `it has changed since image ${name} was made of it`;
  throw new ConflictError(`cannot use image ${ref}: ${cause}`, {
    hint: `--image ${name} takes that one; minict image import ${ref} NAME makes another`,
  });
}

/** Two creates from the same tarball at a time: the other one's image is as good. */
async function importOnce(roots: Roots, path: string, name: string): Promise<Image> {
  return orOthers(roots, name, async () => (await import('./import.ts')).importImage(roots, path, name));
}

/** What `make` makes; where another one was quicker, its image. */
export async function orOthers(roots: Roots, name: string, make: () => Promise<unknown>): Promise<Image> {
  let conflict: unknown;
  try {
    await make();
  } catch (error) {
    if (!(error instanceof ConflictError)) throw error;
    conflict = error;
  }
  const image = await findImage(roots, name);
  if (image === undefined) throw conflict;
  return image;
}
