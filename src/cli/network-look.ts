/** minict network ls|inspect */
import type { Context } from '../lifecycle/context.ts';
import { isUnused, lookAtInterfaces, type NetworkView, viewNetwork } from '../lifecycle/network-view.ts';
import { listNetworks } from '../state/network.ts';
import { readInstance } from '../state/store.ts';
import { BOOLEANS, exactly, type Filters, matching, oneOf, parseFilters } from './filter.ts';
import type { DefineNetworkVerb } from './network-scripts.ts';
import { print, requireFormat, table } from './output.ts';
import { reportError } from './report.ts';

interface LsOptions {
  readonly quiet?: boolean;
  readonly format: string;
  readonly filter: readonly string[];
}

const FILTERS: Filters<NetworkView> = {
  name: matching(({ record }) => record.name),
  driver: exactly(({ record }) => record.driver),
  dangling: oneOf(BOOLEANS, (view) => String(isUnused(view))),
};

async function views(context: Context, names: readonly string[]): Promise<NetworkView[]> {
  const instance = readInstance(context.roots) ?? '';
  const found: NetworkView[] = [];
  const look = lookAtInterfaces();
  for (const name of names) {
    try {
      found.push(await viewNetwork(context, instance, name, look));
    } catch (error) {
      process.exitCode = reportError(error);
    }
  }
  return found;
}

function rowOf({ record, members, state, missing, down }: NetworkView): object {
  const { version: _, members: leases, ...settings } = record;
  const containers = Object.fromEntries(members.map((name) => [name, leases[name]?.nics]));
  const more = { ...(missing.length > 0 ? { missing } : {}), ...(down.length > 0 ? { down } : {}) };
  return { ...settings, state, ...more, containers };
}

function firstOf(names: readonly string[]): string {
  return names.length > 3 ? `${names.slice(0, 3).join(', ')}, …` : names.join(', ');
}

async function list(context: Context, options: LsOptions): Promise<void> {
  requireFormat(options.format);
  const matches = parseFilters(options.filter, FILTERS);
  const shown = (await views(context, listNetworks(context.roots))).filter(matches);
  if (options.format === 'json') print(`${JSON.stringify(shown.map(rowOf))}\n`);
  else if (options.quiet) print(shown.map(({ record }) => `${record.name}\n`).join(''));
  else {
    const rows = shown.map(({ record, members, state, missing }) => [
      record.name,
      record.driver,
      record.link,
      record.subnets.map(({ subnet }) => subnet).join(', '),
      firstOf([...members, ...Object.keys(record.taps ?? {}).map((name) => `${name} (tap)`)]),
      missing.length > 0 ? `${state} (missing: ${missing.join(', ')})` : state,
    ]);
    print(table([['NAME', 'DRIVER', 'LINK', 'SUBNETS', 'CONTAINERS', 'STATE'], ...rows]));
  }
}

export const ls: DefineNetworkVerb = (command, { look }) => {
  command
    .option('-q, --quiet', 'names only')
    .option('--format <format>', 'table or json', 'table')
    .repeatable('-f, --filter <K=V>', 'those of that name or driver, or dangling=true|false: that nobody is in')
    .action(async (options: LsOptions) => {
      await list(look('ls'), options);
    });
};

export const inspect: DefineNetworkVerb = (command, { look }) => {
  command.action(async (names: string[]) => {
    print(`${JSON.stringify((await views(look('inspect'), names)).map(rowOf), null, 2)}\n`);
  });
};
