/** Commands of commander that are quick to define: create has eighty options, and is given one or two. */
import { Command, Option } from 'commander';

type Parse<T> = (value: string, before: T) => T;

/** `-v, --volume <…>` has both, `-6` a letter alone. */
interface Names {
  readonly letter: string | undefined;
  readonly long: string | undefined;
}

function namesOf(flags: string): Names {
  const at = flags.indexOf('--');
  const end = flags.indexOf(' ', at);
  return {
    letter: at === 0 ? undefined : flags[1],
    long: at < 0 ? undefined : flags.slice(at, end < 0 ? undefined : end),
  };
}

/** Whether a word may be the option, alone, with its value, or among other letters. */
function isNamed({ letter, long }: Names, words: readonly string[]): boolean {
  const isIt = (word: string) => long !== undefined && (word === long || word.startsWith(`${long}=`));
  const hasLetter = (word: string) => letter !== undefined && word.includes(letter);
  return words.some((word) => isIt(word) || hasLetter(word));
}

/** `cpusetCpus` of `--cpuset-cpus`. */
function attributeOf(long: string): string {
  return long.slice(2).replace(/-./g, (dash) => dash.charAt(1).toUpperCase());
}

export class VerbCommand extends Command {
  private readonly words: readonly string[] | undefined;

  /**
   * `words` are the command line's. Of its options the command, and its subcommands, know those that are named there, and the
   * defaults of the others; without `words`, as help and complaints want it, all.
   */
  constructor(name?: string, words?: readonly string[]) {
    super(name);
    this.words = words?.filter((word) => word.startsWith('-'));
  }

  override createCommand(name?: string): VerbCommand {
    return new VerbCommand(name, this.words);
  }

  override option<T>(flags: string, description?: string, parse?: unknown, fallback?: T): this {
    const value = typeof parse === 'function' ? fallback : parse;
    return this.isUnnamed(flags, value)
      ? this
      : super.option(flags, description ?? '', parse as Parse<T>, fallback as T);
  }

  override addOption(option: Option): this {
    // Commander looks for what is mandatory among those it knows.
    if (!option.mandatory && this.isUnnamed(option.flags, option.defaultValue)) return this;
    return super.addOption(option);
  }

  /** One that may be given several times. */
  repeatable(flags: string, description: string): this {
    if (this.isUnnamed(flags, [])) return this;
    const collect = (value: string, before: readonly string[]) => [...before, value];
    return super.addOption(new Option(flags, `${description} (repeatable)`).argParser(collect).default([], 'none'));
  }

  /** One whose value is one of a few. */
  choice(flags: string, description: string, choices: readonly string[], fallback?: string): this {
    if (this.isUnnamed(flags, fallback)) return this;
    const option = new Option(flags, description).choices(choices);
    return super.addOption(fallback === undefined ? option : option.default(fallback));
  }

  /** Whether the command line does not name it: then its default is all that there is to know. */
  private isUnnamed(flags: string, fallback: unknown): boolean {
    if (this.words === undefined) return false;
    const names = namesOf(flags);
    if (isNamed(names, this.words)) return false;
    if (fallback === undefined) return !names.long?.startsWith('--no-');
    // Without a long name, and of a `--no-…`, commander knows what the value is called, and is by default.
    if (names.long === undefined || names.long.startsWith('--no-')) return false;
    this.setOptionValueWithSource(attributeOf(names.long), fallback, 'default');
    return true;
  }
}
