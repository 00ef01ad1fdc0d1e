/** Images: a read-only root file system in a folder of its own, published by rename. */
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';
import { ConflictError, InvalidInputError, NotFoundError } from '../errors.ts';
import { statUserPath } from '../host/user-path.ts';
import { readJson } from '../state/json-file.ts';
import { imagePaths, type Roots } from '../state/paths.ts';
import { moveToTrash } from '../state/trash.ts';

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

/**
 * From here on there is no such image; returns the folder that its files are in, to be removed. Throws NotFoundError, or
 * ConflictError while containers use it.
 */
export async function retireImage(roots: Roots, name: string, inUseBy: readonly string[]): Promise<string> {
  if ((await findImage(roots, name)) === undefined) {
    throw new NotFoundError(`cannot remove image ${name}: no such image`, { hint: 'minict image ls' });
  }
  if (inUseBy.length > 0) {
    throw new ConflictError(`cannot remove image ${name}: used by ${inUseBy.join(', ')}`, {
      hint: `minict rm ${inUseBy.join(' ')}`,
    });
  }
  return moveToTrash(roots, imagePaths(roots, name).dir, 'image');
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
    throw new NotFoundError(`cannot use image ${ref}: no such image`, { hint: 'minict image ls' });
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
  return (await findImage(roots, name)) ?? { name, make: () => importOnce(roots, path, name) };
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
