/**
 * The verbs. Each is a module of its own behind a literal import(), so that one verb loads only its own code; the
 * table names what `--help` shows without loading any.
 */
import { Command, CommanderError } from 'commander';
import packageJson from '../../package.json' with { type: 'json' };
import type { GlobalOptions } from '../lifecycle/context.ts';
import { print } from './output.ts';
import { reportError } from './report.ts';

export type Define = (command: Command, globals: () => GlobalOptions) => void;

interface Verb {
  readonly summary: string;
  readonly load: () => Promise<{ define: Define }>;
}

const VERBS: Readonly<Record<string, Verb>> = {
  create: { summary: 'make a container', load: () => import('./create.ts') },
  run: { summary: 'create, start and attach', load: () => import('./run.ts') },
  exec: { summary: 'run a program in a container', load: () => import('./exec.ts') },
  start: { summary: 'bring up what is missing, start services or the main command', load: () => import('./start.ts') },
  stop: { summary: 'end the processes and take the container down', load: () => import('./stop.ts') },
  restart: { summary: 'stop and start', load: () => import('./restart.ts') },
  rm: { summary: 'remove containers', load: () => import('./rm.ts') },
  ps: { summary: 'list containers', load: () => import('./ps.ts') },
  inspect: { summary: 'all that is known of a container, as JSON', load: () => import('./inspect.ts') },
  logs: { summary: "output of a container's main command", load: () => import('./logs.ts') },
  wait: { summary: 'wait for the main command and print its exit status', load: () => import('./wait.ts') },
  image: { summary: 'images: import, build, ls, rm', load: () => import('./image.ts') },
  system: { summary: 'the host: doctor, prune', load: () => import('./system.ts') },
};

/** Index of the verb: the first word that is no option nor an option's value. */
function verbOf(argv: readonly string[]): string | undefined {
  for (let index = 2; index < argv.length; index += 1) {
    const word = argv[index] as string;
    if (word === '--root' || word === '--run-dir') index += 1;
    else if (!word.startsWith('-')) return word;
  }
  return undefined;
}

export async function main(argv: string[]): Promise<void> {
  const debug = argv.slice(2).includes('--debug');
  try {
    const program = new Command('minict');
    program
      .description('Containers for Linux labs, made from what Linux already has')
      .version(packageJson.version, '--version')
      .option('--root <dir>', 'state folder (MINICT_ROOT, /var/lib/minict)')
      .option('--run-dir <dir>', 'folder of what a reboot forgets (MINICT_RUN_DIR, /run/minict)')
      .option('--verbose', 'print each host command as it runs')
      .option('--debug', 'print stacks of errors')
      .enablePositionalOptions()
      .exitOverride()
      .configureOutput({ writeOut: print, outputError: () => {} });
    const wanted = verbOf(argv) ?? '';
    const known = VERBS[wanted];
    // The other verbs are there for `--help` and for "unknown command" alone.
    const listed = known === undefined ? Object.entries(VERBS) : [[wanted, known] as const];
    for (const [name, verb] of listed) {
      const command = program
        .command(name)
        .description(verb.summary)
        .exitOverride()
        .configureOutput({ writeOut: print, outputError: () => {} });
      if (verb === known) (await verb.load()).define(command, () => program.opts());
    }
    await program.parseAsync(argv);
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return;
      const help = error.code === 'commander.help';
      process.stderr.write(
        `minict: ${help ? 'no command given' : error.message.replace(/^error: /, '')}\nhint: minict --help\n`,
      );
      process.exitCode = 125;
      return;
    }
    process.exitCode = reportError(error, debug);
  }
}
