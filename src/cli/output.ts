/** Results go to stdout, by write(2): touching process.stdout costs 1 ms. */
import { writeSync } from 'node:fs';
import { InvalidInputError } from '../errors.ts';

/** Writes all of `text`; a closed pipe (`| head`) ends it quietly, a full one is waited for. */
export function print(text: string): void {
  let rest = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE') return;
      if (code !== 'EAGAIN') throw error;
      Bun.sleepSync(1);
    }
  }
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
