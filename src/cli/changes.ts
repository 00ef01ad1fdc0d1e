/** How differences of files are shown: docker's letters, a line each. */
import type { Change } from '../storage/changes.ts';
import { print } from './output.ts';
import { oneLine } from './report.ts';

export function printChanges(changes: readonly Change[], format: string): void {
  const shown = changes.map(({ kind, path }) => ({ kind, path: Buffer.from(path, 'latin1').toString() }));
  if (format === 'json') print(`${JSON.stringify(shown)}\n`);
  else print(shown.map(({ kind, path }) => `${kind} ${oneLine(path)}\n`).join(''));
}
