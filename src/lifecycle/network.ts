/** Networks: the default one, made at first use; members, and what is given up with them. */
import { existsSync, rmSync } from 'node:fs';
import { ConflictError, InvalidInputError } from '../errors.ts';
import {
  formatIp,
  formatSubnet,
  isPrivate,
  parseAddress,
  parseSubnet,
  type Subnet,
  subnetOf,
} from '../spec/address.ts';
import { derivedMac } from '../spec/name.ts';
import { lockNetworks } from '../state/locks.ts';
import {
  finishWriting,
  getNetwork,
  isHeld,
  listNetworks,
  type NetworkRecord,
  readNetwork,
  readNetworks,
  removeNetwork,
  strayNetworkFiles,
  withoutMembers,
  writeNetwork,
} from '../state/network.ts';
import { gatewayJournalPath } from '../state/paths.ts';
import { readInstance } from '../state/store.ts';
import type { Context } from './context.ts';
import { isThere, linkInUse, linkState } from './link-state.ts';
import { removeLink } from './network-link.ts';
import { chooseSubnet, subnetOn, takeSubnet } from './subnet.ts';

export const DEFAULT_NETWORK = 'minict0';

/** A subnet with its first address as the gateway. */
export function withGateway(subnet: Subnet): NetworkRecord['subnets'][number] {
  return { subnet: formatSubnet(subnet), gateway: formatIp({ family: subnet.family, value: subnet.base + 1n }) };
}

function defaultRecord(instance: string, subnet: Subnet): NetworkRecord {
  return {
    version: 1,
    name: DEFAULT_NETWORK,
    driver: 'bridge',
    isDefault: true,
    link: DEFAULT_NETWORK,
    mac: derivedMac(instance, DEFAULT_NETWORK, 'bridge'),
    subnets: [withGateway(subnet)],
    members: {},
  };
}

/** Subnets of all networks there are, up or not. */
export async function knownSubnets(context: Context): Promise<Subnet[]> {
  const records = await Promise.all(listNetworks(context.roots).map((name) => readNetwork(context.roots, name)));
  return records.flatMap((record) => (record?.subnets ?? []).map(({ subnet }) => parseSubnet(subnet)));
}

async function newDefault(context: Context, instance: string, ip: string | undefined): Promise<NetworkRecord> {
  if (ip === undefined) return defaultRecord(instance, await chooseSubnet(await knownSubnets(context), true));
  const { address, prefix } = parseAddress(ip);
  const wanted = subnetOf(address, prefix ?? 24);
  if (address.family === 6 || !isPrivate(wanted)) {
    throw new InvalidInputError(`cannot use address '${ip}': ${formatSubnet(wanted)} is no private subnet`, {
      hint: 'a part of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16 (RFC 1918)',
    });
  }
  return defaultRecord(instance, await takeSubnet(wanted));
}

/** Of a bridge that has lost its record: with the state folder, or since a script made it. */
function lostDefault(instance: string): NetworkRecord {
  return defaultRecord(instance, subnetOn(DEFAULT_NETWORK));
}

/** One without containers and without its bridge is as good as none: a reboot has been since. */
async function knownDefault(context: Context, instance: string): Promise<NetworkRecord | undefined> {
  const record = await readNetwork(context.roots, DEFAULT_NETWORK);
  if (record !== undefined && (Object.keys(record.members).length > 0 || record.taps !== undefined)) return record;
  const state = await linkState(context, instance, record ?? lostDefault(instance));
  if (record !== undefined) return state === 'missing' ? undefined : record;
  return state === 'up' || state === 'unrecorded' ? lostDefault(instance) : undefined;
}

/** The network as it is, or the default one as it would be; `ip` may choose that one's subnet. Throws NotFoundError. */
export async function findNetwork(
  context: Context,
  instance: string,
  name: string,
  ip: string | undefined,
): Promise<NetworkRecord> {
  if (name !== DEFAULT_NETWORK) return getNetwork(context.roots, name);
  return (await knownDefault(context, instance)) ?? newDefault(context, instance, ip);
}

/** Throws ConflictError for an interface of the host's whose children a network gives to containers. */
export async function refuseParent({ roots }: Context, device: string): Promise<void> {
  const records = await readNetworks(roots, listNetworks(roots));
  const network = records.find(({ driver, link }) => driver === 'macvlan' && link === device);
  if (network === undefined) return;
  throw new ConflictError(`cannot use interface ${device}: network ${network.name} has it`, {
    hint: `minict network rm ${network.name}`,
  });
}

/** Gives up every address of the containers in `networks`, or in all of them. */
export async function leaveNetworks(
  context: Context,
  names: readonly string[],
  networks: readonly string[] = listNetworks(context.roots),
): Promise<void> {
  if (networks.length === 0) return;
  const lock = lockNetworks(context.roots);
  try {
    for (const network of networks) {
      const record = await readNetwork(context.roots, network);
      if (record === undefined) continue;
      const isMember = names.some((name) => record.members[name] !== undefined);
      if (isMember) await writeNetwork(context.roots, withoutMembers(record, names));
      else await finishWriting(context.roots, record);
    }
    await settlePorts(context, lock.fd);
  } finally {
    lock.release();
  }
}

/** Removes what who was killed left of networks: the files of those that are not. */
export function pruneStray({ roots }: Context, dryRun: boolean): string[] {
  const lock = lockNetworks(roots);
  try {
    const stray = strayNetworkFiles(roots);
    if (!dryRun) for (const path of stray) rmSync(path);
    return stray;
  } finally {
    lock.release();
  }
}

/** What NAT and published ports have on the host goes with the last who asks for it. The caller holds the networks' lock. */
export async function settlePorts(context: Context, lockFd: number): Promise<void> {
  const instance = readInstance(context.roots);
  if (instance === undefined || !existsSync(gatewayJournalPath(context.roots))) return;
  await (await import('./gateway.ts')).settleGateway(context, instance, lockFd);
}

/** Removes the default network where nobody is in it; true where there was one. */
export async function pruneDefault(context: Context, instance: string, dryRun: boolean): Promise<boolean> {
  const lock = lockNetworks(context.roots);
  try {
    if (!dryRun) await settlePorts(context, lock.fd);
    const known = await readNetwork(context.roots, DEFAULT_NETWORK);
    const record = known ?? lostDefault(instance);
    if (known === undefined && !(await isThere(context, instance, record))) return false;
    if (Object.keys(record.members).some((name) => isHeld(context.roots, name))) return false;
    if (Object.keys(record.taps ?? {}).length > 0) return false;
    if (await linkInUse(context, instance, record)) return false;
    if (dryRun) return true;
    await removeLink(context, instance, record, lock.fd);
    removeNetwork(context.roots, record.name);
    return true;
  } finally {
    lock.release();
  }
}
