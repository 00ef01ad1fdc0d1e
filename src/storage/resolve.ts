/**
 * Resolves a path inside a root file system, without ever leaving it: images contain symlinks that point at the host.
 * Reads only. `layers` are searched from the top, as overlayfs does.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { readXattr } from '../host/syscalls.ts';

const MAX_LINKS = 40;

interface Found {
  readonly stat: Stats;
  readonly layer: string;
  /** Where its entries are: the layers that are merged in it, none unless it is a directory. */
  readonly merged: readonly string[];
}

/** A directory that was made where another had been removed: nothing of those below it shows. */
function isOpaque(path: string): boolean {
  return readXattr(path, 'trusted.overlay.opaque')?.toString() === 'y';
}

/** A directory is merged with those below it; anything else, whiteouts (0:0 devices) too, hides what is below. */
function lookup(layers: readonly string[], path: string): Found | undefined {
  const merged: string[] = [];
  let top: Stats | undefined;
  for (const [index, layer] of layers.entries()) {
    const stat = lstatSync(join(layer, path), { throwIfNoEntry: false });
    if (stat === undefined) continue;
    if (!stat.isDirectory()) {
      const whiteout = stat.isCharacterDevice() && stat.rdev === 0;
      if (top === undefined && !whiteout) return { stat, layer, merged };
      break;
    }
    top ??= stat;
    merged.push(layer);
    if (index + 1 < layers.length && isOpaque(join(layer, path))) break;
  }
  return top && { stat: top, layer: merged[0] as string, merged };
}

interface Resolved {
  /** Inside the root: `/run/resolv.conf`. */
  readonly path: string;
  /** What is there, and in which layer. */
  readonly stat: Stats | undefined;
  readonly layer: string | undefined;
}

/** Where `path` leads to; undefined for a loop. */
export function resolveInRoot(layers: readonly string[], path: string): Resolved | undefined {
  let pending = path.split('/').filter(Boolean);
  let done: { part: string; found: Found | undefined }[] = [];
  for (let links = 0; pending.length > 0; ) {
    const part = pending.shift() as string;
    if (part === '.') continue;
    if (part === '..') {
      done.pop();
      continue;
    }
    const here = [...done.map((step) => step.part), part].join('/');
    // lstat of `a/b` would follow a link in `a`: it is asked only of layers in which `a` is a directory.
    const found = lookup(done.length === 0 ? layers : (done.at(-1)?.found?.merged ?? []), here);
    if (found?.stat.isSymbolicLink()) {
      links += 1;
      if (links > MAX_LINKS) return undefined;
      const target = readlinkSync(join(found.layer, here));
      if (target.startsWith('/')) done = [];
      pending = [...target.split('/').filter(Boolean), ...pending];
      continue;
    }
    done.push({ part, found });
  }
  const { stat, layer } = done.at(-1)?.found ?? {};
  return { path: `/${done.map((step) => step.part).join('/')}`, stat, layer };
}

/** Whether what another layer, below all of these, has at `path` would show: nothing on the way is in front of it. */
export function showsFromBelow(layers: readonly string[], path: string): boolean {
  let merged = layers;
  let here = '';
  for (const part of path.split('/').filter(Boolean)) {
    here = join(here, part);
    const stats = merged.map((layer) => lstatSync(join(layer, here), { throwIfNoEntry: false }));
    if (stats.some((stat) => stat !== undefined && !stat.isDirectory())) return false;
    if (merged.some((layer, index) => stats[index] !== undefined && isOpaque(join(layer, here)))) return false;
    merged = merged.filter((_, index) => stats[index] !== undefined);
  }
  return true;
}

/** Text of a file inside the root; undefined where there is none. */
export function readInRoot(layers: readonly string[], path: string): string | undefined {
  const resolved = resolveInRoot(layers, path);
  if (resolved?.layer === undefined || !resolved.stat?.isFile()) return undefined;
  // Nobody waits at a pipe, nor follows a link, that came in between.
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const fd = openSync(join(resolved.layer, resolved.path), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    return fstatSync(fd).isFile() ? readFileSync(fd, 'utf8') : undefined;
  } finally {
    closeSync(fd);
  }
}
