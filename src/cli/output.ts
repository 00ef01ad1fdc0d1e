/** Results go to stdout and complaints to stderr, by write(2): touching process.stdout or process.stderr costs 1 to 3 ms. */
import { writeSync } from 'node:fs';
import { InvalidInputError } from '../errors.ts';

/** Writes all of it; a full pipe is waited for. False where it is closed (`| head`), which ends it quietly. */
export function print(text: string | Buffer): boolean {
  return writeAll(1, text);
}

/** To stderr. Where that takes nothing there is nobody to be told. */
export function printError(text: string): void {
  try {
    writeAll(2, text);
  } catch {
    // What the caller is at goes on.
  }
}

function writeAll(fd: number, text: string | Buffer): boolean {
  let rest = typeof text === 'string' ? Buffer.from(text) : text;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE') return false;
      if (code !== 'EAGAIN') throw error;
      Bun.sleepSync(1);
    }
  }
  return true;
}

/** Columns of a table, padded; no colour, so that scripts and people see the same. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd();
  return rows.map((row) => `${line(row)}\n`).join('');
}

/** What `--format` takes. Throws InvalidInputError. */
export function requireFormat(format: string): void {
  if (!['table', 'json'].includes(format)) throw new InvalidInputError(`cannot use --format ${format}: table or json`);
}
