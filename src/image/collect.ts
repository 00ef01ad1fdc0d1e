/** Removes blobs and layers that no image, and no build, has any more. */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { tryLockImageFiles } from '../state/locks.ts';
import { imagePaths, type Roots } from '../state/paths.ts';
import { moveToTrash, removeTree } from '../state/trash.ts';
import { blobPath } from './blobs.ts';
import { pathsInCache } from './build-cache.ts';
import { readCatalog, readDocuments } from './catalog.ts';
import { layerDirs, layerPlaces, removeLayerLocks } from './layers.ts';

/** Paths of what images are made of, and of what builds keep. Throws StateError for a damaged one: then nobody can tell. */
async function pathsInUse(roots: Roots): Promise<Set<string>> {
  const paths = new Set<string>(pathsInCache(roots));
  for (const { digest } of await readCatalog(roots)) {
    const { manifest, config } = readDocuments(roots, digest);
    for (const blob of [digest, manifest.config.digest, ...manifest.layers.map((layer) => layer.digest)]) {
      paths.add(blobPath(roots, blob));
    }
    for (const { own, onTop } of layerPlaces(roots, config.rootfs.diff_ids)) paths.add(own).add(onTop);
  }
  return paths;
}

/**
 * Returns the paths of what it removed, or with `dryRun` would. `layersInUse` are containers' own. While somebody adds
 * images it does nothing: what is being added looks the same.
 */
export async function collectGarbage(
  roots: Roots,
  layersInUse: ReadonlySet<string>,
  dryRun = false,
): Promise<string[]> {
  const lock = tryLockImageFiles(roots);
  if (lock === undefined) return [];
  try {
    const { blobs } = imagePaths(roots);
    const inUse = await pathsInUse(roots);
    const all = existsSync(blobs) ? readdirSync(blobs).map((name) => join(blobs, name)) : [];
    const files = all.filter((path) => !inUse.has(path));
    const trees = layerDirs(roots).filter((path) => !inUse.has(path) && !layersInUse.has(path));
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
