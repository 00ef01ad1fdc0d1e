/**
 * Resolves a path inside a root file system, without ever leaving it: images contain symlinks that point at the host.
 * Reads only. `layers` are searched from the top, as overlayfs does.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { type Found, lookUp } from '../host/layered.ts';

const MAX_LINKS = 40;

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
  let done: { part: string; found: Found }[] = [];
  for (let links = 0; pending.length > 0; ) {
    const part = pending.shift() as string;
    if (part === '.') continue;
    if (part === '..') {
      done.pop();
      continue;
    }
    const here = [...done.map((step) => step.part), part].join('/');
    // lstat of `a/b` would follow a link in `a`: it is asked only of layers in which `a` is a directory.
    const found = lookUp(done.length === 0 ? layers : (done.at(-1)?.found.merged ?? []), here);
    if (found.layer !== undefined && found.stat?.isSymbolicLink()) {
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
  const parts = path.split('/').filter(Boolean);
  let merged = layers;
  for (let end = 1; end <= parts.length; end += 1) {
    const here = parts.slice(0, end).join('/');
    const found = lookUp(merged, here);
    if (found.isClosed) return false;
    merged = found.merged;
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
