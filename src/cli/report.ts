/** How errors are printed, and verbs that take several names. */
import { InterruptedError, MinictError } from '../errors.ts';
import type { ForeignDrop } from '../host/firewall/drops.ts';
import { print, printError } from './output.ts';

/** Names and paths from outside go into messages: nothing in them may end the line, or reach the terminal as a command. */
export function oneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** A system call that failed says what on, and why; anything else that is not minict's own is a fault of its code. */
function messageOf(error: unknown): string {
  if (error instanceof MinictError) return error.message;
  const { code, message, syscall, path } = error as Partial<NodeJS.ErrnoException>;
  if (code === 'E2BIG') return `cannot run ${path ?? 'a program'}: its words and environment are too long`;
  if (syscall === undefined) return `internal error: ${message ?? String(error)}`;
  // Node's own form: `CODE: reason, syscall 'path'`.
  return `cannot ${syscall}${path === undefined ? '' : ` ${path}`}: ${message?.replace(/, \w+( '.*')?$/s, '')}`;
}

/** Of execve(2), and of how minict hands a program over to crun and runc (process/oci.ts). */
const TOO_LONG =
  'at most 128 KiB are a word or a variable, a quarter of `ulimit -s` all of them; with the runtimes crun and runc 128 KiB are all of them';

/** A disk's state is the user's to mend, at whichever step it shows. */
function hintOf(error: unknown, message: string): string | undefined {
  if (error instanceof MinictError && error.hint !== undefined) return error.hint;
  if ((error as NodeJS.ErrnoException).code === 'E2BIG') return TOO_LONG;
  if (/ENOSPC|EDQUOT|no space left on device/i.test(message)) return 'a disk is full: df -h';
  if (/EROFS|read-only file system/i.test(message)) return 'a file system is mounted read-only: findmnt -O ro';
  return undefined;
}

/** Prints an error (stderr) and returns its exit status. */
export function reportError(error: unknown, debug = false): number {
  const message = messageOf(error);
  const hint = hintOf(error, message);
  printError(`minict: ${oneLine(message)}\n`);
  if (error instanceof MinictError) printDetails(error);
  if (hint !== undefined) printError(`hint: ${oneLine(hint)}\n`);
  if (debug && error instanceof Error) printError(`${error.stack}\n`);
  return error instanceof MinictError ? error.exitCode : 125;
}

/** What a long verb is at. */
export function printProgress(line: string): void {
  printError(`${oneLine(line)}\n`);
}

/** What works, but not as its user may expect. */
export function reportWarning(message: string, hint: string): void {
  printError(`minict: warning: ${message}\nhint: ${hint}\n`);
}

const STOPPED: Readonly<Record<ForeignDrop['path'], string>> = {
  bridged: 'containers',
  routed: 'what containers send elsewhere',
  published: 'what comes to published ports',
};

/** Rules of others that stop containers. */
export function reportDrops(drops: readonly ForeignDrop[]): void {
  const seen = new Set<string>();
  for (const { path, rule, fix } of drops) {
    // One command lets both directions through.
    if (seen.has(fix)) continue;
    seen.add(fix);
    reportWarning(`the host's firewall stops ${STOPPED[path]}: ${rule}`, fix);
  }
}

/** What came out other than it was. */
export function reportNote(text: string): void {
  printError(`minict: ${oneLine(text)}\n`);
}

/** A failure that does not stop the verb. */
export function reportFailure(failure: MinictError): void {
  printError(`minict: warning: ${oneLine(failure.message)}\n`);
  printDetails(failure);
}

function printDetails({ details }: MinictError): void {
  for (const line of details?.split('\n').filter(Boolean) ?? []) printError(`  ${oneLine(line)}\n`);
}

/** Prints what `action` gives for each name, goes on after a failure; exit status is the worst. Throws InterruptedError. */
export async function eachName(names: readonly string[], action: (name: string) => Promise<string>): Promise<void> {
  for (const name of names) {
    try {
      print(`${await action(name)}\n`);
    } catch (error) {
      if (error instanceof InterruptedError) throw error;
      process.exitCode = Math.max(Number(process.exitCode ?? 0), reportError(error));
    }
  }
}
