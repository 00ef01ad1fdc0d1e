/** A container's log as it is read: over all of its files, from some line or time on, and on as it grows. */
import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { ContainerPaths } from '../state/paths.ts';

export interface LogQuery {
  /** Only so many lines at the end of what there is. */
  readonly tail?: number | undefined;
  /** Of lines with a time: not before, and not after. */
  readonly sinceMs?: number | undefined;
  readonly untilMs?: number | undefined;
  /** Lines keep their times. */
  readonly timestamps?: boolean | undefined;
  /** Goes on until this comes true; what is there by then is read. */
  readonly isOver?: (() => boolean) | undefined;
}

const POLL_MS = 100;
const BLOCK_BYTES = 64 * 1024;
const NEWLINE = 10;

/** `log.2`, `log.1`, `log`: oldest first. */
function plainFiles(log: string): string[] {
  const prefix = `${basename(log)}.`;
  const older = (existsSync(dirname(log)) ? readdirSync(dirname(log)) : [])
    .filter((name) => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length)))
    .sort((a, b) => Number(b.slice(prefix.length)) - Number(a.slice(prefix.length)));
  return [...older.map((name) => join(dirname(log), name)), log].filter((path) => existsSync(path));
}

/** svlogd's: old ones are `@` and a time that sorts as text does, and `current` is written. */
function stampedFiles(folder: string): string[] {
  const names = existsSync(folder) ? readdirSync(folder) : [];
  const older = names.filter((name) => name.startsWith('@')).sort();
  return [...older, ...names.filter((name) => name === 'current')].map((name) => join(folder, name));
}

interface LogFile {
  readonly path: string;
  readonly inode: number;
}

/** Oldest first. */
function filesOf(paths: ContainerPaths, isStamped: boolean): LogFile[] {
  const all = isStamped ? stampedFiles(paths.stampedLog) : plainFiles(paths.log);
  return all.flatMap((path) => {
    const inode = statSync(path, { throwIfNoEntry: false })?.ino;
    return inode === undefined ? [] : { path, inode };
  });
}

/** Undefined where another one has its name by now. */
function open({ path, inode }: LogFile): number | undefined {
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

/** `2026-01-31_12:00:00.12345 text`, in UTC: what svlogd -tt puts before each line. */
function parseStamp(line: Buffer): { ms: number; stamp: string; text: Buffer } | undefined {
  const [all = '', date = '', time = ''] =
    /^(\d{4}-\d\d-\d\d)_(\d\d:\d\d:\d\d\.\d{5}) /.exec(line.toString('latin1', 0, 27)) ?? [];
  if (all === '') return undefined;
  const stamp = `${date}T${time}Z`;
  return { ms: Date.parse(stamp), stamp, text: line.subarray(all.length) };
}

/** The supervisor's mark (process/log-writer.ts): the program ended here, in the middle of a line or behind one. */
const END_MARK = Buffer.from('\x04\n');

/** What of a line with its newline is shown; undefined for one that is left out. */
function shown(line: Buffer, { sinceMs, untilMs, timestamps }: LogQuery): Buffer | undefined {
  const parsed = parseStamp(line);
  if (parsed === undefined) return line;
  const { ms, stamp, text } = parsed;
  if (sinceMs !== undefined && ms < sinceMs) return undefined;
  if (untilMs !== undefined && ms > untilMs) return undefined;
  if (text.equals(END_MARK)) return undefined;
  const isCut = text.subarray(-END_MARK.length).equals(END_MARK);
  const whole = isCut ? text.subarray(0, -END_MARK.length) : text;
  return timestamps ? Buffer.concat([Buffer.from(`${stamp} `), whole, Buffer.from(isCut ? '\n' : '')]) : whole;
}

/** Hands over whole lines; a last one without an end when there is no more. */
class Lines {
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
  private offset = 0;

  constructor(fd: number) {
    this.fd = fd;
    this.inode = fstatSync(fd).ino;
  }

  read(take: (bytes: Buffer) => void): void {
    for (;;) {
      const block = Buffer.alloc(BLOCK_BYTES);
      const size = readSync(this.fd, block, 0, block.length, this.offset);
      if (size === 0) return;
      this.offset += size;
      take(block.subarray(0, size));
    }
  }

  /** Goes to where the last `lines` lines begin. Returns how many of them begin before; nothing comes behind the newest one. */
  seekTail(lines: number, isNewest: boolean): number {
    const { size } = fstatSync(this.fd);
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
function openFirst(list: () => LogFile[], tail: number | undefined): Reader | undefined {
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
function openNext(files: readonly LogFile[], reader: Reader | undefined): Reader | undefined {
  const next = files[files.findIndex(({ inode }) => inode === reader?.inode) + 1];
  const fd = next === undefined ? undefined : open(next);
  return fd === undefined ? undefined : new Reader(fd);
}

/** Writes what the query asks for. */
export async function readLog(
  paths: ContainerPaths,
  isStamped: boolean,
  query: LogQuery,
  write: (bytes: Buffer) => void,
): Promise<void> {
  const list = () => filesOf(paths, isStamped);
  const { tail, isOver = () => true } = query;
  // Of lines that are shown; elsewhere the file is entered where they begin.
  let held: Buffer[] | undefined = isStamped && tail !== undefined ? [] : undefined;
  const lines = new Lines((line) => {
    const text = shown(line, query);
    if (text === undefined) return;
    if (held === undefined) return write(text);
    held.push(text);
    if (held.length > (tail ?? 0)) held.shift();
  });
  const endTail = () => {
    for (const text of held ?? []) write(text);
    held = undefined;
  };
  const take = (bytes: Buffer) => (isStamped ? lines.add(bytes) : write(bytes));
  let reader = openFirst(list, isStamped ? undefined : tail);
  try {
    for (;;) {
      const over = isOver();
      reader?.read(take);
      const next = openNext(list(), reader);
      if (next === undefined) {
        endTail();
        if (over) break;
        await Bun.sleep(POLL_MS);
        continue;
      }
      // What came between its end and its rename.
      reader?.read(take);
      if (reader !== undefined) closeSync(reader.fd);
      reader = next;
    }
    lines.end();
  } finally {
    if (reader !== undefined) closeSync(reader.fd);
  }
}
