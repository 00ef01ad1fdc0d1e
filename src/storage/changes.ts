/**
 * How the files of one stack of layers differ from another's. Only layers that the two do not share are walked. One that is
 * written to meanwhile is held by descriptors: a program in the container can put a symlink anywhere in it at any time.
 */
import { closeSync, constants, lstatSync, openSync, readdirSync, type Stats } from 'node:fs';
import { isOpaque } from '../host/syscalls.ts';
import { toBytes } from './tree.ts';

/** docker's letters: added, changed, deleted. */
export interface Change {
  readonly kind: 'A' | 'C' | 'D';
  /** A byte string (latin1), with a slash at its beginning. */
  readonly path: string;
}

/** Directories that are merged into one, the top one first; byte strings, as all paths here. */
type Stack = readonly string[];

/** What is in one place. */
export interface Found {
  readonly stat: Stats;
  /** The file that shows. */
  readonly file: string;
  /** What is merged in a directory. */
  readonly merged: Stack;
}

function bytes(path: string): Buffer {
  return Buffer.from(path, 'latin1');
}

const DESCRIPTOR = '/proc/self/fd/';

/** The layers of a comparison, and the descriptors that stand for directories of a live one. */
class Layers {
  private readonly opened: number[] = [];

  /** Undefined where it is no directory, or not one any more. */
  open(directory: string): string | undefined {
    try {
      const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
      const descriptor = openSync(bytes(directory), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      this.opened.push(descriptor);
      return `${DESCRIPTOR}${descriptor}`;
    } catch (error) {
      if (!['ENOENT', 'ENOTDIR', 'ELOOP'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
      return undefined;
    }
  }

  /** Closes what was opened since there were so many. */
  close(since = 0): void {
    for (const descriptor of this.opened.splice(since)) closeSync(descriptor);
  }

  get count(): number {
    return this.opened.length;
  }

  find(stack: Stack, name: string): Found | undefined {
    const merged: string[] = [];
    let top: Omit<Found, 'merged'> | undefined;
    for (const directory of stack) {
      const file = `${directory}/${name}`;
      const stat = lstatSync(bytes(file), { throwIfNoEntry: false });
      if (stat === undefined) continue;
      if (!stat.isDirectory()) {
        const isWhiteout = stat.isCharacterDevice() && stat.rdev === 0;
        if (top === undefined && !isWhiteout) return { stat, file, merged };
        break;
      }
      const inside = directory.startsWith(DESCRIPTOR) ? this.open(file) : file;
      if (inside === undefined) continue;
      top ??= { stat, file };
      merged.push(inside);
      if (isOpaque(bytes(file))) break;
    }
    return top && { ...top, merged };
  }
}

function namesIn(stack: Stack): string[] {
  return stack.flatMap((directory) => {
    try {
      return readdirSync(bytes(directory), { encoding: 'buffer' }).map((name) => name.toString('latin1'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      return [];
    }
  });
}

/** Those layers of each that are not below in both. */
function apart(now: Stack, before: Stack): string[] {
  let shared = 0;
  while (shared < Math.min(now.length, before.length) && now.at(-1 - shared) === before.at(-1 - shared)) shared += 1;
  return [...now.slice(0, now.length - shared), ...before.slice(0, before.length - shared)];
}

/** A copy in an upper layer alone is no change of a directory: what happens in it copies it, too. */
function differs(a: Stats, b: Stats): boolean {
  return a.mode !== b.mode || a.uid !== b.uid || a.gid !== b.gid;
}

/** What may be the very same although it is not in the same layer: quicker than to read both, and as rsync(1) does it. */
function looksAlike(a: Stats, b: Stats): boolean {
  return a.isFile() && b.isFile() && !differs(a, b) && a.size === b.size && a.mtimeMs === b.mtimeMs;
}

/** How files are told apart. */
export interface Criteria {
  /** Whether two that have the same owner and mode are the same file or directory, without what is in that. */
  readonly isSame: (is: Found, was: Found, path: string) => boolean;
  /** Whether what is new at a path counts; of a directory with nothing in it that does. */
  readonly counts: (path: string, is: Found) => boolean;
}

/** In layers, a file that was not written to is the very same, or looks so. */
const LAYERED: Criteria = {
  isSame: (is, was) =>
    is.file === was.file || (is.stat.isDirectory() && was.stat.isDirectory()) || looksAlike(is.stat, was.stat),
  counts: () => true,
};

interface Comparison {
  readonly layers: Layers;
  readonly criteria: Criteria;
  readonly changes: Change[];
}

/** Adds the changes in a directory, `path` with a slash at its end. */
function compare(comparison: Comparison, now: Stack, before: Stack, path: string): void {
  const { layers, criteria, changes } = comparison;
  for (const name of new Set(namesIn(apart(now, before)))) {
    const opened = layers.count;
    const [is, was] = [layers.find(now, name), layers.find(before, name)];
    const already = changes.length;
    if (is?.stat.isDirectory()) compare(comparison, is.merged, was?.merged ?? [], `${path}${name}/`);
    const add = (kind: Change['kind']) => changes.push({ kind, path: path + name });
    const hasChanges = changes.length > already;
    if (is === undefined) was && add('D');
    else if (was === undefined) (hasChanges || criteria.counts(path + name, is)) && add('A');
    else if (hasChanges || differs(is.stat, was.stat) || !criteria.isSame(is, was, path + name)) add('C');
    layers.close(opened);
  }
}

/**
 * What became of `before`. Both have their top layer first; `live`, where there is one, is on top of `now`. By path.
 */
export function changesBetween(
  live: string | undefined,
  now: Stack,
  before: Stack,
  criteria: Criteria = LAYERED,
): Change[] {
  const layers = new Layers();
  const changes: Change[] = [];
  try {
    const top = live === undefined ? undefined : layers.open(toBytes(live));
    const all = [...(top === undefined ? [] : [top]), ...now.map(toBytes)];
    compare({ layers, criteria, changes }, all, before.map(toBytes), '/');
  } finally {
    layers.close();
  }
  // A byte is a character in them: their order is that of the names.
  return changes.sort((a, b) => (a.path < b.path ? -1 : 1));
}
