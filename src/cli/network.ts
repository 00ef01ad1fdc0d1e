/** minict network create|ls|inspect|rm|prune|connect|disconnect, with docker's words. */
import { connect, disconnect, findNic } from '../lifecycle/connect.ts';
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import {
  isUnused,
  lookAtInterfaces,
  type NetworkView,
  unusedNetworks,
  viewNetwork,
} from '../lifecycle/network-view.ts';
import { createNetwork, deleteNetwork, type NetworkRequest } from '../lifecycle/networks.ts';
import { parseDriver } from '../network/driver.ts';
import { parseMtuBytes, parseVni } from '../spec/address.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { parseOptions } from '../spec/driver-options.ts';
import { parseContainerName, parseNetworkName, parseNicName } from '../spec/name.ts';
import { checkNic } from '../spec/nic.ts';
import { listNetworks, type NetworkRecord } from '../state/network.ts';
import { ensureState, readInstance } from '../state/store.ts';
import { addDryRun, type DryRunOptions, dryRun } from './dry-run.ts';
import { type Filters, parseFilters } from './filter.ts';
import { type Begin, scripts } from './network-scripts.ts';
import { type AddressOptions, addAddressOptions } from './nic-options.ts';
import { print, requireFormat, table } from './output.ts';
import type { Define } from './program.ts';
import { repeatable } from './repeatable.ts';
import { eachName, reportDrops, reportError } from './report.ts';
import { defineTap } from './tap.ts';

interface CreateOptions {
  readonly subnet: readonly string[];
  readonly gateway: readonly string[];
  readonly internal?: boolean;
  readonly nat?: boolean;
  readonly mtu?: number;
  readonly bridge?: string;
  readonly uplink?: string;
  readonly driver: NetworkRecord['driver'];
  readonly vni?: number;
  readonly local?: string;
  readonly remote: readonly string[];
  readonly option: readonly string[];
}

interface LsOptions {
  readonly quiet?: boolean;
  readonly format: string;
  readonly filter: readonly string[];
}

const FILTERS: Filters<NetworkView> = {
  name: ({ record }) => record.name,
  driver: ({ record }) => record.driver,
  dangling: (view) => String(isUnused(view)),
};

function requestFrom(name: string, options: CreateOptions): NetworkRequest {
  const { subnet, gateway, internal, nat, mtu, bridge, uplink, driver, vni, local, remote } = options;
  return {
    name: parseNetworkName(name),
    subnets: subnet,
    gateways: gateway,
    internal: internal ? true : undefined,
    nat: nat ?? false,
    mtuBytes: mtu,
    bridge,
    uplink,
    driver,
    vni,
    local,
    remotes: remote,
    options: parseOptions(options.option),
  };
}

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
      members.length > 3 ? `${members.slice(0, 3).join(', ')}, …` : members.join(', '),
      missing.length > 0 ? `${state} (missing: ${missing.join(', ')})` : state,
    ]);
    print(table([['NAME', 'DRIVER', 'LINK', 'SUBNETS', 'CONTAINERS', 'STATE'], ...rows]));
  }
}

