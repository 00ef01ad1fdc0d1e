/** The verbs of networks that change something, for the fault tests. */
import type { Verb } from './verbs.ts';

const MAKE = ['network', 'create', 'n1'];
const PRUNE = [['network', 'prune']];
const TWO = ['--nic', 'minict0', '--nic', 'n1'];

function verb(words: readonly string[], before: Verb['before'], commands: number, changes: number): Verb {
  return { title: words.join(' '), words, options: [], before, atomic: true, commands, changes, after: PRUNE };
}

export const NETWORK_VERBS: readonly Verb[] = [
  verb(MAKE, [], 1, 5),
  { ...verb(['network', 'rm', 'n1'], [MAKE], 1, 2), atomic: false },
  { ...verb(['network', 'connect', 'n1', 'f1'], [MAKE, ['create', 'f1']], 3, 15), next: ['start', 'f1'] },
  {
    ...verb(['network', 'disconnect', 'n1', 'f1'], [MAKE, ['create', 'f1', ...TWO]], 1, 10),
    atomic: false,
    next: ['start', 'f1'],
  },
  { ...verb(['create', 'f1', ...TWO], [MAKE], 4, 30), options: TWO },
];
