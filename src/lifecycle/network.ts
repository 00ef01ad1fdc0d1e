/** The default network: chooses its subnet at first use, makes its bridge, hands out addresses. */
import { rmSync } from 'node:fs';
import { ConflictError, HostError, InvalidInputError } from '../errors.ts';
import { type HostRoute, readRoutes } from '../host/facts.ts';
import { interfaceIndex } from '../host/syscalls.ts';
import { planBridge } from '../network/bridge.ts';
import { applySteps } from '../runner/apply.ts';
import { Journal } from '../runner/journal.ts';
import { undoSteps } from '../runner/undo.ts';
import {
  formatIpv4,
  formatSubnet,
  isPrivate,
  overlap,
  parseAddress,
  parseIpv4,
  parseSubnet,
  type Subnet,
  subnetOf,
} from '../spec/address.ts';
import { derivedMac } from '../spec/name.ts';
import { type Lock, lockNetworks } from '../state/locks.ts';
import {
  allocateAddress,
  ensureHostsFile,
  type NetworkRecord,
  readNetwork,
  removeNetwork,
  requireHostAddress,
  writeNetwork,
} from '../state/network.ts';
import { networkPaths } from '../state/paths.ts';
import type { Step } from '../step.ts';
import { type Context, spawnContext } from './context.ts';

export const DEFAULT_NETWORK = 'minict0';
const DEFAULT_SUBNET = '192.168.0.0/24';

export interface AddressRequest {
  readonly name: string;
  readonly hostname: string;
  readonly ip: string | undefined;
  /** Default route; the bridge where it is undefined. */
  readonly gateway: string | undefined;
}

/** What a container gets in the network, as it is or would be. */
export interface Assignment {
  readonly record: NetworkRecord;
  readonly address: string;
  readonly prefix: number;
  readonly gateway: string;
}

/** The host's route into a subnet. Half of all addresses is a default route in two pieces, as VPNs set it. */
function routeInto(subnet: Subnet, routes: readonly HostRoute[]): HostRoute | undefined {
  return routes.find((route) => route.subnet.prefix > 1 && overlap(route.subnet, subnet));
}

/** Throws ConflictError where a host route overlaps: a bridge there would take the host's own traffic. */
function refuseOverlap(subnet: Subnet, hint: string): void {
  const route = routeInto(subnet, readRoutes());
  if (route === undefined) return;
  throw new ConflictError(
    `cannot use subnet ${formatSubnet(subnet)}: the host has a route ${formatSubnet(route.subnet)} on ${route.dev}`,
    { hint },
  );
}

/** `wanted`, or the next free /24 from 192.168.0.0. Throws ConflictError where a host route overlaps. */
function chooseSubnet(wanted: Subnet | undefined): Subnet {
  if (wanted !== undefined) {
    refuseOverlap(wanted, 'leave out --ip, or take an address in another private subnet');
    return wanted;
  }
  const routes = readRoutes();
  const first = parseSubnet(DEFAULT_SUBNET);
  for (let index = 0; index < 256; index += 1) {
    const subnet = { base: first.base + index * 256, prefix: first.prefix };
    if (routeInto(subnet, routes) === undefined) return subnet;
  }
  throw new ConflictError('cannot choose a subnet: the host has routes over all of 192.168.0.0/16', {
    hint: 'use --ip',
  });
}

function newRecord(instance: string, ip: string | undefined): NetworkRecord {
  let wanted: Subnet | undefined;
  if (ip !== undefined) {
    const { address, prefix } = parseAddress(ip);
    wanted = subnetOf(address, prefix ?? 24);
    if (!isPrivate(wanted)) {
      throw new InvalidInputError(`cannot use address '${ip}': ${formatSubnet(wanted)} is no private subnet`, {
        hint: 'a part of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16 (RFC 1918)',
      });
    }
  }
  const subnet = chooseSubnet(wanted);
  return {
    version: 1,
    name: DEFAULT_NETWORK,
    bridge: DEFAULT_NETWORK,
    mac: derivedMac(instance, DEFAULT_NETWORK, 'bridge'),
    subnet: formatSubnet(subnet),
    gateway: formatIpv4(subnet.base + 1),
    leases: {},
  };
}

export function planNetwork(record: NetworkRecord, instance: string): Step[] {
  return planBridge({
    bridge: record.bridge,
    mac: record.mac,
    gateway: record.gateway,
    prefix: parseSubnet(record.subnet).prefix,
    alias: `minict:${instance}:${record.name}`,
  });
}

/** The network as it is or would be, and the address that `request` gets. Writes nothing. */
export async function chooseAddress(context: Context, instance: string, request: AddressRequest): Promise<Assignment> {
  const record = (await knownNetwork(context)) ?? newRecord(instance, request.ip);
  const prefix = parseSubnet(record.subnet).prefix;
  const wanted = request.ip === undefined ? undefined : parseAddress(request.ip);
  const address = allocateAddress(context.roots, record, request.name, wanted?.address);
  if (wanted?.prefix !== undefined && wanted.prefix !== prefix) {
    throw new InvalidInputError(`cannot use address ${request.ip}: network ${record.name} is ${record.subnet}`);
  }
  return { record, address, prefix, gateway: chooseGateway(record, address, request.gateway) };
}