export const define: Define = (command, globals) => {
  const begin: Begin = async (verb, options = {}, names = [], printed) => {
    requireRoot(`network ${verb}`);
    const context = contextFrom(globals());
    if (printed !== undefined && (await dryRun(context, options, names, printed))) return undefined;
    return { context, instance: ensureState(context.roots) };
  };
  addDryRun(command.command('create <name>'))
    .description('make a network')
    .addOption(repeatable('--subnet <subnet>', 'IPv4 or IPv6, one of each (default: the next free 192.168.N.0/24)'))
    .addOption(
      repeatable(
        '--gateway <address>',
        "the bridge's address (default: the subnet's first); none: a container can be the router",
      ),
    )
    .option('--internal', 'no address for the host, no default route for containers')
    .option('--nat', 'what leaves it for elsewhere gets the address of the host, which forwards it')
    .option('--mtu <bytes>', 'MTU of the bridge and of all interfaces', parseMtuBytes)
    .option('--bridge <bridge>', "a bridge of the host's, used and never changed")
    .option(
      '--uplink <interface>',
      "an interface of the host's: a port (bridge), the parent (macvlan), the underlay (vxlan)",
    )
    .option('-d, --driver <driver>', 'bridge, macvlan, vxlan or ovs', parseDriver, 'bridge')
    .option('--vni <number>', 'VXLAN network identifier, on all hosts the same', parseVni)
    .option('--local <address>', "this host's address in the underlay")
    .addOption(repeatable('--remote <address[,address…]>', 'other hosts of a VXLAN; none: a control plane knows them'))
    .addOption(repeatable('-o, --option <K=V>', "the driver's own: mode, dstport, datapath_type"))
    .action(async (name: string, options: CreateOptions & DryRunOptions) => {
      const request = requestFrom(name, options);
      const printed = scripts(
        'makes network',
        'removes network',
        (lines, context) => lines.createNetworkLines(context, request),
        (lines, context) => lines.uncreateNetworkLines(context, request),
      );
      const begun = await begin('create', options, [name], printed);
      if (begun === undefined) return;
      reportDrops(await createNetwork(begun.context, begun.instance, request));
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
  addDryRun(command.command('rm <name...>'))
    .alias('remove')
    .description('remove networks that nobody is in')
    .action(async (names: string[], options: DryRunOptions) => {
      const printed = scripts(
        'removes network',
        'makes network',
        (lines, context, name) => lines.removeNetworkLines(context, name),
        (lines, context, name) => lines.recreateNetworkLines(context, name),
        'go on',
      );
      const begun = await begin('rm', options, names, printed);
      if (begun === undefined) return;
      await eachName(names, async (name) => {
        await deleteNetwork(begun.context, begun.instance, parseNetworkName(name));
        return name;
      });
    });
  command
    .command('prune')
    .description('remove all networks that nobody is in')
    .option('--dry-run', 'only list them')
    .option('-f, --force', 'for scripts that docker would ask; minict never does')
    .action(async (options: { dryRun?: boolean }) => {
      const begun = await begin('prune');
      if (begun === undefined) return;
      await eachName(await unusedNetworks(begun.context), async (name) => {
        if (!options.dryRun) await deleteNetwork(begun.context, begun.instance, name);
        return name;
      });
    });
  defineTap(command, begin);
  command
    .command('reload')
    .description(
      "put back what a firewall's reload or somebody's hand took: bridges, their ports, NAT, published ports",
    )
    .option('--dry-run', 'print what it would do as a shell script, and change nothing')
    .action(async (options: { dryRun?: boolean }) => {
      if (options.dryRun) {
        requireRoot('network reload');
        const { reloadScript } = await import('../lifecycle/dry-run-network.ts');
        print(await reloadScript(contextFrom(globals())));
        return;
      }
      const begun = await begin('reload');
      if (begun === undefined) return;
      const { reload } = await import('../lifecycle/reload.ts');
      const lines = reload(begun.context, begun.instance, (error) => {
        process.exitCode = reportError(error);
      });
      for await (const line of lines) print(`${line}\n`);
    });
  addDryRun(addAddressOptions(command.command('connect <network> <container>')))
    .description('give a container an interface in a network, running or not')
    .option('--name <interface>', 'its name inside (default: the next free ethN)', parseNicName)
    .action(async (network: string, container: string, options: AddressOptions & DryRunOptions & { name?: string }) => {
      const { name, ip, gateway, macAddress, mtu } = options;
      const settings = { name, ips: ip, gateways: gateway, mac: macAddress, mtuBytes: mtu };
      const request = checkNic({ network: parseNetworkName(network), ...settings });
      const printed = scripts(
        `connects to ${network}:`,
        `disconnects from ${network}:`,
        (lines, context, each) => lines.connectLines(context, each, request),
        (lines, context, each) => lines.unconnectLines(context, each, request),
      );
      const begun = await begin('connect', options, [container], printed);
      if (begun === undefined) return;
      const nic = await connect(begun.context, begun.instance, parseContainerName(container), request);
      print(`${container}:${nic.name}\n`);
    });
  addDryRun(command.command('disconnect <network> <container>'))
    .description("take a container's interface in a network away")
    .option('--name <interface>', 'which one, where there are several', parseNicName)
    .action(async (network: string, container: string, options: DryRunOptions & { name?: string }) => {
      const { name } = options;
      const printed = scripts(
        `disconnects from ${network}:`,
        `connects to ${network}:`,
        (lines, context, each) => lines.disconnectLines(context, each, parseNetworkName(network), name),
        (lines, context, each) => lines.undisconnectLines(context, each, parseNetworkName(network), name),
      );
      const begun = await begin('disconnect', options, [container], printed);
      if (begun === undefined) return;
      const { context, instance } = begun;
      const find = (spec: ContainerSpec) => findNic(spec, parseNetworkName(network), name);
      await disconnect(context, instance, parseContainerName(container), find);
    });
};
