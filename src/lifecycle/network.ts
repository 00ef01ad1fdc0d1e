/** The default network: made at first use, hands out addresses, goes when nobody is in it. */
import { ConflictError, InvalidInputError } from '../errors.ts';
import {
  formatIpv4,
  formatSubnet,
  isPrivate,
  parseAddress,
  parseIpv4,
  parseSubnet,
  type Subnet,
  subnetOf,
} from '../spec/address.ts';
import type { NicSpec } from '../spec/container.ts';
import { derivedMac, hostLinkName } from '../spec/name.ts';
import { type Lock, lockNetworks } from '../state/locks.ts';
import {
  allocateAddress,
  ensureHostsFile,
  finishWriting,
  isHeld,
  type NetworkRecord,
  readNetwork,
  removeNetwork,
  requireHostAddress,
  writeNetwork,
} from '../state/network.ts';
import { bridgeInUse, bridgeState, ensureBridge, isThere, removeBridge } from './bridge.ts';
import type { Context } from './context.ts';
import { chooseSubnet, subnetOn } from './subnet.ts';

export const DEFAULT_NETWORK = 'minict0';

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

function recordOf(instance: string, subnet: Subnet): NetworkRecord {
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
  return recordOf(instance, chooseSubnet(wanted));
}

/** Of a bridge that has lost its record: with the state folder, or since a script made it. */
function lostRecord(instance: string): NetworkRecord {
  return recordOf(instance, subnetOn(DEFAULT_NETWORK));
}

/** The network as it is or would be, and the address that `request` gets. Writes nothing. */
export async function chooseAddress(context: Context, instance: string, request: AddressRequest): Promise<Assignment> {
  const record = (await knownNetwork(context, instance)) ?? newRecord(instance, request.ip);
  const prefix = parseSubnet(record.subnet).prefix;
  const wanted = request.ip === undefined ? undefined : parseAddress(request.ip);
  const address = allocateAddress(context.roots, record, request.name, wanted?.address);
  if (wanted?.prefix !== undefined && wanted.prefix !== prefix) {
    throw new InvalidInputError(`cannot use address ${request.ip}: network ${record.name} is ${record.subnet}`);
  }
  return { record, address, prefix, gateway: chooseGateway(record, address, request.gateway) };
}

/** One without containers and without its bridge is as good as none: a reboot has been since. */
async function knownNetwork(context: Context, instance: string): Promise<NetworkRecord | undefined> {
  const record = await readNetwork(context.roots, DEFAULT_NETWORK);
  if (record !== undefined && Object.keys(record.leases).length > 0) return record;
  const state = await bridgeState(context, instance, record ?? lostRecord(instance));
  if (record !== undefined) return state === 'missing' ? undefined : record;
  return state === 'up' || state === 'unrecorded' ? lostRecord(instance) : undefined;
}

function chooseGateway(record: NetworkRecord, address: string, wanted: string | undefined): string {
  if (wanted === undefined) return record.gateway;
  requireHostAddress(record, parseIpv4(wanted), `gateway ${wanted}`);
  if (wanted === address) throw new InvalidInputError(`cannot use gateway ${wanted}: the container's own address`);
  return wanted;
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
    await ensureBridge(context, instance, assignment.record, lock.fd);
    ensureHostsFile(context.roots, assignment.record.name);
    return {
      ...assignment,
      commit() {
        writeLease(context, assignment, request);
        unlock();
      },
      release: unlock,
    };
  } catch (error) {
    unlock();
    throw error;
  }
}

function writeLease({ roots }: Context, { record, address }: Assignment, { name, hostname }: AddressRequest): void {
  const others = Object.entries(record.leases).filter(([, lease]) => lease.name !== name);
  writeNetwork(roots, { ...record, leases: { ...Object.fromEntries(others), [address]: { name, hostname } } });
}

/**
 * Of a container that is not up: its bridge comes with its first start. The first of `wishes` that can be met, or
 * `otherwise`; `causes` tell why those before could not. Throws what chooseAddress throws of the last.
 */
export async function leaseAddress(
  context: Context,
  instance: string,
  wishes: readonly AddressRequest[],
  otherwise: AddressRequest,
): Promise<{ assignment: Assignment; causes: readonly string[] }> {
  const lock = lockNetworks(context.roots);
  const causes: string[] = [];
  const choose = async (request: AddressRequest) => {
    const assignment = await chooseAddress(context, instance, request);
    writeLease(context, assignment, request);
    return { assignment, causes };
  };
  try {
    for (const wish of wishes) {
      try {
        return await choose(wish);
      } catch (error) {
        if (!(error instanceof InvalidInputError || error instanceof ConflictError)) throw error;
        causes.push(error.message);
      }
    }
    return await choose(otherwise);
  } finally {
    lock.release();
  }
}

/** The interface that a container has with an address. */
export function nicOf(
  instance: string,
  container: string,
  { record, address, prefix, gateway }: Assignment,
  { mac, mtuBytes }: { readonly mac?: string | undefined; readonly mtuBytes?: number | undefined },
): NicSpec {
  return {
    network: record.name,
    name: 'eth0',
    hostLink: hostLinkName(instance, container, 'eth0'),
    address,
    prefix,
    gateway,
    mac: mac ?? derivedMac(instance, record.name, address),
    ...(mtuBytes === undefined ? {} : { mtuBytes }),
  };
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
    const leases = Object.entries(record.leases);
    const others = leases.filter(([, lease]) => !names.includes(lease.name));
    if (others.length === leases.length) finishWriting(context.roots, record);
    else writeNetwork(context.roots, { ...record, leases: Object.fromEntries(others) });
  } finally {
    lock.release();
  }
}

/** Removes the default network where nobody holds an address in it and nothing is in its bridge; true where there was one. */
export async function pruneNetwork(context: Context, instance: string, dryRun: boolean): Promise<boolean> {
  const lock = lockNetworks(context.roots);
  try {
    const known = await readNetwork(context.roots, DEFAULT_NETWORK);
    const record = known ?? lostRecord(instance);
    if (known === undefined && !(await isThere(context, instance, record))) return false;
    if (Object.values(record.leases).some(({ name }) => isHeld(context.roots, name))) return false;
    if (await bridgeInUse(context, instance, record)) return false;
    if (dryRun) return true;
    await removeBridge(context, instance, record, lock.fd);
    removeNetwork(context.roots, record.name);
    return true;
  } finally {
    lock.release();
  }
}
