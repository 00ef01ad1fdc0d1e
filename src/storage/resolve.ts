/**
 * Resolves a path inside a root file system, without ever leaving it: images contain symlinks that point at the host.
 * Reads only. `layers` are searched from the top, as overlayfs does; what is mounted in the root is in front of them.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { readXattr } from '../host/syscalls.ts';
import type { Mounted } from '../spec/place.ts';

const MAX_LINKS = 40;

interface Found {
  /** Absent where nothing is known of a mount but that it is there. */
  readonly stat: Stats | undefined;
  /** The file itself, on the host. */
  readonly file: string | undefined;
  /** Where its entries are: the directories that are merged in it, the top one first; none unless it is one. */
  readonly merged: readonly string[];
}

/** A directory that hides those below it, as overlayfs marks it. */
function isOpaque(dir: string): boolean {
  return readXattr(dir, 'trusted.overlay.opaque')?.toString() === 'y';
}

/** A directory is merged with those below it; anything else, whiteouts (0:0 devices) too, hides what is below. */
function lookup(dirs: readonly string[], part: string): Found | undefined {
  const merged: string[] = [];
  let top: Stats | undefined;
  for (const dir of dirs) {
    const file = join(dir, part);
    const stat = lstatSync(file, { throwIfNoEntry: false });
    if (stat === undefined) continue;
    const above = merged.at(-1);
    if (above !== undefined && isOpaque(above)) break;
    if (!stat.isDirectory()) {
      const whiteout = stat.isCharacterDevice() && stat.rdev === 0;
      if (top === undefined && !whiteout) return { stat, file, merged };
      break;
    }
    top ??= stat;
    merged.push(file);
  }
  return top && { stat: top, file: merged[0], merged };
}

export interface Resolved extends Found {
  /** Inside the root: `/run/resolv.conf`. */
  readonly path: string;
  /** The innermost mount that it is in, or is. */
  readonly inside: Mounted | undefined;
}

/** Where `path` leads to; undefined for a loop. `mounted` are paths without symlinks. */
export function resolveInRoot(
  layers: readonly string[],
  path: string,
  mounted: readonly Mounted[] = [],
): Resolved | undefined {
  let pending = path.split('/').filter(Boolean);
  let done: { part: string; found: Found | undefined; inside: Mounted | undefined }[] = [];
  for (let links = 0; pending.length > 0; ) {
    const part = pending.shift() as string;
    if (part === '.') continue;
    if (part === '..') {
      done.pop();
      continue;
    }
    const here = `/${[...done.map((step) => step.part), part].join('/')}`;
    const mount = mounted.find((other) => other.path === here);
    if (mount !== undefined) {
      done.push({ part, found: foundAt(mount), inside: mount });
      continue;
    }
    const above = done.at(-1);
    const found = lookup(above === undefined ? layers : (above.found?.merged ?? []), part);
    if (found?.stat?.isSymbolicLink()) {
      links += 1;
      if (links > MAX_LINKS) return undefined;
      const target = readlinkSync(found.file as string);
      if (target.startsWith('/')) done = [];
      pending = [...target.split('/').filter(Boolean), ...pending];
      continue;
    }
    done.push({ part, found, inside: above?.inside });
  }
  const { found, inside } = done.at(-1) ?? {};
  const { stat, file, merged = [] } = found ?? {};
  return { path: `/${done.map((step) => step.part).join('/')}`, stat, file, merged, inside };
}

function foundAt({ source, dirs }: Mounted): Found {
  const stat = source === undefined ? undefined : lstatSync(source, { throwIfNoEntry: false });
  return { stat, file: source, merged: dirs };
}

/** Whether what another layer, below all of these, has at `path` would show: nothing on the way is in front of it. */
export function showsFromBelow(layers: readonly string[], path: string): boolean {
  let merged = layers;
  for (const part of path.split('/').filter(Boolean)) {
    const files = merged.map((dir) => join(dir, part));
    const stats = files.map((file) => lstatSync(file, { throwIfNoEntry: false }));
    if (stats.some((stat) => stat !== undefined && !stat.isDirectory())) return false;
    merged = files.filter((_, index) => stats[index] !== undefined);
    if (merged.some(isOpaque)) return false;
  }
  return true;
}

/** Text of a file inside the root; undefined where there is none. */
export function readInRoot(
  layers: readonly string[],
  path: string,
  mounted: readonly Mounted[] = [],
): string | undefined {
  const resolved = resolveInRoot(layers, path, mounted);
  if (resolved?.file === undefined || !resolved.stat?.isFile()) return undefined;
  // Nobody waits at a pipe, nor follows a link, that came in between.
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const fd = openSync(resolved.file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    return fstatSync(fd).isFile() ? readFileSync(fd, 'utf8') : undefined;
  } finally {
    closeSync(fd);
  }
}
