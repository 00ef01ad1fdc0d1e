/**
 * How a tree differs from the layers that it was made of. Nothing marks what was written to: attributes are compared, and
 * where they are the same the content too, since a program can set a file's time back.
 */
import { closeSync, constants, lstatSync, openSync, readlinkSync, readSync } from 'node:fs';
import { dirname } from 'node:path';
import { listXattrs, readXattr } from '../host/syscalls.ts';
import { type Change, type Criteria, changesBetween, type Found } from './changes.ts';

function bytes({ file }: Found): Buffer {
  return Buffer.from(file, 'latin1');
}

/** Without overlayfs's own, which are of a layer. */
function xattrsOf(found: Found): string {
  const names = listXattrs(bytes(found)).filter((name) => !name.startsWith('trusted.overlay.'));
  return names
    .sort()
    .map((name) => `${name}=${readXattr(bytes(found), name)?.toString('hex')}`)
    .join(' ');
}

const PIECE_BYTES = 1 << 20;

function hasSameContent(a: Found, b: Found): boolean {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const opened: number[] = [];
  try {
    for (const found of [a, b]) opened.push(openSync(bytes(found), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    const pieces = opened.map(() => Buffer.alloc(Math.min(PIECE_BYTES, a.stat.size)));
    for (let rest = a.stat.size; rest > 0; ) {
      const [one = Buffer.alloc(0), other = Buffer.alloc(0)] = opened.map((fd, index) => {
        const piece = pieces[index] as Buffer;
        return piece.subarray(0, readSync(fd, piece, 0, piece.length, null));
      });
      if (!one.equals(other)) return false;
      // Shorter by now.
      if (one.length === 0) return true;
      rest -= one.length;
    }
    return true;
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

/** Of two that have the same mode, and so are of one kind. */
function isSame(is: Found, was: Found): boolean {
  if (xattrsOf(is) !== xattrsOf(was)) return false;
  if (is.stat.isDirectory()) return true;
  if (is.stat.mtimeMs !== was.stat.mtimeMs || is.stat.rdev !== was.stat.rdev || is.stat.size !== was.stat.size)
    return false;
  if (is.stat.isSymbolicLink()) return readlinkSync(bytes(is), 'latin1') === readlinkSync(bytes(was), 'latin1');
  return !is.stat.isFile() || hasSameContent(is, was);
}

/** Minict's own mount points, paths inside; they do not count while nothing is in them. */
export type MountPoints = ReadonlySet<string>;

function criteriaOf(mountPoints: MountPoints): Criteria {
  return { isSame, counts: (path, { stat }) => !(mountPoints.has(path) && (stat.isDirectory() || stat.size === 0)) };
}

/** What became of `layers` in `tree`. */
export function changesOfTree(tree: string, layers: readonly string[], mountPoints: MountPoints): Change[] {
  return changesBetween(tree, [], layers, criteriaOf(mountPoints));
}

/** What a layer has to have; byte strings, relative to the tree. */
export interface Difference {
  readonly paths: string[];
  readonly gone: string[];
}

/**
 * What makes `tree` of `layers`: changes, directories of another time, and the other names of a file of which one has
 * changed, with the directories that they are in.
 */
export function differenceOf(tree: string, layers: readonly string[], mountPoints: MountPoints): Difference {
  const names = new Map<number, string[]>();
  const criteria: Criteria = {
    ...criteriaOf(mountPoints),
    isSame: (is, was, path) => {
      if (!isSame(is, was) || (is.stat.isDirectory() && is.stat.mtimeMs !== was.stat.mtimeMs)) return false;
      const { ino, nlink } = is.stat;
      if (nlink > 1 && !is.stat.isDirectory()) names.set(ino, [...(names.get(ino) ?? []), path]);
      return true;
    },
  };
  const changes = changesBetween(tree, [], layers, criteria);
  const paths = new Set<string>();
  for (const { kind, path } of changes) {
    if (kind === 'D') continue;
    paths.add(path);
    const stat = lstatSync(Buffer.concat([Buffer.from(tree), Buffer.from(path, 'latin1')]));
    for (const name of stat.nlink > 1 ? (names.get(stat.ino) ?? []) : []) {
      for (let at = name; at !== '/'; at = dirname(at)) paths.add(at);
    }
  }
  const gone = changes.filter(({ kind }) => kind === 'D').map(({ path }) => path.slice(1));
  return { paths: ['.', ...[...paths].sort().map((path) => path.slice(1))], gone };
}
