/** Removes blobs and layers that no image, no build and no container has any more. */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { tryLockImageFiles } from '../state/locks.ts';
import { imagePaths, ownLayersPath, type Roots } from '../state/paths.ts';
import { moveToTrash, removeTree } from '../state/trash.ts';
import { blobPath } from './blobs.ts';
import { pathsInCache } from './build-cache.ts';
import { readCatalog, readDocuments } from './catalog.ts';
import { layerDirs, layerPlaces, removeLayerLocks } from './layers.ts';

/** What containers use: directories, and digests of images. */
export interface ContainersUse {
  readonly layers: ReadonlySet<string>;
  readonly images: readonly string[];
}

/**
 * Paths of what images are made of, those too that containers have and the catalog does not, and of what builds keep. Throws
 * StateError for a damaged one: then nobody can tell.
 */
async function pathsInUse(roots: Roots, { images }: ContainersUse): Promise<Set<string>> {
  const paths = new Set<string>(pathsInCache(roots));
  const unlisted = images.filter((digest) => existsSync(blobPath(roots, digest)));
  for (const digest of new Set([...(await readCatalog(roots)).map((entry) => entry.digest), ...unlisted])) {
    const { manifest, config } = readDocuments(roots, digest);
    for (const blob of [digest, manifest.config.digest, ...manifest.layers.map((layer) => layer.digest)]) {
      paths.add(blobPath(roots, blob));
    }
    for (const { own, onTop } of layerPlaces(roots, config.rootfs.diff_ids)) paths.add(own).add(onTop);
  }
  return paths;
}

function ownLayerDirs(roots: Roots): string[] {
  const dir = ownLayersPath(roots);
  return existsSync(dir) ? readdirSync(dir).map((name) => join(dir, name)) : [];
}

/**
 * Returns the paths of what it removed, or with `dryRun` would. While somebody adds images or containers, or reads what
 * they are made of, it does nothing: what is being added looks the same.
 */
export async function collectGarbage(roots: Roots, use: ContainersUse, dryRun = false): Promise<string[]> {
  const lock = tryLockImageFiles(roots);
  if (lock === undefined) return [];
  try {
    const { blobs } = imagePaths(roots);
    const inUse = await pathsInUse(roots, use);
    const all = existsSync(blobs) ? readdirSync(blobs).map((name) => join(blobs, name)) : [];
    const files = all.filter((path) => !inUse.has(path));
    const dirs = [...layerDirs(roots), ...ownLayerDirs(roots)];
    const trees = dirs.filter((path) => !inUse.has(path) && !use.layers.has(path));
    if (!dryRun) {
      removeLayerLocks(roots);
      for (const path of files) rmSync(path);
      // Out of sight at once: half a layer must not be taken for a whole one.
      for (const path of trees) removeTree(moveToTrash(roots, path, 'layer'));
    }
    return [...files, ...trees];
  } finally {
    lock.release();
  }
}
