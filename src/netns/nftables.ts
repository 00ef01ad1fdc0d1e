/** The whole ruleset, as a file that nft(8) takes: in one transaction, all of it or nothing. Counters begin anew. */
import type { Kind } from './kind.ts';
import { readIn } from './kind.ts';

export const nftables: Kind = {
  name: 'nftables',
  read: async (place) => {
    const ruleset = await readIn(place, ['nft', '--stateless', 'list', 'ruleset']);
    return ['flush ruleset', ...ruleset.trimEnd().split('\n').filter(Boolean)];
  },
  restore: ({ netns, folder }, then, now) => {
    if (then.join('\n') === now.join('\n')) return [];
    const argv = ['nft', '-f', `${folder}/${nftables.name}`];
    return [{ id: 'nftables', why: 'the whole ruleset', run: { kind: 'run', argv, netns } }];
  },
};
