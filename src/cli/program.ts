/** From a command line to a verb's action. Like main.ts it loads nothing that imports node:fs. */
import packageJson from '../../package.json' with { type: 'json' };
import type { GlobalOptions } from '../lifecycle/context.ts';
import { PlainCommand } from './plain-command.ts';
import { addGlobalOptions, VERBS } from './verbs.ts';

/** Does what `words` say, from after `minict` on; errors are printed, and set the exit status. */
export async function run(words: readonly string[]): Promise<void> {
  if (words.length === 1 && ['-v', '--version'].includes(words[0] as string)) return sayVersion();
  const program = addGlobalOptions(new PlainCommand('minict <verb> [words...]')).passThroughOptions();
  const line = program.scan(words);
  const [name = '', ...rest] = line?.operands ?? [];
  // After `--` a verb has no options either: commander knows.
  const endsOptions = words[words.length - rest.length - 2] === '--';
  const verb = !endsOptions && Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
  const globals = (line?.options ?? {}) as GlobalOptions & { readonly debug?: boolean };
  try {
    if (verb !== undefined) {
      const command = new PlainCommand(name);
      (await verb.load()).define(command, () => globals);
      const action = await command.read(rest);
      if (action !== undefined) return await action();
    }
    await (await import('./commander-program.ts')).parse(words);
  } catch (error) {
    process.exitCode = (await import('./report.ts')).reportError(error, globals.debug);
  }
}

/** Without output.ts, which loads node:fs. A reader that is gone is no error. */
async function sayVersion(): Promise<void> {
  try {
    await Bun.write(Bun.stdout, `${packageJson.version}\n`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EPIPE') return;
    process.exitCode = (await import('./report.ts')).reportError(error);
  }
}
