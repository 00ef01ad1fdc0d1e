/** Images that are kept as trees, for storage drivers that make containers of them; reclaimed with their images. */
import { existsSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { basename, join } from 'node:path';
import { readCatalog } from '../image/catalog.ts';
import { imageOf } from '../image/store.ts';
import type { TreeOrigin } from '../plan/files.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { lockImageTrees } from '../state/locks.ts';
import { imagePaths, type Roots } from '../state/paths.ts';
import { inNewFolder } from '../state/staging.ts';
import { driverOf } from '../storage/driver.ts';
import { type Context, spawnContext } from './context.ts';
import { runCommands } from './run-commands.ts';

/** By its layers' names, which are digests of what is in them. */
function treeDir(roots: Roots, layers: readonly string[]): string {
  const names = layers.map((dir) => basename(dir)).join(' ');
  return join(imagePaths(roots).trees, new Bun.CryptoHasher('sha256').update(names).digest('hex').slice(0, 20));
}

type Source = Pick<ContainerSpec, 'storage' | 'imageId' | 'lower'>;

/** A directory that is used as an image may change: it is not kept. */
function keptDir(roots: Roots, { storage, imageId, lower }: Source): string | undefined {
  if (imageId === undefined || lower === undefined || !driverOf({ storage }).trees?.keepsImages) return undefined;
  return treeDir(roots, lower);
}

export function imageTreeOf(roots: Roots, source: Source): TreeOrigin | undefined {
  const tree = keptDir(roots, source);
  return tree !== undefined && existsSync(tree) ? { tree, isOwn: false } : undefined;
}

/** Once for each image; who comes meanwhile waits. The caller holds the images' lock. Throws HostError. */
export async function ensureImageTree(context: Context, source: Source): Promise<void> {
  const dir = keptDir(context.roots, source);
  if (dir === undefined || existsSync(dir)) return;
  const { trees, dir: images } = imagePaths(context.roots);
  const lock = lockImageTrees(context.roots);
  try {
    if (existsSync(dir)) return;
    await inNewFolder(images, async (folder, lockFd) => {
      const tree = join(folder, 'tree');
      const commands = driverOf(source).trees?.fromLayers(source.lower ?? [], tree) ?? [];
      // A tree that a power cut left half written would be every container's.
      const all = [...commands, { kind: 'run', argv: ['sync', '--file-system', tree] } as const];
      await runCommands('make a tree of the image', all, spawnContext(context, lockFd));
      mkdirSync(trees, { recursive: true, mode: 0o700 });
      renameSync(tree, dir);
    });
  } finally {
    lock.release();
  }
}

/** Paths of trees of images that are not there any more. Throws StateError for a damaged image. */
export async function unusedTrees(roots: Roots, containers: readonly ContainerSpec[]): Promise<string[]> {
  const { trees } = imagePaths(roots);
  const all = existsSync(trees) ? readdirSync(trees) : [];
  if (all.length === 0) return [];
  const images = (await readCatalog(roots)).map((entry) => imageOf(roots, entry).layers);
  const layers = [...images, ...containers.flatMap(({ lower }) => (lower === undefined ? [] : [lower]))];
  const inUse = new Set(layers.map((dirs) => treeDir(roots, dirs)));
  return all.map((name) => join(trees, name)).filter((path) => !inUse.has(path));
}
