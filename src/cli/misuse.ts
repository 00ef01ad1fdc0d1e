/** What is said of a wrong command line: commander's finding, as every other error of minict's, and a hint that helps. */
import type { Command, CommanderError } from 'commander';
import { InvalidInputError } from '../errors.ts';

/** What other tools call it. */
const OTHERS_WORDS: Readonly<Record<string, string>> = {
  build: 'image build',
  delete: 'rm',
  doctor: 'system doctor',
  history: 'image history',
  images: 'image ls',
  import: 'image import',
  info: 'system doctor',
  list: 'ps -a',
  load: 'image import',
  ls: 'ps -a',
  netem: 'net impair',
  prune: 'system prune',
  pull: 'image pull',
  push: 'image push',
  remove: 'rm',
  rmi: 'image rm',
  save: 'image save',
  shell: 'exec -it NAME sh',
  tag: 'image tag',
  tcpdump: 'capture',
  version: '--version',
};

/** What docker calls it, of create and run. */
const OTHERS_OPTIONS: Readonly<Record<string, (verb: string) => string>> = {
  '--device-read-bps': () => '--io-read-bps',
  '--device-read-iops': () => '--io-read-iops',
  '--device-write-bps': () => '--io-write-bps',
  '--device-write-iops': () => '--io-write-iops',
  '--log-opt': () => '--log-max-size, --log-max-files',
  '--mount': () => '-v SRC:DST, --tmpfs DST',
  '--name': (verb) => `the name is an argument: minict ${verb} NAME`,
  '--privileged': () => 'leave it out: the profile lab, the default, lets root do all',
};

/** The verb that the command line got to, with that of a group: `image import`. */
function verbOf(program: Command, words: readonly string[]): string[] {
  const group = program.commands.find((command) => words.includes(command.name()));
  if (group === undefined) return [];
  const rest = words.slice(words.indexOf(group.name()) + 1);
  const verb = group.commands.find((command) => rest[0] === command.name());
  return verb === undefined ? [group.name()] : [group.name(), verb.name()];
}

function hintOf(program: Command, verb: readonly string[], error: CommanderError): string {
  const [cause = '', suggestion] = error.message.split('\n');
  const help = ['minict', ...verb, '--help'].join(' ');
  const word = /'([^' ]+)/.exec(cause)?.[1] ?? '';
  const others = verb.length === 0 && Object.hasOwn(OTHERS_WORDS, word) ? OTHERS_WORDS[word] : undefined;
  if (error.code === 'commander.unknownCommand' && others !== undefined) return `minict ${others}`;
  if (error.code === 'commander.unknownOption' && verb.length > 0) {
    if (program.options.some(({ long }) => long === word))
      return `it stands before the verb: minict ${word} ${verb[0]} …`;
    const [option = ''] = word.split('=');
    if (['create', 'run'].includes(verb[0] as string) && Object.hasOwn(OTHERS_OPTIONS, option)) {
      return (OTHERS_OPTIONS[option] as (verb: string) => string)(verb[0] as string);
    }
  }
  return suggestion === undefined ? help : `${suggestion.replace(/^\((.*)\)$/, '$1')} ${help}`;
}

/** `words` are the command line's, known verbs among them defined in `program`. */
export function misuse(program: Command, words: readonly string[], error: CommanderError): InvalidInputError {
  const verb = verbOf(program, words);
  const cause = error.message.replace(/^error: /, '').split('\n')[0] ?? '';
  const what = error.code === 'commander.help' ? 'no command given' : cause.replace(/\.$/, '');
  return new InvalidInputError(`cannot ${verb.join(' ') || 'run minict'}: ${what}`, {
    hint: hintOf(program, verb, error),
  });
}
