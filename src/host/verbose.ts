/** What `--verbose` says: each host command as it runs, in a form that a shell takes. */
import { writeSync } from 'node:fs';
import { shellLine } from '../spec/shell-words.ts';

/** To stderr, before the command's own words. */
export function sayCommand(argv: readonly string[], stdin?: string): void {
  writeSync(2, `+ ${shellLine(argv)}${stdin === undefined ? '' : ` <<'EOF'\n${stdin}EOF`}\n`);
}
