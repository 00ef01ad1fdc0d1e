/**
 * The verbs, as a commander program. They load in a few chunks behind literal import()s, since each chunk of the executable
 * costs its loader 0.1 ms and more (one chunk a verb, and those they shared: 1.4 ms).
 */
import { CommanderError } from 'commander';
import packageJson from '../../package.json' with { type: 'json' };
import type { GlobalOptions } from '../lifecycle/context.ts';
import { endOptionsAtCommand } from './command-words.ts';
import { print } from './output.ts';
import { reportError } from './report.ts';
import { VerbCommand } from './verb-command.ts';

/** `words` are the command line's, from the verb on; empty where help wants all that there is. */
export type Define = (command: VerbCommand, globals: () => GlobalOptions, words: readonly string[]) => void;

interface Verb {
  readonly summary: string;
  readonly load: () => Promise<{ define: Define }>;
  /** Its operands are NAME and CMD. */
  readonly takesCommand?: true;
  /** It has verbs of its own, whose options commander's `help` would not know before they are asked for. */
  readonly isGroup?: true;
}

const files = () => {
  compile();
  return import('./file-verbs.ts');
};
const lifecycle = () => import('./lifecycle-verbs.ts');
const network = () => import('./net-verbs.ts');
const processes = () => import('./process-verbs.ts');
const others = () => import('./other-verbs.ts');

/** For verbs that go through many files; the others are over before the JIT compiler, which bin/build.ts puts off, would pay. */
function compile(): void {
  Bun.unsafe.setJITPolicy(1);
}

const VERBS: Readonly<Record<string, Verb>> = {
  create: { summary: 'make a container', load: async () => (await lifecycle()).create, takesCommand: true },
  run: { summary: 'create, start and attach', load: async () => (await lifecycle()).run, takesCommand: true },
  exec: { summary: 'run a program in a container', load: async () => (await lifecycle()).exec },
  start: {
    summary: 'bring up what is missing, start services or the main command',
    load: async () => (await lifecycle()).start,
  },
  stop: { summary: 'end the processes and take the container down', load: async () => (await lifecycle()).stop },
  restart: { summary: 'stop and start', load: async () => (await lifecycle()).restart },
  update: { summary: 'change the limits of containers, live', load: async () => (await processes()).update },
  rm: { summary: 'remove containers', load: async () => (await lifecycle()).rm },
  stats: { summary: 'what containers use: CPU, memory, network, disks', load: async () => (await processes()).stats },
  top: { summary: 'the processes of a container', load: async () => (await processes()).top },
  ps: { summary: 'list containers', load: async () => (await others()).ps },
  inspect: { summary: 'all that is known of a container, as JSON', load: async () => (await others()).inspect },
  port: { summary: 'the ports of the host that lead into a container', load: async () => (await others()).port },
  logs: {
    summary: 'what services, and a main command without a caller, wrote',
    load: async () => (await others()).logs,
  },
  check: { summary: 'try the ways out of a container', load: async () => (await processes()).check },
  attach: { summary: 'follow the main command to its end', load: async () => (await processes()).attach },
  events: { summary: 'what happens to containers and networks', load: async () => (await processes()).events },
  kill: { summary: 'send a signal to the main command', load: async () => (await processes()).kill },
  pause: { summary: 'hold the processes still', load: async () => (await processes()).pause },
  unpause: { summary: 'let the processes go on', load: async () => (await processes()).unpause },
  rename: { summary: 'give a stopped container another name', load: async () => (await processes()).rename },
  wait: { summary: 'wait for the main command and print its exit status', load: async () => (await others()).wait },
  cp: { summary: 'copy files into a container, or out of it', load: async () => (await files()).cp },
  diff: { summary: 'what a container changed of its image', load: async () => (await files()).diff },
  export: { summary: "a container's root file system as a tar", load: async () => (await files()).exportRoot },
  network: {
    summary: 'networks: create, ls, connect, disconnect, rm, …',
    load: () => import('./network.ts'),
    isGroup: true,
  },
  link: { summary: 'cables between containers; down, up, rm', load: async () => (await others()).link },
  why: {
    summary: 'walk the path from a container to a service, and name what stops it',
    load: async () => (await others()).why,
  },
  volume: { summary: 'volumes: ls, create, rm, inspect, prune', load: async () => (await others()).volume },
  commit: { summary: 'make an image of a container', load: async () => (await files()).commit },
  snapshot: {
    summary: "a container's files at some time: create, ls, rollback, rm",
    load: async () => (await files()).snapshot,
  },
  clone: { summary: 'another container with the same files and settings', load: async () => (await files()).clone },
  rebase: { summary: 'another image under a container', load: async () => (await files()).rebase },
  'save-container': {
    summary: 'all of a container as one tar, for another host',
    load: async () => (await files()).saveContainer,
  },
  'load-container': {
    summary: 'a container that save-container saved',
    load: async () => (await files()).loadContainer,
  },
  capture: { summary: 'packets of several NICs, in one pcapng', load: async () => (await network()).capture },
  net: { summary: "a container's network: impair, snapshot, diff, rollback", load: async () => (await network()).net },
  image: {
    summary: 'images: import, build, pull, push, ls, rm, …',
    load: async () => {
      compile();
      return (await others()).image;
    },
  },
  system: { summary: 'the host: doctor, prune, units of systemd', load: async () => (await others()).system },
};

