/** Networks that are asked for by name: made, listed with their members, removed. */
import { ConflictError, InvalidInputError } from '../errors.ts';
import type { ForeignDrop } from '../host/firewall/drops.ts';
import { interfaceIndex } from '../host/syscalls.ts';
import { requireTool, requireTools } from '../host/tool.ts';
import { contains, formatIp, formatSubnet, overlap, parseIp, parseSubnet, type Subnet } from '../spec/address.ts';
import { derivedMac, networkLinkName } from '../spec/name.ts';
import { ensureHosts } from '../state/hosts.ts';
import { lockNetworks } from '../state/locks.ts';
import {
  getNetwork,
  isHeld,
  listNetworks,
  type NetworkRecord,
  readNetwork,
  removeNetwork,
  writeNetwork,
} from '../state/network.ts';
import { networkPaths } from '../state/paths.ts';
import type { Context } from './context.ts';
import { findDrops } from './create.ts';
import { knownSubnets, settlePorts, withGateway } from './network.ts';
import { ensureLink, linkInUse, linkState, removeLink } from './network-link.ts';
import { chooseSubnet, refuseOverlap } from './subnet.ts';

/** What is asked for; absent is what minict chooses, or nothing. */
export interface NetworkRequest {
  readonly name: string;
  readonly subnets: readonly string[];
  readonly gateways: readonly string[];
  readonly internal?: boolean;
  /** What leaves it for elsewhere gets the host's address. */
  readonly nat?: boolean;
  readonly mtuBytes?: number | undefined;
  /** A bridge of the host's, used as it is. */
  readonly bridge?: string | undefined;
  /** An interface of the host's that becomes a port. */
  readonly uplink?: string | undefined;
}

async function chooseSubnets(
  context: Context,
  { subnets, bridge, uplink }: NetworkRequest,
): Promise<readonly Subnet[]> {
  const known = await knownSubnets(context);
  // Where a cable leads, others give out the addresses.
  if (subnets.length === 0) return bridge === undefined && uplink === undefined ? [chooseSubnet(undefined, known)] : [];
  const wanted = subnets.map(parseSubnet);
  for (const [index, subnet] of wanted.entries()) {
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
    // A foreign bridge has the route itself.
    if (bridge === undefined) refuseOverlap(subnet, 'take another subnet, or remove that route');
  }
  return wanted;
}

/** In place of an address: the host has none in it, so that a container can have the first one, and be the router. */
const NO_GATEWAY = 'none';

/** Each subnet with the gateway asked for; without one, its first address on minict's own bridge, the foreign one's own there. */
function chooseGateways(
  subnets: readonly Subnet[],
  { gateways, bridge, internal }: NetworkRequest,
  foreign: readonly string[],
): NetworkRecord['subnets'] {
  if (internal && gateways.length > 0) {
    throw new InvalidInputError('cannot use --gateway and --internal together', { hint: 'take one of them' });
  }
  const isWithout = gateways.includes(NO_GATEWAY);
  if (isWithout && gateways.length > 1) {
    throw new InvalidInputError(`cannot use --gateway ${NO_GATEWAY} and another one together`);
  }
  if (isWithout) return subnets.map((subnet) => ({ subnet: formatSubnet(subnet) }));
  const wanted = gateways.map(parseIp);
  for (const gateway of wanted) {
    if (subnets.some((subnet) => contains(subnet, gateway))) continue;
    throw new InvalidInputError(`cannot use gateway ${formatIp(gateway)}: outside the network's subnets`);
  }
  return subnets.map((subnet) => {
    const own = bridge === undefined ? undefined : foreign.map(parseIp).find((address) => contains(subnet, address));
    const gateway = wanted.find((address) => contains(subnet, address)) ?? own;
    if (internal) return { subnet: formatSubnet(subnet) };
    if (gateway !== undefined) return { subnet: formatSubnet(subnet), gateway: formatIp(gateway) };
    return bridge === undefined ? withGateway(subnet) : { subnet: formatSubnet(subnet) };
  });
}

/** Throws InvalidInputError, HostError. */
function refuseNat({ bridge, internal, uplink, subnets }: NetworkRequest): void {
  requireTool('nft');
  const refuse = (option: string, hint: string) =>
    new InvalidInputError(`cannot use --nat and ${option} together`, { hint });
  if (bridge !== undefined) throw refuse('--bridge', "NAT is for networks with minict's own bridge");
  if (internal) throw refuse('--internal', 'what stays inside needs no NAT');
  if (uplink !== undefined && subnets.length === 0) {
    throw new InvalidInputError('cannot use --nat with --uplink and no --subnet', { hint: '--subnet SUBNET' });
  }
}

