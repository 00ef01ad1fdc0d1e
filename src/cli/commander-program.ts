/** The program as commander has it: for help, for what is wrong with a command line, and for lines that are not plain. */
import { Command, CommanderError, Option } from 'commander';
import packageJson from '../../package.json' with { type: 'json' };
import type { GlobalOptions } from '../lifecycle/context.ts';
import { commandAfterDashes } from './command-words.ts';
import { addExamples } from './examples.ts';
import { misuse } from './misuse.ts';
import { print } from './output.ts';
import { collect } from './plain-command.ts';
import type { VerbCommand } from './verb-command.ts';
import { addGlobalOptions, VERBS } from './verbs.ts';

export class CommanderCommand extends Command implements VerbCommand {
  /** Its operands are NAME and CMD. */
  takesCommand = false;
  /** Defines a verb of this group. */
  defineInner: ((verb: VerbCommand) => Promise<void>) | undefined;

  override createCommand(name?: string): CommanderCommand {
    return new CommanderCommand(name);
  }

  repeatable(flags: string, description: string): this {
    const option = new Option(flags, `${description} (repeatable)`).argParser(collect);
    // Without default(), which help would show.
    return this.addOption(option).setOptionValueWithSource(option.attributeName(), [], 'default');
  }

  choice(flags: string, description: string, choices: readonly string[], fallback?: string): this {
    const option = new Option(flags, description).choices(choices);
    return this.addOption(fallback === undefined ? option : option.default(fallback));
  }

  endOptionsAtCommand(): this {
    this.takesCommand = true;
    return this;
  }

  lazily(define: (verb: VerbCommand) => Promise<void>): this {
    this.defineInner = define;
    return this.hook('preSubcommand', (_, verb) => define(verb as CommanderCommand));
  }
}

/** Index of the verb: the first word that is no option nor an option's value. */
function verbIndex(words: readonly string[]): number {
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index] as string;
    if (word === '--root' || word === '--run-dir') index += 1;
    else if (!word.startsWith('-')) return index;
  }
  return words.length;
}

/** `help VERB…` is `VERB… --help`, and `GROUP help VERB` too; of what is no verb, the complaint says so. */
function withoutHelpVerb(words: readonly string[]): string[] {
  const at = verbIndex(words);
  const verb = words[at] ?? '';
  const group = Object.hasOwn(VERBS, verb) && VERBS[verb]?.isGroup && words[at + 1] === 'help';
  if (verb !== 'help' && !group) return [...words];
  const asked = words.slice(at).filter((word) => word !== 'help');
  const help = asked.length === 0 || Object.hasOwn(VERBS, asked[0] as string) ? ['--help'] : [];
  return [...words.slice(0, at), ...asked, ...help];
}

/** Of a verb that has verbs of its own beside its action: they would not see its options. */
function refuseEarlyOptions(verb: Command, inner: Command): void {
  const early = verb.options.find((option) => verb.getOptionValueSource(option.attributeName()) === 'cli');
  if (early !== undefined) verb.error(`error: ${early.long} has to stand after ${inner.name()}`);
}

/** Does what the words say, from after `minict` on. Throws what the verb throws, and InvalidInputError for wrong words. */
export async function parse(line: readonly string[]): Promise<void> {
  const words = withoutHelpVerb(line);
  const at = verbIndex(words);
  const wanted = words[at] ?? '';
  const known = Object.hasOwn(VERBS, wanted) ? VERBS[wanted] : undefined;
  const output = { writeOut: print, outputError: () => {} };
  const program = addGlobalOptions(new CommanderCommand('minict'))
    .description('Containers for Linux labs, made from what Linux already has')
    .version(packageJson.version, '-v, --version')
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput(output);
  // The other verbs are there for `--help` and for "unknown command" alone.
  const listed = known === undefined ? Object.entries(VERBS) : [[wanted, known] as const];
  for (const [name, verb] of listed) {
    if (verb.heading !== undefined) program.commandsGroup(verb.heading);
    const command = program.command(name).description(verb.summary).exitOverride().configureOutput(output);
    if (verb !== known) continue;
    (await verb.load()).define(command, () => program.opts<GlobalOptions>());
    addExamples(command, name);
    command.hook('preSubcommand', refuseEarlyOptions);
    if (command.takesCommand) words.splice(at + 1, words.length, ...commandAfterDashes(command, words.slice(at + 1)));
  }
  try {
    await program.parseAsync(words, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode !== 0) throw misuse(program, words, error);
  }
}
