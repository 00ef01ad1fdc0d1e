/**
 * Resolves a path inside a root file system, without ever leaving it: images contain symlinks that point at the host.
 * Reads only. `layers` are searched from the top, as overlayfs would (a 0:0 character device is a whiteout).
 */
import { lstatSync, readlinkSync, type Stats } from 'node:fs';
import { join } from 'node:path';

const MAX_LINKS = 40;

function lookup(layers: readonly string[], path: string): { stat: Stats; layer: string } | undefined {
  for (const layer of layers) {
    const stat = lstatSync(join(layer, path), { throwIfNoEntry: false });
    if (stat === undefined) continue;
    return stat.isCharacterDevice() && stat.rdev === 0 ? undefined : { stat, layer };
  }
  return undefined;
}

/** Path inside the root (`/run/resolv.conf`) that `path` leads to, and what is there; undefined for a loop. */
export function resolveInRoot(
  layers: readonly string[],
  path: string,
): { path: string; stat: Stats | undefined } | undefined {
  let pending = path.split('/').filter(Boolean);
  let done: string[] = [];
  let stat: Stats | undefined;
  for (let links = 0; pending.length > 0; ) {
    const part = pending.shift() as string;
    if (part === '.') continue;
    if (part === '..') {
      done.pop();
      continue;
    }
    const here = [...done, part];
    // lstat of `a/b` follows a symlink in `a`, but every part of `done` was seen to be none in its topmost layer.
    const found = lookup(layers, here.join('/'));
    stat = found?.stat;
    if (found?.stat.isSymbolicLink()) {
      links += 1;
      if (links > MAX_LINKS) return undefined;
      const target = readlinkSync(join(found.layer, here.join('/')));
      if (target.startsWith('/')) done = [];
      pending = [...target.split('/').filter(Boolean), ...pending];
      continue;
    }
    done = here;
  }
  return { path: `/${done.join('/')}`, stat };
}
