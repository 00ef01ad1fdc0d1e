/** Files of which one is written and then renamed, read as one, to the end and on as they grow. */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';

const POLL_MS = 100;
const BLOCK_BYTES = 64 * 1024;
const NEWLINE = 10;

interface GrowingFile {
  readonly path: string;
  readonly inode: number;
}

function look(paths: readonly string[]): GrowingFile[] {
  return paths.flatMap((path) => {
    const inode = statSync(path, { throwIfNoEntry: false })?.ino;
    return inode === undefined ? [] : { path, inode };
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

/** A file's bytes from some place on, to the end of what is there; the file stays the same while it is renamed. */
class Reader {
  readonly fd: number;
  readonly inode: number;
  /** Where it ended when it was opened. */
  readonly end: number;
  private offset = 0;

  constructor(fd: number) {
    this.fd = fd;
    const { ino, size } = fstatSync(fd);
    this.inode = ino;
    this.end = size;
  }

  read(take: (bytes: Buffer) => void, end = Number.POSITIVE_INFINITY): void {
    for (;;) {
      const block = Buffer.alloc(BLOCK_BYTES);
      const size = readSync(this.fd, block, 0, Math.min(block.length, end - this.offset), this.offset);
      if (size === 0) return;
      this.offset += size;
      take(block.subarray(0, size));
    }
  }

  /** Goes to where the last `lines` lines begin. Returns how many of them begin before; nothing comes behind the newest one. */
  seekTail(lines: number, isNewest: boolean): number {
    const size = this.end;
    const block = Buffer.alloc(BLOCK_BYTES);
    let left = lines;
    this.offset = size;
    for (let end = size; end > 0 && left > 0; end = this.offset) {
      this.offset = Math.max(0, end - BLOCK_BYTES);
      readSync(this.fd, block, 0, end - this.offset, this.offset);
      for (let at = end - this.offset - 1; at >= 0; at -= 1) {
        const isEnd = isNewest && this.offset + at === size - 1;
        if (block[at] !== NEWLINE || isEnd) continue;
        left -= 1;
        if (left > 0) continue;
        this.offset += at + 1;
        return 0;
      }
    }
    return left;
  }

  get isEmpty(): boolean {
    return fstatSync(this.fd).size === 0;
  }
}

/** Undefined where there is none yet. */
function openFirst(list: () => GrowingFile[], tail: number | undefined): Reader | undefined {
  for (;;) {
    const files = list();
    const wanted = tail === undefined ? files.slice(0, 1) : [...files].reverse();
    let left = tail;
    let reader: Reader | undefined;
    let isNewest = true;
    for (const file of wanted) {
      const fd = open(file);
      if (fd === undefined) break;
      if (reader !== undefined) closeSync(reader.fd);
      reader = new Reader(fd);
      if (left === undefined) continue;
      left = reader.seekTail(left, isNewest);
      if (left === 0) return reader;
      isNewest &&= reader.isEmpty;
    }
    // Renamed while it was looked at: again.
    if (reader?.inode === wanted.at(-1)?.inode) return reader;
    if (reader !== undefined) closeSync(reader.fd);
  }
}

/** The file after the one that is read, or the oldest where that was removed meanwhile. */
function openNext(files: readonly GrowingFile[], reader: Reader | undefined): Reader | undefined {
  const next = files[files.findIndex(({ inode }) => inode === reader?.inode) + 1];
  const fd = next === undefined ? undefined : open(next);
  return fd === undefined ? undefined : new Reader(fd);
}

export interface Reading {
  /** Begins so many lines before the end. */
  readonly tail?: number | undefined;
  /** It goes on until this comes true; what is there by then is read. */
  readonly isOver: () => boolean;
  /** Called where there is no more for now. */
  readonly onEnd?: () => void;
}

/** Hands over their bytes; `list` has the paths, oldest first. */
export async function readGrowing(
  list: () => readonly string[],
  { tail, isOver, onEnd = () => {} }: Reading,
  take: (bytes: Buffer) => void,
): Promise<void> {
  // What comes while it is read is not asked for, and could come without an end.
  const last = isOver() ? look(list()).at(-1)?.inode : undefined;
  let reader = openFirst(() => look(list()), tail);
  try {
    for (;;) {
      const over = isOver();
      if (reader !== undefined && reader.inode === last) {
        reader.read(take, reader.end);
        return onEnd();
      }
      reader?.read(take);
      const next = openNext(look(list()), reader);
      if (next === undefined) {
        onEnd();
        if (over) return;
        await Bun.sleep(POLL_MS);
        continue;
      }
      // What came between its end and its rename.
      reader?.read(take);
      if (reader !== undefined) closeSync(reader.fd);
      reader = next;
    }
  } finally {
    if (reader !== undefined) closeSync(reader.fd);
  }
}