/** The record that a request comes to. Writes nothing. Throws InvalidInputError, ConflictError, NotFoundError. */
export async function planNewNetwork(
  context: Context,
  instance: string,
  request: NetworkRequest,
): Promise<NetworkRecord> {
  const { name, bridge, uplink, internal, mtuBytes } = request;
  if ((await readNetwork(context.roots, name)) !== undefined) {
    throw new ConflictError(`cannot create network ${name}: it is there already`, {
      hint: `minict network rm ${name}`,
    });
  }
  if (bridge !== undefined && (uplink !== undefined || mtuBytes !== undefined)) {
    const option = uplink === undefined ? '--mtu' : '--uplink';
    throw new InvalidInputError(`cannot use ${option} and --bridge together`, {
      hint: `a bridge of the host's stays as it is`,
    });
  }
  if (request.nat) refuseNat(request);
  const interfaces = await import('../host/interfaces.ts');
  const foreign = bridge === undefined ? undefined : await interfaces.requireBridge(bridge);
  const spare = uplink === undefined ? undefined : await interfaces.requireSpareLink(uplink);
  const addresses = (foreign?.addresses ?? []).map((address) => address.split('/')[0] as string);
  const subnets = chooseGateways(await chooseSubnets(context, request), request, addresses);
  const common = { version: 1, name, driver: 'bridge', subnets, members: {} } as const;
  const settings = {
    ...common,
    ...(internal ? { internal: true as const } : {}),
    ...(request.nat ? { nat: true as const } : {}),
  };
  if (bridge !== undefined) return { ...settings, link: bridge, foreign: true };
  const link = networkLinkName(instance, name);
  if (interfaceIndex(link) !== 0) {
    throw new ConflictError(`cannot create network ${name}: the host has an interface ${link}`, {
      hint: `take another name; a bridge can be used as it is: minict network create NAME --bridge ${link}`,
    });
  }
  return {
    ...settings,
    link,
    mac: derivedMac(instance, name, 'bridge'),
    ...(mtuBytes === undefined ? {} : { mtuBytes }),
    ...(spare === undefined ? {} : { uplink: { link: spare.name, wasUp: spare.isUp } }),
  };
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
    return record.nat ? (await findDrops([record])).filter(({ path }) => path === 'routed') : [];
  } finally {
    lock.release();
  }
}

export interface NetworkView {
  readonly record: NetworkRecord;
  /** Containers that are in it, up or not. */
  readonly members: readonly string[];
  readonly state: 'up' | 'missing' | 'foreign' | 'broken';
}

/** Throws NotFoundError. */
export async function viewNetwork(context: Context, instance: string, name: string): Promise<NetworkView> {
  const record = await getNetwork(context.roots, name);
  const members = Object.keys(record.members).filter((member) => isHeld(context.roots, member));
  const state = await linkState(context, instance, record);
  const shown = { up: 'up', unrecorded: 'up', 'half-made': 'broken', missing: 'missing', foreign: 'foreign' } as const;
  const isWithoutNat = record.nat && shown[state] === 'up' && !(await import('./gateway.ts')).hasTable(context);
  return { record, members, state: isWithoutNat ? 'broken' : shown[state] };
}

function refuseMembers({ record: { name, taps = {} }, members }: NetworkView): void {
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
  const view = await viewNetwork(context, instance, name);
  refuseMembers(view);
  const { record } = view;
  if (!(await linkInUse(context, instance, record))) return record;
  throw new ConflictError(`cannot remove network ${name}: ${record.link} has ports that are not minict's`, {
    hint: `ip link show master ${record.link}`,
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
    await settlePorts(context, lock.fd);
  } finally {
    lock.release();
  }
}

export function isUnused({ record: { taps = {} }, members }: NetworkView): boolean {
  return members.length === 0 && Object.keys(taps).length === 0;
}

/** Names of networks that nobody is in. */
export async function unusedNetworks(context: Context, instance: string): Promise<string[]> {
  const views = await Promise.all(listNetworks(context.roots).map((name) => viewNetwork(context, instance, name)));
  return views.filter(isUnused).map(({ record }) => record.name);
}
