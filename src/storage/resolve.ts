/**
 * Resolves a path inside a root file system, without ever leaving it: images contain symlinks that point at the host.
 * Reads only. `layers` are searched from the top, as overlayfs does; what is mounted in the root is in front of them.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { lookUp, type Memory } from '../host/layered.ts';
import type { Mounted } from '../spec/place.ts';

const MAX_LINKS = 40;

interface Found {
  /** Absent where nothing is there, or nothing is known of a mount but that it is there. */
  readonly stat: Stats | undefined;
  /** The file itself, on the host. */
  readonly file: string | undefined;
  /** Directories whose entries it has, the top one first; none unless it is one. */
  readonly merged: readonly string[];
}

/** What is called `part` in a directory, by the directories that this is merged of. */
function entryOf(dirs: readonly string[], part: string, memory: Memory | undefined): Found {
  const { stat, layer, merged } = lookUp(dirs, part, memory);
  const at = (dir: string) => join(dir, part);
  return { stat, file: layer === undefined ? undefined : at(layer), merged: merged.map(at) };
}

function foundAt({ source, dirs }: Mounted): Found {
  const stat = source === undefined ? undefined : lstatSync(source, { throwIfNoEntry: false });
  return { stat, file: source, merged: dirs };
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
  memory?: Memory,
): Resolved | undefined {
  let pending = path.split('/').filter(Boolean);
  let done: { part: string; found: Found; inside: Mounted | undefined }[] = [];
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
    const found = entryOf(above === undefined ? layers : above.found.merged, part, memory);
    if (found.file !== undefined && found.stat?.isSymbolicLink()) {
      links += 1;
      if (links > MAX_LINKS) return undefined;
      const target = readlinkSync(found.file);
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

/** Whether what another layer, below all of these, has at `path` would show: nothing on the way is in front of it. */
export function showsFromBelow(layers: readonly string[], path: string, memory?: Memory): boolean {
  const parts = path.split('/').filter(Boolean);
  let merged = layers;
  for (let end = 1; end <= parts.length; end += 1) {
    const here = parts.slice(0, end).join('/');
    const found = lookUp(merged, here, memory);
    if (found.isClosed) return false;
    merged = found.merged;
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
