/** How results and errors are printed. */
import { MinictError } from '../errors.ts';

/** Prints an error (stderr) and returns its exit status. */
export function reportError(error: unknown, debug = false): number {
  const known = error instanceof MinictError;
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`minict: ${known ? '' : 'internal error: '}${message}\n`);
  if (known && error.hint !== undefined) process.stderr.write(`hint: ${error.hint}\n`);
  if (debug && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return known ? error.exitCode : 125;
}

/** Does `action` for each name, goes on after a failure, prints the names that worked; exit status is the worst. */
export async function eachName(names: readonly string[], action: (name: string) => Promise<void>): Promise<void> {
  for (const name of names) {
    try {
      await action(name);
      process.stdout.write(`${name}\n`);
    } catch (error) {
      process.exitCode = Math.max(Number(process.exitCode ?? 0), reportError(error));
    }
  }
}

/** Columns of a table, padded; no colour, so that scripts and people see the same. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}
