/** Images: a read-only root file system in a folder of its own, published by rename. */
import { existsSync, mkdirSync, readdirSync, realpathSync, renameSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod/mini';
import { ConflictError, HostError, InvalidInputError, NotFoundError } from '../errors.ts';
import { readJson } from '../state/json-file.ts';
import { imagePaths, type Roots } from '../state/paths.ts';

export interface Image {
  readonly name: string;
  readonly rootfs: string;
}

const imageRecord = z.object({
  version: z.literal(1),
  name: z.string(),
  source: z.string(),
  createdAt: z.string(),
});

export function parseImageName(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$/.test(text)) return text;
  throw new InvalidInputError(`cannot use image name ${JSON.stringify(text)}: not a valid name`);
}

export function findImage(roots: Roots, name: string): Image | undefined {
  const paths = imagePaths(roots, parseImageName(name));
  if (readJson(paths.json, imageRecord, `image ${name}`) === undefined) return undefined;
  return { name, rootfs: paths.rootfs };
}

export function listImages(roots: Roots): Image[] {
  const dir = join(roots.root, 'images');
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .filter((name) => !name.startsWith('.'))
    .sort()
    .flatMap((name) => findImage(roots, name) ?? []);
}

/** Throws NotFoundError, or ConflictError while containers use it. */
export function removeImage(roots: Roots, name: string, inUseBy: readonly string[]): void {
  if (findImage(roots, name) === undefined) {
    throw new NotFoundError(`cannot remove image ${name}: no such image`, { hint: 'minict image ls' });
  }
  if (inUseBy.length > 0) {
    throw new ConflictError(`cannot remove image ${name}: used by ${inUseBy.join(', ')}`, {
      hint: `minict rm ${inUseBy.join(' ')}`,
    });
  }
  const trash = join(roots.root, '.trash', `image-${process.pid}-${Date.now()}`);
  mkdirSync(join(roots.root, '.trash'), { recursive: true, mode: 0o700 });
  renameSync(imagePaths(roots, name).dir, trash);
  removeTree(trash);
}

export function removeTree(dir: string): void {
  const { exitCode, stderr } = Bun.spawnSync(['rm', '-rf', '--one-file-system', '--', dir]);
  if (exitCode !== 0) throw new HostError(`cannot remove ${dir}: ${stderr.toString().trim()}`);
}

/**
 * `--image X`: with a `/` a path (a directory is used in place, read-only; a tarball is imported once under its file
 * name), without one an image's name. `base` is made at first use.
 */
export async function resolveImage(roots: Roots, ref: string): Promise<Image> {
  if (!ref.includes('/')) {
    const image = findImage(roots, ref);
    if (image !== undefined) return image;
    if (ref === 'base') return (await import('./base.ts')).makeBase(roots);
    throw new NotFoundError(`cannot use image ${ref}: no such image`, { hint: 'minict image ls' });
  }
  const stat = statSync(ref, { throwIfNoEntry: false });
  if (stat === undefined) throw new NotFoundError(`cannot use image ${ref}: no such file or directory`);
  const path = realpathSync(ref);
  if (stat.isDirectory()) {
    if (readdirSync(path).length === 0) throw new InvalidInputError(`cannot use image ${ref}: the directory is empty`);
    return { name: path, rootfs: path };
  }
  if (stat.size === 0) throw new InvalidInputError(`cannot use image ${ref}: the file is empty`);
  const name = basename(path)
    .replace(/\.(tar(\.(gz|xz|zst|zstd))?|tgz|txz)$/, '')
    .replace(/[^A-Za-z0-9_.:-]/g, '-');
  return findImage(roots, name) ?? (await import('./import.ts')).importImage(roots, path, name);
}
