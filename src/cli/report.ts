/** How errors are printed, and verbs that take several names. */
import { MinictError } from '../errors.ts';
import { print } from './output.ts';

/** Names and paths from outside go into messages: nothing in them may end the line, or reach the terminal as a command. */
function oneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** Prints an error (stderr) and returns its exit status. */
export function reportError(error: unknown, debug = false): number {
  const known = error instanceof MinictError;
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`minict: ${known ? '' : 'internal error: '}${oneLine(message)}\n`);
  if (known && error.hint !== undefined) process.stderr.write(`hint: ${oneLine(error.hint)}\n`);
  if (debug && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return known ? error.exitCode : 125;
}

/** What works, but not as its user may expect. */
export function reportWarning(message: string, hint: string): void {
  process.stderr.write(`minict: warning: ${message}\nhint: ${hint}\n`);
}

/** Does `action` for each name, goes on after a failure, prints the names that worked; exit status is the worst. */
export async function eachName(names: readonly string[], action: (name: string) => Promise<void>): Promise<void> {
  for (const name of names) {
    try {
      await action(name);
      print(`${name}\n`);
    } catch (error) {
      process.exitCode = Math.max(Number(process.exitCode ?? 0), reportError(error));
    }
  }
}
