/**
 * What a container changed: its upper layer beside the lower ones. The upper is walked by descriptors, since programs in the
 * container can put a symlink anywhere in it at any time; nobody writes into the lower ones.
 */
import { closeSync, constants, lstatSync, openSync, readdirSync, type Stats } from 'node:fs';
import { readXattr } from '../host/syscalls.ts';
import { pathAt, toBytes } from './tree.ts';

/** docker's letters: added, changed, deleted. */
export interface Change {
  readonly kind: 'A' | 'C' | 'D';
  /** A byte string (latin1), with a slash at its beginning. */
  readonly path: string;
}

const OPAQUE = 'trusted.overlay.opaque';

function isWhiteout(stat: Stats): boolean {
  return stat.isCharacterDevice() && stat.rdev === 0;
}

function isOpaque(path: Buffer): boolean {
  return readXattr(path, OPAQUE)?.toString() === 'y';
}

function childOf(directory: string, name: string): Buffer {
  return Buffer.from(`${directory}/${name}`, 'latin1');
}

/** Nothing where it went away meanwhile. */
function namesIn(path: string | Buffer): string[] {
  try {
    return readdirSync(path, { encoding: 'buffer' }).map((name) => name.toString('latin1'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return [];
  }
}

/** What is in one place of the lower layers. */
interface Below {
  readonly stat: Stats;
  /** The directories that are merged in it, the top one first; none unless it is one. */
  readonly merged: readonly string[];
}

function lookBelow(directories: readonly string[], name: string): Below | undefined {
  const merged: string[] = [];
  let top: Stats | undefined;
  for (const directory of directories) {
    const path = childOf(directory, name);
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined) continue;
    if (!stat.isDirectory()) {
      if (top === undefined && !isWhiteout(stat)) return { stat, merged };
      break;
    }
    top ??= stat;
    merged.push(path.toString('latin1'));
    if (isOpaque(path)) break;
  }
  return top && { stat: top, merged };
}

function namesBelow(directories: readonly string[]): string[] {
  const names = new Set(directories.flatMap((directory) => namesIn(Buffer.from(directory, 'latin1'))));
  return [...names].filter((name) => lookBelow(directories, name) !== undefined);
}

/** A copy in the upper layer alone is no change of a directory: what happens in it copies it, too. */
function differs(a: Stats, b: Stats): boolean {
  return a.mode !== b.mode || a.uid !== b.uid || a.gid !== b.gid;
}

/**
 * Adds the changes in a directory of the upper, `path`, with a slash at its end; `below` are its namesakes, of which
 * nothing shows through where it is `opaque`.
 */
function compare(upper: number, below: readonly string[], path: string, opaque: boolean, changes: Change[]): void {
  const names = namesIn(`/proc/self/fd/${upper}`);
  const there = new Set(names);
  const hidden = opaque ? namesBelow(below).filter((name) => !there.has(name)) : [];
  for (const name of hidden) changes.push({ kind: 'D', path: path + name });
  for (const name of names) {
    const at = pathAt(upper, name);
    const stat = lstatSync(at, { throwIfNoEntry: false });
    if (stat === undefined) continue;
    const old = lookBelow(below, name);
    if (isWhiteout(stat)) {
      if (old !== undefined) changes.push({ kind: 'D', path: path + name });
      continue;
    }
    const before = changes.length;
    if (stat.isDirectory()) {
      const directory = openDirectory(at);
      if (directory === undefined) continue;
      compare(directory, old?.merged ?? [], `${path}${name}/`, opaque || isOpaque(at), changes);
      closeSync(directory);
    }
    if (old === undefined) changes.push({ kind: 'A', path: path + name });
    else if (!stat.isDirectory() || changes.length > before || differs(stat, old.stat)) {
      changes.push({ kind: 'C', path: path + name });
    }
  }
}

/** Undefined where it is no directory any more. */
function openDirectory(path: Buffer): number | undefined {
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  try {
    return openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR', 'ELOOP'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    return undefined;
  }
}

/** All changes, by path. `lowers` has the top layer first. */
export function changesIn(upper: string, lowers: readonly string[]): Change[] {
  const changes: Change[] = [];
  const root = openDirectory(Buffer.from(upper));
  if (root === undefined) return changes;
  compare(root, lowers.map(toBytes), '/', false, changes);
  closeSync(root);
  // Bytes stand in a string one by one: its order is theirs.
  return changes.sort((a, b) => (a.path < b.path ? -1 : 1));
}
