/** minict network …, with docker's words. What a verb takes is defined when it is asked for. */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { ensureState } from '../state/store.ts';
import { dryRun } from './dry-run.ts';
import * as connecting from './network-connect.ts';
import type { Begin, DefineNetworkVerb } from './network-scripts.ts';
import type { Define } from './verbs.ts';

interface Verb {
  readonly usage: string;
  readonly alias?: string;
  readonly summary: string;
  readonly load: () => Promise<DefineNetworkVerb>;
}

const verbs = () => import('./network-verbs.ts');

const VERBS: Readonly<Record<string, Verb>> = {
  create: {
    usage: '<name>',
    summary: 'make a network',
    load: async () => (await verbs()).create,
  },
  ls: {
    usage: '',
    alias: 'list',
    summary: 'list networks',
    load: async () => (await verbs()).ls,
  },
  inspect: {
    usage: '<name...>',
    summary: 'all that is known of networks, as JSON',
    load: async () => (await verbs()).inspect,
  },
  rm: {
    usage: '<name...>',
    alias: 'remove',
    summary: 'remove networks that nobody is in',
    load: async () => (await verbs()).rm,
  },
  prune: {
    usage: '',
    summary: 'remove all networks that nobody is in',
    load: async () => (await verbs()).prune,
  },
  tap: {
    usage: '<network> <name>',
    summary: 'a tap for a virtual machine; prints its address and what qemu wants',
    load: async () => (await verbs()).tap,
  },
  reload: {
    usage: '',
    summary: "put back what a firewall's reload or somebody's hand took: bridges, their ports, NAT, published ports",
    load: async () => (await verbs()).reload,
  },
  connect: {
    usage: '<network> <container>',
    summary: 'give a container an interface in a network, running or not',
    load: async () => connecting.connect,
  },
  disconnect: {
    usage: '<network> <container>',
    summary: "take a container's interface in a network away",
    load: async () => connecting.disconnect,
  },
};

export const define: Define = (command, globals) => {
  const look: Begin['look'] = (verb) => {
    requireRoot(`network ${verb}`);
    return contextFrom(globals());
  };
  const begin: Begin['begin'] = async (verb, options = {}, names = [], printed) => {
    const context = look(verb);
    if (printed !== undefined && (await dryRun(context, options, names, printed))) return undefined;
    return { context, instance: ensureState(context.roots) };
  };
  for (const [name, { usage, alias, summary }] of Object.entries(VERBS)) {
    const verb = command.command(`${name} ${usage}`.trim()).description(summary);
    if (alias !== undefined) verb.alias(alias);
  }
  command.lazily(async (verb) => (await VERBS[verb.name()]?.load())?.(verb, { begin, look }));
};
