/** The verbs of networks that change something, for the fault tests. */
import type { Verb } from './verbs.ts';

const PRUNE = [['network', 'prune']];
const TWO = ['--nic', 'minict0', '--nic', 'n1'];

function verb(words: readonly string[], before: Verb['before'], commands: number, changes: number): Verb {
  const title = words.slice(0, 3).join(' ');
  return { title, words, options: [], before, atomic: true, commands, changes, after: PRUNE };
}

/** Of a network with these options, which takes so many host commands. */
export function networkVerbs(options: readonly string[], commands: number): readonly Verb[] {
  const make = ['network', 'create', 'n1', ...options];
  return [
    verb(make, [], commands, 5),
    { ...verb(['network', 'rm', 'n1'], [make], commands === 0 ? 0 : 1, 2), atomic: false },
    { ...verb(['network', 'connect', 'n1', 'f1'], [make, ['create', 'f1']], 1, 15), next: ['start', 'f1'] },
    {
      ...verb(['network', 'disconnect', 'n1', 'f1'], [make, ['create', 'f1', ...TWO]], 1, 10),
      atomic: false,
      next: ['start', 'f1'],
    },
    { ...verb(['create', 'f1', ...TWO], [make], 1, 30), options: TWO },
  ];
}

export const NETWORK_VERBS = networkVerbs([], 1);
