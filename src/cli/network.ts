/** minict network create|ls|inspect|rm|prune|connect|disconnect, with docker's words. */
import { connect, disconnect } from '../lifecycle/connect.ts';
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import {
  createNetwork,
  deleteNetwork,
  type NetworkRequest,
  type NetworkView,
  unusedNetworks,
  viewNetwork,
} from '../lifecycle/networks.ts';
import { parseMtuBytes } from '../spec/address.ts';
import { parseContainerName, parseNetworkName, parseNicName } from '../spec/name.ts';
import { checkNic } from '../spec/nic.ts';
import { listNetworks } from '../state/network.ts';
import { ensureState, readInstance } from '../state/store.ts';
import { type Filters, parseFilters } from './filter.ts';
import { type AddressOptions, addAddressOptions } from './nic-options.ts';
import { print, requireFormat, table } from './output.ts';
import type { Define } from './program.ts';
import { repeatable } from './repeatable.ts';
import { eachName, reportDrops, reportError } from './report.ts';

interface CreateOptions {
  readonly subnet: readonly string[];
  readonly gateway: readonly string[];
  readonly internal?: boolean;
  readonly nat?: boolean;
  readonly mtu?: number;
  readonly bridge?: string;
  readonly uplink?: string;
}

interface LsOptions {
  readonly quiet?: boolean;
  readonly format: string;
  readonly filter: readonly string[];
}

const FILTERS: Filters<NetworkView> = {
  name: ({ record }) => record.name,
  driver: ({ record }) => record.driver,
  dangling: ({ members }) => String(members.length === 0),
};

function requestFrom(name: string, options: CreateOptions): NetworkRequest {
  const { subnet, gateway, internal, nat, mtu, bridge, uplink } = options;
  return {
    name: parseNetworkName(name),
    subnets: subnet,
    gateways: gateway,
    internal: internal ?? false,
    nat: nat ?? false,
    mtuBytes: mtu,
    bridge,
    uplink,
  };
}

async function views(context: Context, names: readonly string[]): Promise<NetworkView[]> {
  const instance = readInstance(context.roots) ?? '';
  const found: NetworkView[] = [];
  for (const name of names) {
    try {
      found.push(await viewNetwork(context, instance, name));
    } catch (error) {
      process.exitCode = reportError(error);
    }
  }
  return found;
}

function rowOf({ record, members, state }: NetworkView): object {
  const { version: _, members: leases, ...settings } = record;
  const containers = Object.fromEntries(members.map((name) => [name, leases[name]?.nics]));
  return { ...settings, state, containers };
}

async function list(context: Context, options: LsOptions): Promise<void> {
  requireFormat(options.format);
  const matches = parseFilters(options.filter, FILTERS);
  const shown = (await views(context, listNetworks(context.roots))).filter(matches);
  if (options.format === 'json') print(`${JSON.stringify(shown.map(rowOf))}\n`);
  else if (options.quiet) print(shown.map(({ record }) => `${record.name}\n`).join(''));
  else {
    const rows = shown.map(({ record, members, state }) => [
      record.name,
      record.driver,
      record.link,
      record.subnets.map(({ subnet }) => subnet).join(', '),
      members.length > 3 ? `${members.slice(0, 3).join(', ')}, …` : members.join(', '),
      state,
    ]);
    print(table([['NAME', 'DRIVER', 'LINK', 'SUBNETS', 'CONTAINERS', 'STATE'], ...rows]));
  }
}

export const define: Define = (command, globals) => {
  const begin = (verb: string): { context: Context; instance: string } => {
    requireRoot(`network ${verb}`);
    const context = contextFrom(globals());
    return { context, instance: ensureState(context.roots) };
  };
  command
    .command('create <name>')
    .description('make a network')
    .addOption(repeatable('--subnet <subnet>', 'IPv4 or IPv6, one of each (default: the next free 192.168.N.0/24)'))
    .addOption(repeatable('--gateway <address>', "the bridge's address (default: the subnet's first)"))
    .option('--internal', 'no address for the host, no default route for containers')
    .option('--nat', 'what leaves it for elsewhere gets the address of the host, which forwards it')
    .option('--mtu <bytes>', 'MTU of the bridge and of all interfaces', parseMtuBytes)
    .option('--bridge <bridge>', "a bridge of the host's, used and never changed")
    .option('--uplink <interface>', "an interface of the host's becomes a port, until the network is removed")
    .action(async (name: string, options: CreateOptions) => {
      const request = requestFrom(name, options);
      const { context, instance } = begin('create');
      const drops = await createNetwork(context, instance, request);
      reportDrops(drops);
      print(`${name}\n`);
    });
  command
    .command('ls')
    .alias('list')
    .description('list networks')
    .option('-q, --quiet', 'names only')
    .option('--format <format>', 'table or json', 'table')
    .addOption(
      repeatable('-f, --filter <K=V>', 'those of that name or driver, or dangling=true|false: that nobody is in'),
    )
    .action(async (options: LsOptions) => {
      requireRoot('network ls');
      await list(contextFrom(globals()), options);
    });
  command
    .command('inspect <name...>')
    .description('all that is known of networks, as JSON')
    .action(async (names: string[]) => {
      requireRoot('network inspect');
      print(`${JSON.stringify((await views(contextFrom(globals()), names)).map(rowOf), null, 2)}\n`);
    });
  command
    .command('rm <name...>')
    .alias('remove')
    .description('remove networks that nobody is in')
    .action(async (names: string[]) => {
      const { context, instance } = begin('rm');
      await eachName(names, async (name) => {
        await deleteNetwork(context, instance, parseNetworkName(name));
        return name;
      });
    });
  command
    .command('prune')
    .description('remove all networks that nobody is in')
    .option('--dry-run', 'only list them')
    .option('-f, --force', 'for scripts that docker would ask; minict never does')
    .action(async ({ dryRun }: { dryRun?: boolean }) => {
      const { context, instance } = begin('prune');
      await eachName(await unusedNetworks(context, instance), async (name) => {
        if (!dryRun) await deleteNetwork(context, instance, name);
        return name;
      });
    });
  command
    .command('reload')
    .description(
      "put back what a firewall's reload or somebody's hand took: bridges, their ports, NAT, published ports",
    )
    .action(async () => {
      const { context, instance } = begin('reload');
      const { reload } = await import('../lifecycle/reload.ts');
      const lines = reload(context, instance, (error) => {
        process.exitCode = reportError(error);
      });
      for await (const line of lines) print(`${line}\n`);
    });
  addAddressOptions(command.command('connect <network> <container>'))
    .description('give a container an interface in a network, running or not')
    .option('--name <interface>', 'its name inside (default: the next free ethN)', parseNicName)
    .action(async (network: string, container: string, options: AddressOptions & { name?: string }) => {
      const { name, ip, gateway, macAddress, mtu } = options;
      const settings = { name, ips: ip, gateways: gateway, mac: macAddress, mtuBytes: mtu };
      const request = checkNic({ network: parseNetworkName(network), ...settings });
      const { context, instance } = begin('connect');
      const nic = await connect(context, instance, parseContainerName(container), request);
      print(`${container}:${nic.name}\n`);
    });
  command
    .command('disconnect <network> <container>')
    .description("take a container's interface in a network away")
    .option('--name <interface>', 'which one, where there are several', parseNicName)
    .action(async (network: string, container: string, { name }: { name?: string }) => {
      const { context, instance } = begin('disconnect');
      await disconnect(context, instance, parseContainerName(container), parseNetworkName(network), name);
    });
};
