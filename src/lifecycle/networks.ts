/** Networks that are asked for by name: made, listed with their members, removed. */
import { ConflictError, InvalidInputError } from '../errors.ts';
import type { ForeignDrop } from '../host/firewall/drops.ts';
import { interfaceIndex } from '../host/syscalls.ts';
import { requireTool, requireTools } from '../host/tool.ts';
import { type DriverRequest, networkDriver, requireKnown, type Settled } from '../network/driver.ts';
import {
  contains,
  formatIp,
  formatSubnet,
  overlap,
  parseAddress,
  parseIp,
  parseSubnet,
  requireIpv6Mtu,
  type Subnet,
} from '../spec/address.ts';
import { derivedMac, networkLinkName } from '../spec/name.ts';
import { recordEvent } from '../state/events.ts';
import { ensureHosts } from '../state/hosts.ts';
import { lockNetworks } from '../state/locks.ts';
import {
  getNetwork,
  listNetworks,
  type NetworkRecord,
  readNetwork,
  readNetworks,
  removeNetwork,
  writeNetwork,
} from '../state/network.ts';
import { networkPaths } from '../state/paths.ts';
import type { Context } from './context.ts';
import { findDrops } from './foreign-drops.ts';
import { linkInUse } from './link-state.ts';
import { knownSubnets, refuseParent, settlePorts, withGateway } from './network.ts';
import { ensureLink, removeLink } from './network-link.ts';
import { membersOf } from './network-view.ts';
import { chooseSubnet, refuseOverlap, refuseSpecial } from './subnet.ts';

/** What is asked for; absent is what minict chooses, or nothing. */
export interface NetworkRequest extends DriverRequest {
  readonly name: string;
  readonly subnets: readonly string[];
  readonly gateways: readonly string[];
  readonly internal?: true | undefined;
  readonly driver?: NetworkRecord['driver'];
  /** What leaves it for elsewhere gets the host's address. */
  readonly nat?: boolean;
}

/** Whoever writes an address in it may mean the host's. Throws InvalidInputError. */
function refuseAddress(text: string, subnet: Subnet): void {
  const { address } = parseAddress(text);
  if (address.value === subnet.base) return;
  const range = formatSubnet(subnet);
  throw new InvalidInputError(`cannot use subnet ${text}: ${formatIp(address)} is an address in ${range}`, {
    hint: `--subnet ${range}; with --gateway ${formatIp(address)} it is the host's`,
  });
}

async function chooseSubnets(
  context: Context,
  { subnets }: NetworkRequest,
  { isOpen = false, gateways }: Settled,
): Promise<readonly Subnet[]> {
  const known = await knownSubnets(context);
  if (subnets.length === 0) return isOpen ? [] : [await chooseSubnet(known, false)];
  const wanted = subnets.map(parseSubnet);
  for (const [index, subnet] of wanted.entries()) {
    refuseAddress(subnets[index] as string, subnet);
    refuseSpecial(subnet);
    if (wanted.findIndex(({ family }) => family === subnet.family) !== index) {
      throw new InvalidInputError(`cannot use subnet ${formatSubnet(subnet)}: a second one of its family`, {
        hint: 'one IPv4 and one IPv6 subnet a network',
      });
    }
    if (known.some((other) => overlap(other, subnet))) {
      throw new ConflictError(`cannot use subnet ${formatSubnet(subnet)}: another network's overlaps`, {
        hint: 'minict network ls',
      });
    }
    // What is another's has the route itself; and without an address on it there is none.
    if (gateways === 'first') await refuseOverlap(subnet, 'take another subnet, or remove that route');
  }
  return wanted;
}

/** In place of an address: the host has none in it, so that a container can have the first one, and be the router. */
const NO_GATEWAY = 'none';