/** One without containers and without its bridge is as good as none: a reboot has been since. */
async function knownNetwork(context: Context): Promise<NetworkRecord | undefined> {
  const record = await readNetwork(context.roots, DEFAULT_NETWORK);
  if (record === undefined || Object.keys(record.leases).length > 0) return record;
  return bridgeState(context, record) === 'missing' ? undefined : record;
}

function chooseGateway(record: NetworkRecord, address: string, wanted: string | undefined): string {
  if (wanted === undefined) return record.gateway;
  requireHostAddress(record, parseIpv4(wanted), `gateway ${wanted}`);
  if (wanted === address) throw new InvalidInputError(`cannot use gateway ${wanted}: the container's own address`);
  return wanted;
}

/** Whether minict's own bridge is there, the one its journal knows. */
export function bridgeState(context: Context, record: NetworkRecord): 'up' | 'missing' | 'foreign' {
  const index = interfaceIndex(record.bridge);
  if (index === 0) return 'missing';
  const state = new Journal(networkPaths(context.roots, record.name).journal).read();
  return state?.identities.get('bridge')?.[record.bridge] === String(index) ? 'up' : 'foreign';
}

async function ensureBridge(context: Context, instance: string, record: NetworkRecord, lockFd: number): Promise<void> {
  const state = bridgeState(context, record);
  if (state === 'up') return;
  if (state === 'foreign') {
    throw new ConflictError(
      `cannot make bridge ${record.bridge}: an interface of that name is there, and not this minict's`,
      {
        hint: `ip -d link show ${record.bridge}; --no-network does without`,
      },
    );
  }
  const subnet = parseSubnet(record.subnet);
  refuseOverlap(subnet, 'remove that route; or the containers, then minict system prune, for another subnet');
  const journal = new Journal(networkPaths(context.roots, record.name).journal);
  journal.remove();
  await applySteps(
    `make network ${record.name}`,
    planNetwork(record, instance),
    journal,
    spawnContext(context, lockFd),
  );
}

/** An address that nobody else can take: the networks stay locked until it is committed or given back. */
export interface Reservation extends Assignment {
  /** Writes the lease, and the hosts file of all members. */
  commit(): void;
  /** Lets the others go on; committed or not. */
  release(): void;
}

/**
 * Finds an address for `request` and makes sure that the bridge is there. What is left to do takes no decision, so it
 * can be done while tools are at work: `commit`.
 */
export async function reserveAddress(
  context: Context,
  instance: string,
  request: AddressRequest,
): Promise<Reservation> {
  let lock: Lock | undefined = lockNetworks(context.roots);
  const unlock = () => {
    lock?.release();
    lock = undefined;
  };
  try {
    const assignment = await chooseAddress(context, instance, request);
    const { record, address } = assignment;
    await ensureBridge(context, instance, record, lock.fd);
    ensureHostsFile(context.roots, record.name);
    return {
      ...assignment,
      commit() {
        const others = Object.entries(record.leases).filter(([, lease]) => lease.name !== request.name);
        const leases = { ...Object.fromEntries(others), [address]: { name: request.name, hostname: request.hostname } };
        writeNetwork(context.roots, { ...record, leases });
        unlock();
      },
      release: unlock,
    };
  } catch (error) {
    unlock();
    throw error;
  }
}

/** Puts the bridge of a reserved address back (after a reboot, or when somebody removed it). */
export async function repairNetwork(
  context: Context,
  instance: string,
  name: string,
): Promise<NetworkRecord | undefined> {
  const lock = lockNetworks(context.roots);
  try {
    const record = await readNetwork(context.roots, name);
    if (record !== undefined) await ensureBridge(context, instance, record, lock.fd);
    return record;
  } finally {
    lock.release();
  }
}

/** Gives up every address of the containers. */
export async function leaveNetwork(context: Context, names: readonly string[]): Promise<void> {
  const lock = lockNetworks(context.roots);
  try {
    const record = await readNetwork(context.roots, DEFAULT_NETWORK);
    if (record === undefined) return;
    const leases = Object.fromEntries(Object.entries(record.leases).filter(([, lease]) => !names.includes(lease.name)));
    writeNetwork(context.roots, { ...record, leases });
  } finally {
    lock.release();
  }
}

/** Removes the default network where nobody holds an address in it; true where there was one. */
export async function pruneNetwork(context: Context, dryRun: boolean): Promise<boolean> {
  const lock = lockNetworks(context.roots);
  try {
    const record = await readNetwork(context.roots, DEFAULT_NETWORK);
    if (record === undefined || Object.keys(record.leases).length > 0) return false;
    if (dryRun) return true;
    const path = networkPaths(context.roots, record.name).journal;
    const state = new Journal(path).read();
    const left = state === undefined ? [] : await undoSteps(state, spawnContext(context, lock.fd));
    if (left.length > 0) throw new HostError(`cannot remove network ${record.name}: ${left.join('; ')}`);
    rmSync(path, { force: true });
    removeNetwork(context.roots, record.name);
    return true;
  } finally {
    lock.release();
  }
}
