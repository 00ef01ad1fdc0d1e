/**
 * The entry's first decision. `exec NAME CMD…`, the most frequent of all, has nothing to parse: whatever follows NAME is the
 * program's. It is done here at once; everything else is a command line for program.ts.
 */
import { execProgram } from '../lifecycle/exec.ts';
import { rootsFrom } from '../state/paths.ts';
import { run } from './program.ts';

export async function main(words: readonly string[]): Promise<void> {
  // What it makes is for a container's users, too; its own folders have modes of their own.
  process.umask(0o022);
  const [verb, name, ...program] = words;
  const isPlain = verb === 'exec' && name !== undefined && !name.startsWith('-') && program.length > 0;
  if (!isPlain || process.getuid?.() !== 0) {
    await run(words);
    return;
  }
  try {
    await execProgram({ roots: rootsFrom({}, process.env), verbose: false }, name, program, {});
  } catch (error) {
    process.exitCode = (await import('./report.ts')).reportError(error);
  }
}
