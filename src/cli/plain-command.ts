/**
 * Reads command lines that are plain: each word is an option that is known, its value, or an operand, and none is missing or
 * too many. What is not plain is left to commander, which knows what to say of it. To load it, to build its commands and to
 * have it parse takes 2 ms of every verb, which is a tenth of a create.
 */
import type { Parse, VerbCommand } from './verb-command.ts';

interface PlainOption {
  readonly flags: string;
  readonly parse?: Parse | undefined;
  readonly choices?: readonly string[];
  readonly isMandatory?: boolean;
}

/** `-v, --volume <…>` has both, `-6` a letter alone. */
interface Names {
  readonly letter: string | undefined;
  readonly long: string | undefined;
  readonly takes: 'nothing' | 'a value' | 'maybe one';
}

/** `value` is undefined for an option that takes none. */
interface Given {
  readonly option: PlainOption;
  readonly names: Names;
  readonly value: string | undefined;
}

export interface PlainLine {
  readonly operands: readonly string[];
  readonly options: Readonly<Record<string, unknown>>;
}

type Run = () => void | Promise<void>;

function namesOf(flags: string): Names {
  const at = flags.indexOf('--');
  const end = flags.indexOf(' ', Math.max(at, 0));
  const value = end < 0 ? '' : flags[end + 1];
  return {
    letter: at === 0 ? undefined : flags[1],
    long: at < 0 ? undefined : flags.slice(at, end < 0 ? undefined : end),
    takes: value === '<' ? 'a value' : value === '[' ? 'maybe one' : 'nothing',
  };
}

/** `cpusetCpus` of `--cpuset-cpus`, `network` of `--no-network`. */
function attributeOf({ letter = '', long }: Names): string {
  if (long === undefined) return letter;
  let attribute = '';
  for (const word of long.slice(long.startsWith('--no-') ? 5 : 2).split('-')) {
    attribute += attribute === '' ? word : word.charAt(0).toUpperCase() + word.slice(1);
  }
  return attribute;
}

/** Of a repeatable option; `before` is false after its `--no-…`, which it takes back. */
export const collect = (value: string, before: readonly string[] | false): string[] => [...(before || []), value];

export class PlainCommand implements VerbCommand {
  private readonly known: PlainOption[] = [];
  private readonly defaults: Record<string, unknown> = {};
  private readonly operandNames: string[] = [];
  private readonly verbs: PlainCommand[] = [];
  private readonly verbNames: string[];
  private run: Parameters<VerbCommand['action']>[0] | undefined;
  private defineVerb: ((verb: VerbCommand) => Promise<void>) | undefined;
  /** So many operands, and with the next one options end. */
  private operandsAmongOptions = Number.POSITIVE_INFINITY;

  constructor(nameAndArguments = '') {
    const [name = '', ...operands] = nameAndArguments.split(' ');
    this.verbNames = [name];
    this.operandNames.push(...operands);
  }

  name(): string {
    return this.verbNames[0] as string;
  }

  description(): this {
    return this;
  }

  usage(): this {
    return this;
  }

  addHelpText(): this {
    return this;
  }

  optionsGroup(): this {
    return this;
  }

  argument(name: string): this {
    this.operandNames.push(name);
    return this;
  }

  option(flags: string, _description: string, parse?: Parse | string, fallback?: unknown): this {
    return typeof parse === 'function' ? this.add({ flags, parse }, fallback) : this.add({ flags }, parse);
  }

  requiredOption(flags: string): this {
    return this.add({ flags, isMandatory: true });
  }

  repeatable(flags: string): this {
    return this.add({ flags, parse: collect }, []);
  }

  choice(flags: string, _description: string, choices: readonly string[], fallback?: string): this {
    return this.add({ flags, choices }, fallback);
  }

  endOptionsAtCommand(): this {
    this.operandsAmongOptions = 1;
    return this;
  }

  passThroughOptions(): this {
    this.operandsAmongOptions = 0;
    return this;
  }

  action(run: Parameters<VerbCommand['action']>[0]): this {
    this.run = run;
    return this;
  }

  command(nameAndArguments: string): VerbCommand {
    const verb = new PlainCommand(nameAndArguments);
    this.verbs.push(verb);
    return verb;
  }

  alias(name: string): this {
    this.verbNames.push(name);
    return this;
  }

  lazily(define: (verb: VerbCommand) => Promise<void>): this {
    this.defineVerb = define;
    return this;
  }

