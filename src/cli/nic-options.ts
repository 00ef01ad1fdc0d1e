/** Options of a container's interfaces, as create, run and clone share them, and what they ask for. */

import { InvalidInputError } from '../errors.ts';
import { DEFAULT_NETWORK } from '../lifecycle/network.ts';
import { parseMtuBytes } from '../spec/address.ts';
import { parseMac, parseNetworkName } from '../spec/name.ts';
import { checkNic, ipSettings, type NicRequest, parseNic } from '../spec/nic.ts';
import type { VerbCommand } from './verb-command.ts';

/** As commander hands them over. */
export interface AddressOptions {
  readonly ip: readonly string[];
  readonly gateway: readonly string[];
  readonly macAddress?: string;
  readonly mtu?: number;
}

export interface NicOptions extends AddressOptions {
  /** False for `--no-network`. */
  readonly network: readonly string[] | false;
  readonly nic: readonly string[];
}

/** Of one interface: the first one, where there are several. */
export function addAddressOptions(command: VerbCommand): VerbCommand {
  return command
    .repeatable('--ip <address>', 'IPv4 or IPv6 address, with or without /len; none: without (default: next free)')
    .repeatable('--gateway <address>', "next hop of the default route (default: the network's)")
    .option('--mac-address <mac>', 'MAC address', parseMac)
    .option('--mtu <bytes>', 'MTU', parseMtuBytes);
}

export function addNicOptions(command: VerbCommand): VerbCommand {
  return addAddressOptions(command)
    .repeatable('--network <name>', `network (default: ${DEFAULT_NETWORK})`)
    .option('--no-network', 'only a loopback')
    .repeatable(
      '--nic <network[,key=value…]>',
      'an interface in a network, p2p:CONTAINER or phys:INTERFACE, with ip=, gateway=, name=, mac=, mtu= of its own',
    );
}

function requireNetworkFor({ ip, gateway, macAddress, mtu, nic }: NicOptions): void {
  const given = { '--ip': ip[0], '--gateway': gateway[0], '--mac-address': macAddress, '--mtu': mtu, '--nic': nic[0] };
  const option = Object.entries(given).find(([, value]) => value !== undefined)?.[0];
  if (option === undefined) return;
  throw new InvalidInputError(`cannot use ${option} and --no-network together`, { hint: 'take one of them' });
}

/** One for each `--network`, then one for each `--nic`; without any, one in the default network. Throws InvalidInputError. */
export function requestsFrom(options: NicOptions): NicRequest[] {
  const { network, nic, ip, gateway, macAddress, mtu } = options;
  if (network === false) {
    requireNetworkFor(options);
    return [];
  }
  const names = network.length === 0 && nic.length === 0 ? [DEFAULT_NETWORK] : network.map(parseNetworkName);
  const settings = { ips: ip, gateways: gateway, mac: macAddress, mtuBytes: mtu };
  if (
    names.length === 0 &&
    Object.values(settings)
      .flat()
      .some((value) => value !== undefined)
  ) {
    throw new InvalidInputError('cannot use --ip, --gateway, --mac-address or --mtu without --network', {
      hint: '--nic has them as its own settings: --nic lan,ip=192.168.0.5',
    });
  }
  return [
    ...names.map((name, index) => {
      const own = index === 0 ? { ...settings, ...ipSettings(ip) } : { ips: [], gateways: [] };
      return checkNic({ network: name, ...own });
    }),
    ...nic.map(parseNic),
  ];
}
