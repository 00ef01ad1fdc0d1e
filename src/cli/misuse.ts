/** What is said of a wrong command line: commander's finding, as every other error of minict's, and a hint that helps. */
import type { Command, CommanderError } from 'commander';
import { InvalidInputError } from '../errors.ts';

/** What other tools call it. */
const OTHERS_WORDS: Readonly<Record<string, string>> = {
  build: 'image build',
  connect: 'network connect',
  delete: 'rm',
  disconnect: 'network disconnect',
  doctor: 'system doctor',
  history: 'image history',
  images: 'image ls',
  impair: 'net impair',
  import: 'image import',
  info: 'system doctor',
  list: 'ps -a',
  load: 'image load',
  ls: 'ps -a',
  netem: 'net impair',
  networks: 'network ls',
  prune: 'system prune',
  pull: 'image pull',
  push: 'image push',
  remove: 'rm',
  restore: 'snapshot rollback',
  rmi: 'image rm',
  rollback: 'snapshot rollback',
  save: 'image save',
  shell: 'exec -it NAME sh',
  tag: 'image tag',
  tap: 'network tap',
  tcpdump: 'capture',
  version: '--version',
  volumes: 'volume ls',
};

/** Verbs of a group. */
const OTHERS_VERBS: Readonly<Record<string, string>> = {
  'system df': 'image df',
  'system info': 'system doctor',
};

type Hints = Readonly<Record<string, (verb: string) => string>>;

const NO_DEVICES = () =>
  "leave it out: devices are the host's, but with --dev private, --profile hardened, or an OCI runtime";

/** What docker calls it, of create and run. */
const CREATE_HINTS: Hints = {
  '--cidfile': () => 'it is known by the name that you give it',
  '--device': NO_DEVICES,
  '--device-read-bps': () => '--io-read-bps',
  '--device-read-iops': () => '--io-read-iops',
  '--device-write-bps': () => '--io-write-bps',
  '--device-write-iops': () => '--io-write-iops',
  '--dns-opt': () => '--dns-option',
  '--expose': () => 'leave it out: its networks reach all ports; -p leads from the host to one',
  '--gpus': NO_DEVICES,
  '--ip6': () => '--ip takes both families',
  '--link': () =>
    'members of a network find each other by name: --network; for a cable --nic p2p:CONTAINER, or minict link',
  '--log-opt': () => '--log-max-size, --log-max-files',
  '--mount': () => '-v SRC:DST, --tmpfs DST',
  '--name': (verb) => `the name is an argument: minict ${verb} NAME`,
  '--net': () => '--network NETWORK, or --no-network',
  '--network-alias': () => 'members of a network find each other by the names of containers',
  '--platform': () => 'minict image pull SOURCE NAME, before',
  '--privileged': () => 'leave it out: the profile lab, the default, lets root do all',
  '--publish-all': () => '-p PORT for each of them',
  '-P': () => '-p PORT for each of them',
  '--pull': () => 'minict image pull SOURCE NAME, before',
  '--stop-timeout': () => 'minict stop -t SECONDS',
  '--uts': () => 'leave it out: each has its own',
  '--volumes-from': () => '-v NAME:DST, a named volume, for each of them',
};

const AS_JSON = (verb: string) => `it prints JSON: minict ${verb} NAME | jq …`;
const ALL = (verb: string) => `minict ps -aq | xargs -r minict ${verb}`;

const LIMITS_ALONE = () =>
  'limits alone change; with other settings minict commit NAME IMAGE, and a create of that image';

/** The same, of other verbs. */
const OPTION_HINTS: Readonly<Record<string, Hints>> = {
  create: CREATE_HINTS,
  run: CREATE_HINTS,
  exec: { '--privileged': () => 'leave it out: root may do all, where the profile is lab' },
  inspect: { '-f': AS_JSON, '--format': AS_JSON },
  'image inspect': { '-f': AS_JSON, '--format': AS_JSON },
  'network inspect': { '-f': AS_JSON, '--format': AS_JSON },
  'volume inspect': { '-f': AS_JSON, '--format': AS_JSON },
  'image build': {
    '-t': (verb) => `the name is an argument: minict ${verb} FOLDER NAME`,
    '--tag': (verb) => `the name is an argument: minict ${verb} FOLDER NAME`,
  },
  'network create': {
    '--ip-range': () => 'create --ip and --nic …,ip= choose an address',
    '--ipv6': () => '--subnet fd00:7::/64',
    '--opt': () => '-o KEY=VALUE',
    '--parent': () => '--uplink INTERFACE',
  },
  capture: {
    '-i': () => 'the interfaces are arguments: minict capture NAME:NIC -w FILE',
    '--interface': () => 'the interfaces are arguments: minict capture NAME:NIC -w FILE',
  },
  cp: {
    '-r': () => 'leave it out: what is in a folder is copied, too',
    '-R': () => 'leave it out: what is in a folder is copied, too',
  },
  ps: { '--no-trunc': () => 'leave it out: nothing is cut off' },
  rm: {
    '-a': ALL,
    '--all': ALL,
    '-rf': () => 'minict rm -f',
    '-fv': () => 'minict rm -f',
    '-v': () => 'leave it out: its own volumes go with it, named ones stay',
  },
  start: { '--all': ALL },
  update: {
    '--restart': LIMITS_ALONE,
    '--health-cmd': LIMITS_ALONE,
    '-e': LIMITS_ALONE,
    '-p': LIMITS_ALONE,
    '-v': LIMITS_ALONE,
  },
  stop: { '-a': ALL, '--all': ALL },
  restart: { '-a': ALL, '--all': ALL },
};

/** Where a word is missing, of verbs whose help is no quick answer. */
const MISSING_HINTS: Readonly<Record<string, string>> = {
  exec: 'a shell: minict exec -it NAME sh',
  link: 'minict link A:eth1 B:eth1; minict link ls',
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
  const path = verb.join(' ');
  const inGroup = [...verb, word].join(' ');
  if (error.code === 'commander.unknownCommand' && Object.hasOwn(OTHERS_VERBS, inGroup)) {
    return `minict ${OTHERS_VERBS[inGroup]}`;
  }
  if (error.code === 'commander.missingArgument' && Object.hasOwn(MISSING_HINTS, path)) {
    return `${MISSING_HINTS[path]}; ${help}`;
  }
  if (error.code === 'commander.unknownOption' && verb.length > 0) {
    if (program.options.some(({ long }) => long === word))
      return `it stands before the verb: minict ${word} ${verb[0]} …`;
    const [option = ''] = word.split('=');
    const hints = Object.hasOwn(OPTION_HINTS, path) ? OPTION_HINTS[path] : undefined;
    if (hints !== undefined && Object.hasOwn(hints, option)) return (hints[option] as (verb: string) => string)(path);
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
