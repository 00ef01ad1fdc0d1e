/** Images: a read-only root file system in a folder of its own, published by rename. */
import { existsSync, mkdirSync, readdirSync, realpathSync, renameSync, rmSync, type Stats } from 'node:fs';
import { basename, join } from 'node:path';
import { ConflictError, HostError, InvalidInputError, NotFoundError } from '../errors.ts';
import { mountsIn } from '../host/facts.ts';
import { takeLock } from '../host/syscalls.ts';
import { statUserPath } from '../host/user-path.ts';
import { readJson } from '../state/json-file.ts';
import { imagePaths, type Roots } from '../state/paths.ts';

/** A folder in `images/` that is to become an image, and the lock file beside it (see publish.ts). */
export const NEW_PREFIX = '.new-';
export const NEW_LOCK_SUFFIX = '.lock';

export interface Image {
  readonly name: string;
  readonly rootfs: string;
}

export function parseImageName(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$/.test(text)) return text;
  throw new InvalidInputError(`cannot use image name ${JSON.stringify(text)}: not a valid name`);
}

export async function findImage(roots: Roots, name: string): Promise<Image | undefined> {
  const paths = imagePaths(roots, parseImageName(name));
  if ((await readJson(paths.json, 'image', name)) === undefined) return undefined;
  return { name, rootfs: paths.rootfs };
}

/** Names of all images, in order; one may turn out to be damaged. */
export function imageNames(roots: Roots): string[] {
  const dir = join(roots.root, 'images');
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .filter((name) => !name.startsWith('.'))
    .sort();
}

/** The folder of an image that can be removed. Throws NotFoundError, or ConflictError while containers use it. */
export async function imageToRemove(roots: Roots, name: string, inUseBy: readonly string[]): Promise<string> {
  if ((await findImage(roots, name)) === undefined) {
    throw new NotFoundError(`cannot remove image ${name}: no such image`, { hint: 'minict image ls' });
  }
  if (inUseBy.length > 0) {
    throw new ConflictError(`cannot remove image ${name}: used by ${inUseBy.join(', ')}`, {
      hint: `minict rm ${inUseBy.join(' ')}`,
    });
  }
  return imagePaths(roots, name).dir;
}

/**
 * From here on there is no such image; returns the folder that its files are in, to be removed. Throws NotFoundError, or
 * ConflictError while containers use it.
 */
export async function retireImage(roots: Roots, name: string, inUseBy: readonly string[]): Promise<string> {
  const dir = await imageToRemove(roots, name, inUseBy);
  const trash = join(roots.root, '.trash', `image-${process.pid}-${Date.now()}`);
  mkdirSync(join(roots.root, '.trash'), { recursive: true, mode: 0o700 });
  renameSync(dir, trash);
  return trash;
}

/** Throws ConflictError while something is mounted in it, HostError. */
export function removeTree(dir: string): void {
  const mounts = mountsIn([dir]).get(dir)?.join(' ');
  if (mounts) throw new ConflictError(`cannot remove ${dir}: mounted in it: ${mounts}`, { hint: `umount ${mounts}` });
  const { exitCode, stderr } = Bun.spawnSync(['rm', '-rf', '--one-file-system', '--', dir]);
  if (exitCode !== 0) throw new HostError(`cannot remove ${dir}: ${stderr.toString().trim()}`);
}

/**
 * Removes what killed imports and builds left in `images/`, and returns the folders' paths; with `dryRun` it only
 * lists them. One that is being made is left alone: its lock is held.
 */
export function removeStaleImages(roots: Roots, dryRun = false): string[] {
  const images = join(roots.root, 'images');
  if (!existsSync(images)) return [];
  const entries = readdirSync(images).filter((entry) => entry.startsWith(NEW_PREFIX));
  const ids = new Set(
    entries.map((entry) => (entry.endsWith(NEW_LOCK_SUFFIX) ? entry.slice(0, -NEW_LOCK_SUFFIX.length) : entry)),
  );
  const stale: string[] = [];
  for (const id of [...ids].sort()) {
    const dir = join(images, id);
    const lockPath = `${dir}${NEW_LOCK_SUFFIX}`;
    const orphan = !existsSync(lockPath);
    // A dry run makes no lock file; without one, nobody is at work in the folder.
    const lock = dryRun && orphan ? undefined : takeLock(lockPath, 'exclusive', false);
    if (lock === undefined && !(dryRun && orphan)) continue;
    try {
      if (existsSync(dir)) {
        if (!dryRun) removeTree(dir);
        stale.push(dir);
      }
      if (!dryRun) rmSync(lockPath, { force: true });
    } finally {
      lock?.release();
    }
  }
  return stale;
}

/** An image that is made at first use. */
export interface ImageToMake {
  readonly name: string;
  readonly make: () => Promise<Image>;
}

/**
 * `--image X`: with a `/` a path (a directory is used in place, read-only; a tarball is imported once under its file
 * name), without one an image's name. `base` is made at first use.
 */
export async function resolveImage(roots: Roots, ref: string): Promise<Image> {
  const image = await lookUpImage(roots, ref);
  return 'make' in image ? image.make() : image;
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
    return { name: path, rootfs: path };
  }
  if (!stat.isFile()) throw new InvalidInputError(`cannot use image ${ref}: neither file nor directory`);
  if (stat.size === 0) throw new InvalidInputError(`cannot use image ${ref}: the file is empty`);
  const name = basename(path)
    .replace(/\.(tar(\.(gz|xz|zst|zstd))?|tgz|txz)$/, '')
    .replace(/[^A-Za-z0-9_.:-]/g, '-');
  const image = await findImage(roots, name);
  if (image === undefined) return { name, make: () => importOnce(roots, path, name) };
  await requireMadeOf(roots, name, path, ref, stat);
  return image;
}

/** Throws ConflictError where the image of a tarball's name is of something else, or of what the tarball was before. */
async function requireMadeOf(roots: Roots, name: string, path: string, ref: string, stat: Stats): Promise<void> {
  const record = await readJson(imagePaths(roots, name).json, 'image', name);
  const isOthers = record !== undefined && record.source !== path;
  const madeMs = Date.parse(record?.createdAt ?? '');
  const isStale = stat.mtimeMs > madeMs && stat.mtimeMs <= Date.now();
  if (!isOthers && !isStale) return;
  const cause = isOthers ? `image ${name} is of ${record.source}` : `it has changed since image ${name} was made of it`;
  throw new ConflictError(`cannot use image ${ref}: ${cause}`, {
    hint: `--image ${name} takes that one; minict image import ${ref} NAME makes another`,
  });
}

/** Two creates from the same tarball at a time: the other one's image is as good. */
async function importOnce(roots: Roots, path: string, name: string): Promise<Image> {
  try {
    return await (await import('./import.ts')).importImage(roots, path, name);
  } catch (error) {
    const image = error instanceof ConflictError ? await findImage(roots, name) : undefined;
    if (image === undefined) throw error;
    return image;
  }
}