/** Each subnet with the gateway asked for; without one, its first address on minict's own bridge, one that another's has there. */
function chooseGateways(
  subnets: readonly Subnet[],
  { gateways, internal }: NetworkRequest,
  known: Settled['gateways'],
): NetworkRecord['subnets'] {
  if (internal && gateways.length > 0) {
    throw new InvalidInputError('cannot use --gateway and --internal together', { hint: 'take one of them' });
  }
  const isWithout = gateways.includes(NO_GATEWAY);
  if (isWithout && gateways.length > 1) {
    throw new InvalidInputError(`cannot use --gateway ${NO_GATEWAY} and another one together`, {
      hint: 'take one of them',
    });
  }
  if (isWithout) return subnets.map((subnet) => ({ subnet: formatSubnet(subnet) }));
  const wanted = gateways.map(parseIp);
  for (const gateway of wanted) {
    if (subnets.some((subnet) => contains(subnet, gateway))) continue;
    throw new InvalidInputError(`cannot use gateway ${formatIp(gateway)}: outside the network's subnets`, {
      hint: subnets.length === 0 ? '--subnet SUBNET' : `an address in ${subnets.map(formatSubnet).join(' or ')}`,
    });
  }
  return subnets.map((subnet) => {
    const there = known === 'first' ? [] : known.map(parseIp);
    const own = there.find((address) => contains(subnet, address));
    const gateway = wanted.find((address) => contains(subnet, address)) ?? own;
    if (internal) return { subnet: formatSubnet(subnet) };
    if (gateway !== undefined) return { subnet: formatSubnet(subnet), gateway: formatIp(gateway) };
    return known === 'first' ? withGateway(subnet) : { subnet: formatSubnet(subnet) };
  });
}

/** Throws InvalidInputError, HostError. */
function refuseNat({ bridge, internal, uplink, subnets, driver }: NetworkRequest): void {
  requireTool('nft');
  const refuse = (option: string, hint: string) =>
    new InvalidInputError(`cannot use --nat and ${option} together`, { hint });
  if (driver === 'macvlan')
    throw refuse('driver macvlan', 'the host, which would do it, and its children do not hear each other');
  if (bridge !== undefined) throw refuse('--bridge', "NAT is for networks with minict's own bridge");
  if (internal) throw refuse('--internal', 'what stays inside needs no NAT');
  if (uplink !== undefined && subnets.length === 0) {
    throw new InvalidInputError('cannot use --nat with --uplink and no --subnet', { hint: '--subnet SUBNET' });
  }
}

/** Throws InvalidInputError where containers have no way to the host, which is to pass on what they send. */
function requireGateway({ subnets }: Pick<NetworkRecord, 'subnets'>): void {
  if (subnets.some(({ gateway }) => gateway !== undefined)) return;
  throw new InvalidInputError('cannot use --nat: the host has no address in the network', {
    hint: '--gateway ADDRESS, in the subnet',
  });
}

/** The record that a request comes to. Writes nothing. Throws InvalidInputError, ConflictError, NotFoundError. */
export async function planNewNetwork(
  context: Context,
  instance: string,
  request: NetworkRequest,
): Promise<NetworkRecord> {
  const { name, internal, driver = 'bridge' } = request;
  if ((await readNetwork(context.roots, name)) !== undefined) {
    throw new ConflictError(`cannot create network ${name}: it is there already`, {
      hint: `minict network inspect ${name}; or minict network rm ${name}, for another one`,
    });
  }
  requireKnown(driver, request);
  if (request.nat) refuseNat(request);
  if (driver === 'bridge' && request.uplink !== undefined) await refuseParent(context, request.uplink);
  const own = {
    link: networkLinkName(instance, name),
    tunnel: networkLinkName(instance, `${name}-vx`),
    mac: derivedMac(instance, name, 'bridge'),
  };
  const settled = await networkDriver({ driver }).settle(request, own);
  const { settings } = settled;
  const subnets = chooseGateways(await chooseSubnets(context, request, settled), request, settled.gateways);
  if (request.nat) requireGateway({ subnets });
  requireIpv6Mtu(
    settings.mtuBytes,
    subnets.map(({ subnet }) => subnet),
  );
  const made = settings.foreign ? [] : [settings.link, settings.vxlan?.link].filter((link) => link !== undefined);
  const taken = made.find((link) => interfaceIndex(link) !== 0);
  if (taken !== undefined) {
    throw new ConflictError(`cannot create network ${name}: the host has an interface ${taken}`, {
      hint: `take another name; a bridge can be used as it is: minict network create NAME --bridge ${taken}`,
    });
  }
  const record = {
    version: 1,
    name,
    driver,
    ...settings,
    ...(internal ? { internal } : {}),
    ...(request.nat ? { nat: true as const } : {}),
    subnets,
    members: {},
  } as const;
  if (record.vxlan !== undefined) {
    const { refuseSameVni } = await import('../network/vxlan.ts');
    refuseSameVni(record, await readNetworks(context.roots, listNetworks(context.roots)));
  }
  return record;
}

