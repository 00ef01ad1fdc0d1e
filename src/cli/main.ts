/**
 * The entry's first decision. `exec NAME CMD…`, the most frequent of all, has nothing to parse: whatever follows NAME is the
 * program's. It is done here at once, without commander (4 ms of its 14); everything else is a command line for program.ts.
 */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { execProgram } from '../lifecycle/exec.ts';
import { reportError } from './report.ts';

export async function main(argv: string[]): Promise<void> {
  // What it makes is for a container's users, too; its own folders have modes of their own.
  process.umask(0o022);
  const [verb, name, ...program] = argv.slice(2);
  if (verb !== 'exec' || name === undefined || name.startsWith('-') || program.length === 0) {
    await (await import('./program.ts')).run(argv.slice(2));
    return;
  }
  try {
    requireRoot('exec');
    await execProgram(contextFrom({}), name, program, {});
  } catch (error) {
    process.exitCode = reportError(error);
  }
}
