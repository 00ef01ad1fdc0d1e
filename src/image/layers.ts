/**
 * Layers as directories in overlayfs's form, each unpacked once and shared by all images and containers that have it.
 * They lie side by side under short names, so that many of them fit into one mount's options.
 */
import { existsSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { imagePaths, type Roots } from '../state/paths.ts';

/** 80 bits of the digest of its content: nobody finds a second layer with the same. */
const NAME_DIGITS = 20;

/** Of a layer that is known by its digest. */
export function layerName(digest: string): string {
  return digest.slice('sha256:'.length).slice(0, NAME_DIGITS);
}

export function layerDir(roots: Roots, diffId: string): string {
  return join(imagePaths(roots).layers, layerName(diffId));
}

/** Directories of all layers that are there. */
export function layerDirs(roots: Roots): string[] {
  const { layers } = imagePaths(roots);
  if (!existsSync(layers)) return [];
  return readdirSync(layers)
    .filter((name) => !name.startsWith('.'))
    .map((name) => join(layers, name));
}

/** Puts an unpacked tree into its place; where the layer is there already the tree is left to its staging folder. */
export function adoptLayer(roots: Roots, diffId: string, tree: string): void {
  moveLayer(tree, layerDir(roots, diffId));
}

export function moveLayer(tree: string, dir: string): void {
  try {
    if (!existsSync(dir)) renameSync(tree, dir);
  } catch (error) {
    // rename(2) does not replace a folder that has something in it: another one was quicker.
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}
