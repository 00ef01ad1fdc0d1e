/** A container's log as it is read: over all of its files, from some line or time on, and on as it grows. */
import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { Lines, readGrowing } from '../state/growing-files.ts';
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
  // The rest of a long one whose beginning went with an older file: nobody knows its time.
  if (parsed === undefined) return sinceMs === undefined && untilMs === undefined ? line : undefined;
  const { ms, stamp, text } = parsed;
  if (sinceMs !== undefined && ms < sinceMs) return undefined;
  if (untilMs !== undefined && ms > untilMs) return undefined;
  if (text.equals(END_MARK)) return undefined;
  const isCut = text.subarray(-END_MARK.length).equals(END_MARK);
  const whole = isCut ? text.subarray(0, -END_MARK.length) : text;
  return timestamps ? Buffer.concat([Buffer.from(`${stamp} `), whole, Buffer.from(isCut ? '\n' : '')]) : whole;
}

/** Hands over what the query asks for; `write` returns whether more is wanted. */
export async function readLog(
  paths: ContainerPaths,
  isStamped: boolean,
  query: LogQuery,
  write: (bytes: Buffer) => boolean,
): Promise<void> {
  const { tail, isOver = () => true } = query;
  const lastLines = tail === undefined ? undefined : { lines: tail };
  if (!isStamped) return readGrowing(() => plainFiles(paths.log), { tail: lastLines, isOver }, write);
  let texts: Buffer[] = [];
  const lines = new Lines((line) => {
    const text = shown(line, query);
    if (text !== undefined) texts.push(text);
  });
  const flush = () => {
    const whole = Buffer.concat(texts);
    texts = [];
    return write(whole);
  };
  const counts = (line: Buffer) => shown(line, query) !== undefined;
  await readGrowing(
    () => stampedFiles(paths.stampedLog),
    { tail: lastLines && { ...lastLines, counts }, isOver },
    (bytes) => {
      lines.add(bytes);
      return flush();
    },
  );
  lines.end();
  flush();
}
