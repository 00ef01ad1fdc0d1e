/**
 * The verbs, each behind a literal import(), so that none loads what only others need. What most of them need is one chunk of
 * the executable, those of a container's life among it (bin/build.ts).
 */
import type { GlobalOptions } from '../lifecycle/context.ts';
import type { VerbCommand } from './verb-command.ts';

export type Define = (command: VerbCommand, globals: () => GlobalOptions) => void;

export interface Verb {
  readonly summary: string;
  readonly load: () => Promise<{ define: Define }>;
  /** It has verbs of its own, whose options commander's `help` would not know before they are asked for. */
  readonly isGroup?: true;
  /** In help, over this verb and those that follow. */
  readonly heading?: string;
}

const lifecycle = () => import('./lifecycle-verbs.ts');

/** Those of files have more in common. */
const files = () => {
  compile();
  return import('./file-verbs.ts');
};

/** For verbs that go through many files; the others are over before the JIT compiler, which bin/build.ts puts off, would pay. */
function compile(): void {
  Bun.unsafe.setJITPolicy(1);
}

export const VERBS: Readonly<Record<string, Verb>> = {
  create: { heading: 'Containers:', summary: 'make a container', load: async () => (await lifecycle()).create },
  run: { summary: 'create, start and attach', load: async () => (await lifecycle()).run },
  exec: { summary: 'run a program in a container', load: async () => (await lifecycle()).exec },
  start: {
    summary: 'bring up what is missing, start services or the main command',
    load: async () => (await lifecycle()).start,
  },
  attach: { summary: 'follow the main command to its end', load: () => import('./attach.ts') },
  stop: { summary: 'end the processes and take the container down', load: async () => (await lifecycle()).stop },
  restart: { summary: 'stop and start', load: async () => (await lifecycle()).restart },
  rm: { summary: 'remove containers', load: async () => (await lifecycle()).rm },
  update: { summary: 'change the limits of containers, live', load: () => import('./update.ts') },
  rename: { summary: 'give a container without processes another name', load: () => import('./rename.ts') },
  kill: { summary: 'send a signal to the main command', load: () => import('./kill.ts') },
  pause: { summary: 'hold the processes still', load: async () => (await import('./pause.ts')).pause },
  unpause: { summary: 'let the processes go on', load: async () => (await import('./pause.ts')).unpause },
  wait: { summary: 'wait for the main command and print its exit status', load: () => import('./wait.ts') },
  ps: { heading: 'What there is:', summary: 'list containers', load: () => import('./ps.ts') },
  inspect: { summary: 'all that is known of a container, as JSON', load: () => import('./inspect.ts') },
  port: { summary: 'the ports of the host that lead into a container', load: () => import('./port.ts') },
  logs: {
    summary: 'what services, and a main command without a caller, wrote',
    load: () => import('./logs.ts'),
  },
  top: { summary: 'the processes of a container', load: () => import('./top.ts') },
  stats: { summary: 'what containers use: CPU, memory, network, disks', load: () => import('./stats.ts') },
  events: { summary: 'what happens to containers and networks', load: () => import('./events.ts') },
  check: { summary: 'try the ways out of a container', load: () => import('./check.ts') },
  network: {
    heading: 'Networks:',
    summary: 'networks: create, ls, connect, disconnect, rm, …',
    load: () => import('./network.ts'),
    isGroup: true,
  },
  link: { summary: 'cables between containers; ls, down, up, rm', load: () => import('./link.ts') },
  net: { summary: "a container's network: impair, snapshot, diff, rollback", load: () => import('./net.ts') },
  why: {
    summary: 'walk the path from a container to a service, and name what stops it',
    load: () => import('./why.ts'),
  },
  capture: { summary: 'packets of several NICs, in one pcapng', load: () => import('./capture.ts') },
  cp: {
    heading: 'Files and images:',
    summary: 'copy files into a container, or out of it',
    load: async () => (await files()).cp,
  },
  diff: { summary: 'what a container changed of its image', load: async () => (await files()).diff },
  export: { summary: "a container's root file system as a tar", load: async () => (await files()).exportRoot },
  snapshot: {
    summary: "a container's files at some time: create, ls, rollback, rm",
    load: async () => (await files()).snapshot,
  },
  clone: { summary: 'another container with the same files and settings', load: async () => (await files()).clone },
  rebase: { summary: 'another image under a container', load: async () => (await files()).rebase },
  volume: { summary: 'volumes: ls, create, rm, inspect, prune', load: () => import('./volume.ts') },
  image: {
    summary: 'images: import, build, pull, push, ls, rm, …',
    load: () => {
      compile();
      return import('./image.ts');
    },
  },
  commit: { summary: 'make an image of a container', load: async () => (await files()).commit },
  'save-container': {
    summary: 'all of a container as one tar, for another host',
    load: async () => (await files()).saveContainer,
  },
  'load-container': {
    summary: 'a container that save-container saved',
    load: async () => (await files()).loadContainer,
  },
  system: {
    heading: 'The host:',
    summary: 'the host: doctor, prune, units of systemd',
    load: () => import('./system.ts'),
  },
  completion: { summary: 'Tab completion of bash', load: () => import('./completion.ts') },
};

/** Those before the verb. */
export function addGlobalOptions<T extends VerbCommand>(program: T): T {
  return program
    .option('--root <dir>', 'state folder (MINICT_ROOT, /var/lib/minict)')
    .option('--run-dir <dir>', 'folder of what a reboot forgets (MINICT_RUN_DIR, /run/minict)')
    .option('--verbose', 'print each host command as it runs')
    .option('--debug', 'print stacks of errors');
}
