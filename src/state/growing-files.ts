/** Files of which one is written and then renamed, read as one, to the end and on as they grow. */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';

const POLL_MS = 100;
const BLOCK_BYTES = 64 * 1024;
const NEWLINE = 10;

/** Takes what was read; returns whether more is wanted. */
type Take = (bytes: Buffer) => boolean;

interface GrowingFile {
  readonly path: string;
  readonly inode: number;
}

function look(paths: readonly string[]): GrowingFile[] {
  return paths.flatMap((path) => {
    const stat = statSync(path, { throwIfNoEntry: false });
    // A FIFO that somebody put there would keep who opens it.
    return stat?.isFile() ? { path, inode: stat.ino } : [];
  });
}

/** Undefined where another one has its name by now. */
function open({ path, inode }: GrowingFile): number | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  if (fstatSync(fd).ino === inode) return fd;
  closeSync(fd);
  return undefined;
}

/** Hands over whole lines; a last one without an end when there is no more. */
export class Lines {
  private rest: Buffer = Buffer.alloc(0);
  private readonly take: (line: Buffer) => void;

  constructor(take: (line: Buffer) => void) {
    this.take = take;
  }

  add(bytes: Buffer): void {
    const all = this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes]);
    let from = 0;
    for (let end = all.indexOf(NEWLINE); end >= 0; end = all.indexOf(NEWLINE, from)) {
      this.take(all.subarray(from, end + 1));
      from = end + 1;
    }
    this.rest = Buffer.from(all.subarray(from));
  }

  end(): void {
    if (this.rest.length > 0) this.take(this.rest);
  }
}

/** A file's bytes from some place on. Held open it is the same file, whatever is renamed or removed, and its inode is nobody else's. */
class Reader {
  readonly inode: number;
  /** Where it ended when it was opened, or `measure`d again. */
  end: number;
  private readonly fd: number;
  private offset = 0;

  constructor(fd: number) {
    this.fd = fd;
    const { ino, size } = fstatSync(fd);
    this.inode = ino;
    this.end = size;
  }

  /** Returns whether more is wanted. */
  read(take: Take, end = Number.POSITIVE_INFINITY): boolean {
    for (;;) {
      const block = Buffer.alloc(BLOCK_BYTES);
      const size = readSync(this.fd, block, 0, Math.min(block.length, Math.max(0, end - this.offset)), this.offset);
      if (size === 0) return true;
      this.offset += size;
      if (!take(block.subarray(0, size))) return false;
    }
  }

  /** Of what was there when it was opened, the last first, each with where it begins. */
  *blocksFromEnd(): Iterable<{ start: number; block: Buffer }> {
    for (let end = this.end, start: number; end > 0; end = start) {
      start = Math.max(0, end - BLOCK_BYTES);
      const block = Buffer.alloc(end - start);
      readSync(this.fd, block, 0, block.length, start);
      yield { start, block };
    }
  }

  measure(): void {
    this.end = fstatSync(this.fd).size;
  }

  seek(offset: number): void {
    this.offset = offset;
  }

  /** Goes to where another one of the same file is; to the beginning, where that was cut off meanwhile. */
  seekTo(other: Reader): void {
    this.offset = other.offset <= this.end ? other.offset : 0;
  }

  close(): void {
    closeSync(this.fd);
  }
}

/** All that is there at one moment, oldest first. */
function openAll(list: () => readonly string[]): Reader[] {
  for (;;) {
    const files = look(list());
    const readers: Reader[] = [];
    for (const file of files) {
      const fd = open(file);
      if (fd === undefined) break;
      readers.push(new Reader(fd));
    }
    if (readers.length === files.length && Bun.deepEquals(look(list()), files)) return readers;
    // Renamed while it was looked at, maybe to a name that was not listed: again.
    for (const reader of readers) reader.close();
  }
}

/** Closes those that are not wanted, and returns the others: from the one at `index` on. */
function from(readers: readonly Reader[], index: number): Reader[] {
  for (const reader of readers.slice(0, index)) reader.close();
  return readers.slice(index);
}

/** From where the last of those lines begin that count. */
function fromTail(readers: readonly Reader[], { lines, counts = () => true }: Tail): Reader[] {
  if (lines === 0) {
    const last = from(readers, readers.length - 1);
    for (const reader of last) reader.seek(reader.end);
    return last;
  }
  let left = lines;
  /** Of what begins behind the next newline, the last first. */
  let pieces: Buffer[] = [];
  for (const [index, reader] of [...readers.entries()].reverse()) {
    for (const { start, block } of reader.blocksFromEnd()) {
      let end = block.length;
      for (let at = block.lastIndexOf(NEWLINE); at >= 0; at = at === 0 ? -1 : block.lastIndexOf(NEWLINE, at - 1)) {
        if (at + 1 < end) pieces.push(block.subarray(at + 1, end));
        if (pieces.length > 0 && counts(Buffer.concat(pieces.reverse()))) left -= 1;
        if (left === 0) {
          reader.seek(start + at + 1);
          return from(readers, index);
        }
        pieces = [];
        end = at + 1;
      }
      if (end > 0) pieces.push(block.subarray(0, end));
    }
  }
  return [...readers];
}

/** From where `last` ended; all behind the rest of it, where that was removed meanwhile. */
function fromEndOf(readers: readonly Reader[], last: Reader): Reader[] {
  const index = readers.findIndex(({ inode }) => inode === last.inode);
  if (index < 0) {
    last.measure();
    return [last, ...readers];
  }
  readers[index]?.seekTo(last);
  last.close();
  return from(readers, index);
}

export interface Tail {
  /** So many before the end. */
  readonly lines: number;
  /** Whether a line, with its newline, is one of them; without it, all are. */
  readonly counts?: (line: Buffer) => boolean;
}

export interface Reading {
  readonly tail?: Tail | undefined;
  /** It goes on until this comes true; what is there by then is read. */
  readonly isOver: () => boolean;
}

/** Hands over their bytes; `list` has the paths, oldest first. */
export async function readGrowing(list: () => readonly string[], { tail, isOver }: Reading, take: Take): Promise<void> {
  let isLast = isOver();
  let readers = openAll(list);
  try {
    if (tail !== undefined) readers = fromTail(readers, tail);
    for (;;) {
      const newest = readers.at(-1);
      for (const reader of readers) {
        // What comes while the last of it is read is not asked for, and could come without an end.
        if (!reader.read(take, isLast && reader === newest ? reader.end : undefined)) return;
      }
      if (isLast) return;
      if (readers.length <= 1) await Bun.sleep(POLL_MS);
      isLast = isOver();
      readers = from(readers, readers.length - 1);
      readers = newest === undefined ? openAll(list) : fromEndOf(openAll(list), newest);
    }
  } finally {
    for (const reader of readers) reader.close();
  }
}