  private add(option: PlainOption, fallback?: unknown): this {
    this.known.push(option);
    if (fallback !== undefined) this.defaults[attributeOf(namesOf(option.flags))] = fallback;
    else if (option.flags.includes('--no-')) this.defaults[attributeOf(namesOf(option.flags))] ??= true;
    return this;
  }

  /** What the words ask for, to be done; undefined where they are not plain. Throws what the parser of an option throws. */
  async read(words: readonly string[]): Promise<Run | undefined> {
    if (this.verbs.length > 0) {
      const [first = '-'] = words;
      const verb = this.verbs.find(({ verbNames }) => verbNames.includes(first));
      if (verb !== undefined) {
        await this.defineVerb?.(verb);
        return verb.read(words.slice(1));
      }
      if (first.startsWith('-')) return undefined;
    }
    const { run } = this;
    const line = run === undefined ? undefined : this.scan(words);
    if (run === undefined || line === undefined) return undefined;
    const operands = this.operandNames.map((name, at) =>
      name.endsWith('...>') || name.endsWith('...]') ? line.operands.slice(at) : line.operands[at],
    );
    return () => run(...operands, line.options);
  }

  /** Undefined where the words are not plain. Throws what the parser of an option throws. */
  scan(words: readonly string[]): PlainLine | undefined {
    const operands: string[] = [];
    const given: Given[] = [];
    for (let at = 0; at < words.length; ) {
      const word = words[at] as string;
      if (word === '--') {
        operands.push(...words.slice(at + 1));
        break;
      }
      if (word.startsWith('-') && word !== '-') {
        const taken = this.take(word, words[at + 1], given);
        if (taken === 0) return undefined;
        at += taken;
      } else if (operands.length === this.operandsAmongOptions) {
        operands.push(...words.slice(at));
        break;
      } else {
        operands.push(word);
        at += 1;
      }
    }
    return this.fits(operands) ? this.lineOf(operands, given) : undefined;
  }

  private fits(operands: readonly string[]): boolean {
    const wanted = this.operandNames.filter((name) => name.startsWith('<')).length;
    const last = this.operandNames.at(-1) ?? '';
    const isEndless = last.endsWith('...>') || last.endsWith('...]');
    return operands.length >= wanted && (isEndless || operands.length <= this.operandNames.length);
  }

  private lineOf(operands: readonly string[], given: readonly Given[]): PlainLine | undefined {
    if (this.known.some((option) => option.isMandatory && !given.some((one) => one.option === option)))
      return undefined;
    if (given.some(({ option, value = '' }) => option.choices?.includes(value) === false)) return undefined;
    const options = { ...this.defaults };
    for (const { option, names, value } of given) {
      const attribute = attributeOf(names);
      if (value === undefined) options[attribute] = !names.long?.startsWith('--no-');
      else options[attribute] = option.parse === undefined ? value : option.parse(value, options[attribute] as never);
    }
    return { operands, options };
  }

  /** Adds what stands in `word`, an option or several letters; how many words that takes, 0 where it is not plain. */
  private take(word: string, next: string | undefined, given: Given[]): 0 | 1 | 2 {
    if (word.startsWith('--')) {
      const equals = word.indexOf('=');
      const long = equals < 0 ? word : word.slice(0, equals);
      return this.takeOne((names) => names.long === long, equals < 0 ? undefined : word.slice(equals + 1), next, given);
    }
    for (let at = 1; at < word.length; at += 1) {
      const isIt = (names: Names) => names.letter === word[at];
      const takesNone = this.find(isIt)?.names.takes === 'nothing';
      const taken = this.takeOne(isIt, takesNone ? undefined : word.slice(at + 1) || undefined, next, given);
      if (!takesNone || taken === 0) return taken;
    }
    return 1;
  }

  private takeOne(
    isIt: (names: Names) => boolean,
    inWord: string | undefined,
    next: string | undefined,
    given: Given[],
  ): 0 | 1 | 2 {
    const found = this.find(isIt);
    if (found === undefined || found.names.takes === 'maybe one') return 0;
    const isValued = found.names.takes === 'a value';
    const value = isValued ? (inWord ?? next) : undefined;
    if (isValued ? value === undefined : inWord !== undefined) return 0;
    given.push({ ...found, value });
    return isValued && inWord === undefined ? 2 : 1;
  }

  private find(isIt: (names: Names) => boolean): { option: PlainOption; names: Names } | undefined {
    for (const option of this.known) {
      const names = namesOf(option.flags);
      if (isIt(names)) return { option, names };
    }
    return undefined;
  }
}
