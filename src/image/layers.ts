/**
 * Layers as directories in overlayfs's form, each unpacked once and shared by all images and containers that have it.
 * They lie side by side under short names, so that many of them fit into one mount's options.
 */
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { imagePaths, type Roots } from '../state/paths.ts';
import { digestOf } from './blobs.ts';

/** 80 bits of the digest of its content: nobody finds a second layer with the same. */
const NAME_DIGITS = 20;

export function shortName(digest: string): string {
  return digest.slice('sha256:'.length).slice(0, NAME_DIGITS);
}

/** Of a layer that says of all its folders what they are like. */
export function ownDir(roots: Roots, diffId: string): string {
  return join(imagePaths(roots).layers, shortName(diffId));
}

/** The two directories that a layer of an image can be. */
export interface LayerPlace {
  readonly diffId: string;
  readonly own: string;
  /**
   * Where it leaves some to the layers below: it has their owner, mode and times from there, and is another one on top of
   * others.
   */
  readonly onTop: string;
}

/** In the order of `diffIds`, the bottom one first. What is below one is in its chain id (image-spec, config.md). */
export function layerPlaces(roots: Roots, diffIds: readonly string[]): LayerPlace[] {
  let chainId: string | undefined;
  return diffIds.map((diffId) => {
    chainId = chainId === undefined ? diffId : digestOf(`${chainId} ${diffId}`);
    return { diffId, own: ownDir(roots, diffId), onTop: ownDir(roots, digestOf(`on top ${chainId}`)) };
  });
}

/** The one that is there. */
export function unpackedDir({ own, onTop }: LayerPlace): string | undefined {
  return [own, onTop].find((dir) => existsSync(dir));
}

/**
 * Directories for an overlay, the top one first; one that is yet to be unpacked is taken for one without such folders. A
 * layer that an image has twice adds nothing further down, and the kernel takes none twice.
 */
export function overlayDirs(roots: Roots, diffIds: readonly string[]): string[] {
  const dirs = layerPlaces(roots, diffIds).map((place) => unpackedDir(place) ?? place.own);
  return [...new Set(dirs.reverse())];
}

const LOCK_PREFIX = '.lock-';

function entriesOf(roots: Roots, areLocks: boolean): string[] {
  const { layers } = imagePaths(roots);
  if (!existsSync(layers)) return [];
  return readdirSync(layers)
    .filter((name) => name.startsWith(LOCK_PREFIX) === areLocks)
    .map((name) => join(layers, name));
}

/** Directories of all layers that are there. */
export function layerDirs(roots: Roots): string[] {
  return entriesOf(roots, false);
}

/** Held by who unpacks the layer. */
export function layerLockPath(roots: Roots, diffId: string): string {
  return join(imagePaths(roots).layers, `${LOCK_PREFIX}${shortName(diffId)}`);
}

/** What killed ones left. To be called while nobody can be unpacking. */
export function removeLayerLocks(roots: Roots): void {
  for (const path of entriesOf(roots, true)) rmSync(path);
}

/** Puts an unpacked tree into its place; where the layer is there already it is left to its staging folder. */
export function adoptTree(tree: string, dir: string): void {
  try {
    if (!existsSync(dir)) renameSync(tree, dir);
  } catch (error) {
    // rename(2) does not replace a folder that has something in it: another one was quicker.
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}
