/**
 * What a path shows in a stack of directories, the top one first, as overlayfs merges them (kernel docs, overlayfs.rst).
 * Reads only, and follows no symlink as long as the path's folders are known to be folders.
 */
import { lstatSync, type Stats } from 'node:fs';
import { isOpaque } from './syscalls.ts';

export interface Found {
  /** Of the topmost one; undefined where nothing shows. */
  readonly stat: Stats | undefined;
  /** Where that is. */
  readonly layer: string | undefined;
  /** Where its entries are: the layers that are merged in it, none unless it is a directory. */
  readonly merged: readonly string[];
  /** What a layer below all of these has there would not show, or not with its entries. */
  readonly isClosed: boolean;
}

interface Seen {
  readonly stat: Stats;
  readonly isOpaque: boolean;
}

/** What was found while nothing changes: images of many layers are looked at again and again. */
export type Memory = Map<string, Seen | undefined>;

function lookAt(at: string | Buffer): Seen | undefined {
  const stat = lstatSync(at, { throwIfNoEntry: false });
  return stat && { stat, isOpaque: stat.isDirectory() && isOpaque(at) };
}

function lookOrRemember(at: string | Buffer, memory: Memory | undefined): Seen | undefined {
  if (memory === undefined || typeof at !== 'string') return lookAt(at);
  if (!memory.has(at)) memory.set(at, lookAt(at));
  return memory.get(at);
}

/** `path` is relative, as text or as bytes. */
export function pathIn(layer: string, path: string | Buffer): string | Buffer {
  return typeof path === 'string' ? `${layer}/${path}` : Buffer.concat([Buffer.from(`${layer}/`), path]);
}

/**
 * `layers` are those in which the folder that `path` is in is a directory: lstat(2) would follow a symlink on the way. A
 * directory is merged with those below it; anything else, whiteouts (0:0 devices) too, hides what is below.
 */
export function lookUp(layers: readonly string[], path: string | Buffer, memory?: Memory): Found {
  const merged: string[] = [];
  let top: Stats | undefined;
  for (const layer of layers) {
    const seen = lookOrRemember(pathIn(layer, path), memory);
    if (seen === undefined) continue;
    const { stat } = seen;
    if (!stat.isDirectory()) {
      const isHere = top === undefined && !(stat.isCharacterDevice() && stat.rdev === 0);
      return { stat: isHere ? stat : top, layer: isHere ? layer : merged[0], merged, isClosed: true };
    }
    top ??= stat;
    merged.push(layer);
    if (seen.isOpaque) return { stat: top, layer: merged[0], merged, isClosed: true };
  }
  return { stat: top, layer: merged[0], merged, isClosed: false };
}

/** The directories that are merged in what `path` (bytes) shows, the top one first; none where it shows no directory. */
export function mergedAt(layers: readonly string[], path: Buffer): (string | Buffer)[] {
  let merged = layers;
  for (let end = path.indexOf('/'); end >= 0; end = path.indexOf('/', end + 1)) {
    merged = lookUp(merged, path.subarray(0, end)).merged;
  }
  return lookUp(merged, path).merged.map((layer) => pathIn(layer, path));
}