/** Index of the verb: the first word that is no option nor an option's value. */
function verbIndex(argv: readonly string[]): number {
  for (let index = 2; index < argv.length; index += 1) {
    const word = argv[index] as string;
    if (word === '--root' || word === '--run-dir') index += 1;
    else if (!word.startsWith('-')) return index;
  }
  return argv.length;
}

/** `help VERB…` is `VERB… --help`, and `GROUP help VERB` too; of what is no verb, the complaint says so. */
function withoutHelpVerb(argv: readonly string[]): string[] {
  const at = verbIndex(argv);
  const verb = argv[at] ?? '';
  const group = Object.hasOwn(VERBS, verb) && VERBS[verb]?.isGroup && argv[at + 1] === 'help';
  if (verb !== 'help' && !group) return [...argv];
  const asked = argv.slice(at).filter((word) => word !== 'help');
  const help = asked.length === 0 || Object.hasOwn(VERBS, asked[0] as string) ? ['--help'] : [];
  return [...argv.slice(0, at), ...asked, ...help];
}

/** The program, with the verb that is asked for, and the words with `--` before what is CMD's. */
async function programFor(
  words: readonly string[],
  hasAll: boolean,
): Promise<{ program: VerbCommand; argv: string[] }> {
  const argv = [...words];
  const at = verbIndex(argv);
  const wanted = argv[at] ?? '';
  const known = Object.hasOwn(VERBS, wanted) ? VERBS[wanted] : undefined;
  // The help that stands in for a verb that is missing comes once.
  const output = { writeOut: print, outputError: () => {}, ...(hasAll ? {} : { writeErr: () => {} }) };
  const program = new VerbCommand('minict', hasAll ? undefined : words)
    .description('Containers for Linux labs, made from what Linux already has')
    .version(packageJson.version, '-v, --version')
    .option('--root <dir>', 'state folder (MINICT_ROOT, /var/lib/minict)')
    .option('--run-dir <dir>', 'folder of what a reboot forgets (MINICT_RUN_DIR, /run/minict)')
    .option('--verbose', 'print each host command as it runs')
    .option('--debug', 'print stacks of errors')
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput(output);
  // The other verbs are there for `--help` and for "unknown command" alone.
  const listed = known === undefined ? Object.entries(VERBS) : [[wanted, known] as const];
  for (const [name, verb] of listed) {
    const command = program.command(name).description(verb.summary).exitOverride().configureOutput(output);
    if (verb !== known) continue;
    (await verb.load()).define(command, () => program.opts(), hasAll ? [] : argv.slice(at + 1));
    if (verb.takesCommand) argv.splice(at + 1, argv.length, ...endOptionsAtCommand(command, argv.slice(at + 1)));
  }
  return { program, argv };
}

/** Parses a whole command line and does what it says; errors are printed, and set the exit status. */
export async function run(words: string[]): Promise<void> {
  const asked = withoutHelpVerb(words);
  const debug = asked.includes('--debug');
  const wantsHelp = asked.includes('--help') || asked.includes('-h');
  // What is wrong with a command line is found before anything is done: then once more, for the complaint.
  for (const hasAll of wantsHelp ? [true] : [false, true]) {
    const { program, argv } = await programFor(asked, hasAll);
    try {
      await program.parseAsync(argv);
      return;
    } catch (error) {
      if (!(error instanceof CommanderError)) {
        process.exitCode = reportError(error, debug);
        return;
      }
      if (error.exitCode === 0) return;
      if (!hasAll) continue;
      const { misuse } = await import('./misuse.ts');
      process.exitCode = reportError(misuse(program, argv.slice(2), error), debug);
    }
  }
}
