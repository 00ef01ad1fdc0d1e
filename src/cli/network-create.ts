/** minict network create */
import { createNetwork, type NetworkRequest } from '../lifecycle/networks.ts';
import { parseDriver } from '../network/driver.ts';
import { parseMtuBytes, parseVni } from '../spec/address.ts';
import { parseOptions } from '../spec/driver-options.ts';
import { parseNetworkName } from '../spec/name.ts';
import type { NetworkRecord } from '../state/network.ts';
import { addDryRun, type DryRunOptions } from './dry-run.ts';
import { type DefineNetworkVerb, scripts } from './network-scripts.ts';
import { print } from './output.ts';
import { reportDrops } from './report.ts';

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

export const define: DefineNetworkVerb = (command, { begin }) => {
  addDryRun(command)
    .repeatable('--subnet <subnet>', 'IPv4 or IPv6, one of each (default: the next free 192.168.N.0/24)')
    .repeatable(
      '--gateway <address>',
      "the bridge's address (default: the subnet's first); none: a container can be the router",
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
    .repeatable('--remote <address[,address…]>', 'other hosts of a VXLAN; none: a control plane knows them')
    .repeatable('-o, --option <K=V>', "the driver's own: mode, dstport, datapath_type")
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
};