/** Makes it, on the host too; all of it or nothing. Returns the rules of the host's firewall that will stop its NAT. */
export async function createNetwork(
  context: Context,
  instance: string,
  request: NetworkRequest,
): Promise<readonly ForeignDrop[]> {
  requireTools();
  const lock = lockNetworks(context.roots);
  try {
    const record = await planNewNetwork(context, instance, request);
    // From here on it is there: a killed minict's interface is made by its first use, or goes with `network rm`.
    await writeNetwork(context.roots, record);
    try {
      ensureHosts(networkPaths(context.roots, record.name).hosts);
      await ensureLink(context, instance, record, lock.fd);
      if (record.nat) await (await import('./gateway.ts')).ensureGateway(context, instance, lock.fd);
    } catch (error) {
      if (record.nat) await removeLink(context, instance, record, lock.fd);
      removeNetwork(context.roots, record.name);
      throw error;
    }
    recordEvent(context.roots, { type: 'network', action: 'create', name: record.name });
    return record.nat ? (await findDrops(context.roots, [record])).filter(({ path }) => path === 'routed') : [];
  } finally {
    lock.release();
  }
}

function refuseMembers({ name, taps = {} }: NetworkRecord, members: readonly string[]): void {
  const [tap] = Object.keys(taps);
  if (tap !== undefined) {
    throw new ConflictError(`cannot remove network ${name}: tap ${tap} is in it`, {
      hint: `minict network tap rm ${tap}`,
    });
  }
  if (members.length === 0) return;
  const [first = ''] = members;
  const shown =
    members.length > 3 ? `${members.slice(0, 3).join(', ')} and ${members.length - 3} more` : members.join(', ');
  throw new ConflictError(`cannot remove network ${name}: in use by ${shown}`, {
    hint: `minict network disconnect ${name} ${first}, or minict rm ${first}`,
  });
}

/** Throws NotFoundError, ConflictError while somebody is in it. */
export async function requireUnused(context: Context, instance: string, name: string): Promise<NetworkRecord> {
  const record = await getNetwork(context.roots, name);
  refuseMembers(record, membersOf(context, record));
  if (!(await linkInUse(context, instance, record))) return record;
  throw new ConflictError(`cannot remove network ${name}: ${record.link} has ports that are not minict's`, {
    hint: record.driver === 'ovs' ? `ovs-vsctl list-ports ${record.link}` : `ip link show master ${record.link}`,
  });
}

/** Throws NotFoundError, ConflictError while somebody is in it, HostError. */
export async function deleteNetwork(context: Context, instance: string, name: string): Promise<void> {
  requireTools();
  const lock = lockNetworks(context.roots);
  try {
    const record = await requireUnused(context, instance, name);
    await removeLink(context, instance, record, lock.fd);
    removeNetwork(context.roots, name);
    recordEvent(context.roots, { type: 'network', action: 'rm', name });
    await settlePorts(context, lock.fd);
  } finally {
    lock.release();
  }
}
