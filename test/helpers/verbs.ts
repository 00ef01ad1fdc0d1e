/** Every verb that changes something, with what it needs before; the container is always `f1`. */
import { cpSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Host } from './host.ts';
import { imageTree } from './images.ts';

/** Stands for a folder with a root file system that is written in place. */
const TREE = 'TREE';

export interface Verb {
  readonly title: string;
  readonly words: readonly string[];
  /** Options of the container. */
  readonly options: readonly string[];
  /** What makes the state that the verb changes. */
  readonly before: readonly (readonly string[])[];
  /** Whether a failure leaves everything as it was; the others have ended processes or removed files by then. */
  readonly atomic: boolean;
  /** What a create of it says. */
  readonly says?: string;
  /** How many host commands, and changes of its own, it has at least. */
  readonly commands: number;
  readonly changes: number;
  /** What the user does after it was killed, where that is not the same again. */
  readonly next?: readonly string[];
  /** There is no container after `next`. */
  readonly ends?: boolean;
  /** What it takes, once there is no container, that nothing is left. */
  readonly after?: readonly (readonly string[])[];
}

const SLEEP = ['--', 'sleep', '300'];
const ON_HOST = ['--mounts', 'host'];
const RUNNING = ['run', '-d', 'f1', ...SLEEP];

const PRUNE = ['system', 'prune'];

/** Of each kind one; the named volume is there, and empty, so that it is filled. */
const VOLUMES = ['-v', 'v1:/var/www', '-v', '/own', '-v', `${TREE}:/bound:ro`, '--tmpfs', '/tmp', '--read-only'];
const MAKE_VOLUME = ['volume', 'create', 'v1'];

function withVolumes(verb: Verb): Verb {
  return { ...verb, before: [MAKE_VOLUME, ...verb.before], after: [['volume', 'rm', 'v1'], PRUNE] };
}

function creating(title: string, options: readonly string[], commands: number): Verb {
  return { title, words: ['create', 'f1', ...options], options, before: [], atomic: true, commands, changes: 35 };
}

function starting(title: string, options: readonly string[], commands: number): Verb {
  const before = [
    ['create', 'f1', ...options],
    ['stop', 'f1'],
  ];
  return { title, words: ['start', 'f1'], options, before, atomic: true, commands, changes: 30 };
}

function ending(words: readonly string[], before: readonly string[], commands: number, changes: number): Verb {
  return { title: words.join(' '), words, options: [], before: [before], atomic: false, commands, changes };
}

const CREATE = creating('create', [], 1);
export const START = starting('start after stop', [], 1);
export const STOP = ending(['stop', '-t', '0', 'f1'], RUNNING, 1, 8);
export const STOP_START: Verb = { ...STOP, title: 'stop, then start', next: ['start', 'f1'] };
/** No container is made after it, so nothing is written that would mend what was half written. */
export const CREATE_RM: Verb = {
  ...creating('create, then rm', [], 1),
  next: ['rm', '-f', 'f1'],
  ends: true,
};
export const CREATE_VOLUMES = withVolumes({ ...creating('create with volumes', VOLUMES, 6), changes: 45 });
const RM_FORCE = ending(['rm', '-f', 'f1'], RUNNING, 0, 15);
export const RM_TWICE: Verb = { ...RM_FORCE, title: 'rm -f, then again', next: ['rm', '-f', 'f1'], ends: true };
export const RUN_RM: Verb = {
  ...CREATE,
  title: 'run --rm',
  words: ['run', '--rm', 'f1', '--', 'true'],
  atomic: false,
  commands: 1,
  changes: 45,
};

export const CHANGING_VERBS: readonly Verb[] = [
  CREATE,
  creating('create --mounts host', ON_HOST, 1),
  creating('create --no-network', ['--no-network'], 1),
  creating('create --rootfs', ['--rootfs', TREE], 1),
  START,
  starting('start after stop --mounts host', ON_HOST, 1),
  STOP,
  RM_FORCE,
  { ...ending(['rm', 'f1'], ['create', 'f1', ...ON_HOST], 5, 10), title: 'rm --mounts host', options: ON_HOST },
  RUN_RM,
  { ...CREATE, title: 'run -d', words: RUNNING },
  ending(['restart', '-t', '0', 'f1'], RUNNING, 2, 30),
  CREATE_VOLUMES,
  withVolumes(starting('start after stop with volumes --mounts host', [...ON_HOST, ...VOLUMES], 8)),
];

const PUBLISHED = ['-p', '8080:80', '-p', '0.0.0.0:5353:53/udp'];

function publishing(verb: Verb): Verb {
  const says = 'minict: f1 has 127.0.0.1:8080->80/tcp\nminict: f1 has 0.0.0.0:5353->53/udp\n';
  return { ...verb, title: `${verb.title} with published ports`, says };
}

/** With published ports, on a host without NAT. */
export const PUBLISHING_VERBS: readonly Verb[] = [
  creating('create', PUBLISHED, 3),
  starting('start', PUBLISHED, 2),
  ending(['stop', '-t', '0', 'f1'], ['create', 'f1', ...PUBLISHED], 2, 4),
  { ...ending(['rm', '-f', 'f1'], ['create', 'f1', ...PUBLISHED], 2, 10), options: PUBLISHED },
].map(publishing);

/** What makes and removes what all containers share, on a host without any. */
export const SHARED_VERBS: readonly Verb[] = [
  { ...CREATE, title: 'the first create', atomic: false, commands: 8, changes: 40, after: [PRUNE] },
  {
    title: 'system prune',
    words: PRUNE,
    options: [],
    before: [
      ['create', 'f1'],
      ['rm', 'f1'],
    ],
    atomic: false,
    commands: 2,
    changes: 4,
    after: [PRUNE],
  },
];

/** Words for a command line of `host`. */
export function wordsFor(host: Host, words: readonly string[]): string[] {
  const tree = join(host.dir, TREE);
  if (words.some((word) => word.startsWith(TREE)) && !existsSync(tree)) {
    cpSync(imageTree(host, 'base'), tree, { recursive: true, verbatimSymlinks: true });
  }
  return words.map((word) => (word.startsWith(TREE) ? `${tree}${word.slice(TREE.length)}` : word));
}

export function prepare(host: Host, verb: Verb): void {
  for (const words of verb.before)
    expect(host.minict(...wordsFor(host, words))).toMatchObject({ status: 0, stderr: said(verb, words) });
}

/** On stderr, of words that succeed. */
export function said({ says = '' }: Verb, words: readonly string[]): string {
  return words[0] === 'create' || words[0] === 'run' ? says : '';
}

/** Whether there is a container `f1`. */
export function isThere(host: Host): boolean {
  return existsSync(join(host.root, 'containers/f1/container.json'));
}
