/** A network's record: subnets, its interface on the host, and who has which address. Held under the networks' lock. */
import { existsSync, readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { z } from 'zod/mini';
import { ConflictError, InvalidInputError, NotFoundError } from '../errors.ts';
import { type Address, contains, formatIp, lastOf, parseIp, parseSubnet } from '../spec/address.ts';
import { type NicSpec, networksOf } from '../spec/container.ts';
import type { Port } from '../spec/port.ts';
import type { network } from '../spec/schema.ts';
import { hostsText, writeHosts } from './hosts.ts';
import { dropStaged, readJson, writeJson } from './json-file.ts';
import { isLocked } from './locks.ts';
import { containerPaths, networkPaths, type Roots } from './paths.ts';

export type NetworkRecord = z.infer<typeof network>;
export type NetworkSubnet = NetworkRecord['subnets'][number];

export function readNetwork(roots: Roots, name: string): Promise<NetworkRecord | undefined> {
  return readJson(networkPaths(roots, name).json, 'network', name);
}

/** Throws NotFoundError. */
export async function getNetwork(roots: Roots, name: string): Promise<NetworkRecord> {
  const record = await readNetwork(roots, name);
  if (record !== undefined) return record;
  throw new NotFoundError(`cannot find network ${name}: no such network`, {
    hint: `minict network ls; minict network create ${name}`,
  });
}

/** Those of these names that are there. */
export async function readNetworks(roots: Roots, names: readonly string[]): Promise<NetworkRecord[]> {
  const records = await Promise.all(names.map((name) => readNetwork(roots, name)));
  return records.filter((record) => record !== undefined);
}

/** A container as its networks know it. */
export interface Member {
  readonly name: string;
  readonly hostname: string;
  readonly nics: readonly NicSpec[];
  readonly ports?: readonly Port[] | undefined;
}

/** Names of all networks, in order. */
export function listNetworks(roots: Roots): string[] {
  const dir = join(roots.root, 'networks');
  const files = existsSync(dir) ? readdirSync(dir) : [];
  return files.flatMap((file) => (file.endsWith('.json') ? [file.slice(0, -'.json'.length)] : [])).sort();
}

export async function writeNetwork(roots: Roots, record: NetworkRecord): Promise<void> {
  const paths = networkPaths(roots, record.name);
  writeJson(paths.json, record);
  await writeAllHosts(roots, record);
}

/** What who was killed left between the record and the hosts files. Writes nothing where nothing was left. */
export async function finishWriting(roots: Roots, record: NetworkRecord): Promise<void> {
  dropStaged(networkPaths(roots, record.name).json);
  await writeAllHosts(roots, record);
}

async function writeAllHosts(roots: Roots, record: NetworkRecord): Promise<void> {
  writeHosts(networkPaths(roots, record.name).hosts, hostsText([record]));
  for (const [name, { networks }] of Object.entries(record.members)) {
    const path = containerPaths(roots, name).hosts;
    // Before that is there, a create writes it itself.
    if (networks === undefined || !existsSync(path)) continue;
    writeHosts(path, hostsText(await readNetworks(roots, networks)));
  }
}

export function removeNetwork(roots: Roots, name: string): void {
  const paths = networkPaths(roots, name);
  // The record last: while it is there, a prune finds the rest.
  for (const path of [paths.hosts, paths.json]) if (existsSync(path)) unlinkSync(path);
}

/** Who has which address. */
function holders({ members }: NetworkRecord): Map<string, string> {
  const pairs = Object.entries(members).flatMap(([name, { nics }]) =>
    Object.values(nics)
      .flat()
      .map((address) => [address, name] as const),
  );
  return new Map(pairs);
}

/** `taken` are addresses that are not members', by who has them: a foreign bridge, other interfaces of `name`. */
export interface Wish {
  readonly name: string;
  readonly wanted: Address | undefined;
  readonly taken: ReadonlyMap<string, string>;
}

/** Address for `name`: the wanted one, or the lowest free. Throws InvalidInputError or ConflictError with the holder. */
export function allocateAddress(
  roots: Roots,
  record: NetworkRecord,
  { subnet: text, gateway }: NetworkSubnet,
  { name, wanted, taken }: Wish,
): string {
  const subnet = parseSubnet(text);
  const held = holders(record);
  const holderOf = (address: string) => {
    const holder = held.get(address);
    return holder !== undefined && holder !== name && isHeld(roots, holder) ? holder : undefined;
  };
  if (wanted !== undefined) {
    const address = formatIp(wanted);
    requireHostAddress(record, wanted, `address ${address}`);
    if (address === gateway) {
      const whose = record.foreign || record.internal ? 'the gateway' : `the bridge ${record.link}`;
      throw new ConflictError(`cannot use address ${address}: taken by ${whose}`);
    }
    const holder = holderOf(address);
    if (holder !== undefined) throw new ConflictError(`cannot use address ${address}: taken by container ${holder}`);
    if (taken.has(address)) throw new ConflictError(`cannot use address ${address}: taken by ${taken.get(address)}`);
    return address;
  }
  const last = lastOf(subnet).value;
  const lowest = (isFree: (address: string) => boolean) => {
    for (let value = subnet.base + 1n; value < last; value += 1n) {
      const address = formatIp({ family: subnet.family, value });
      if (address !== gateway && !taken.has(address) && isFree(address)) return address;
    }
    return undefined;
  };
  // Whether a member is still there takes a look at the disk: only where no address is without one.
  const free = lowest((address) => !held.has(address)) ?? lowest((address) => holderOf(address) === undefined);
  if (free !== undefined) return free;
  throw new ConflictError(`cannot find a free address: network ${record.name}, ${text}, is full`);
}

/** The subnet that `address` is in. Throws InvalidInputError unless a host can have it there; `what` names it. */
export function requireHostAddress(record: NetworkRecord, address: Address, what: string): NetworkSubnet {
  const found = record.subnets.find(({ subnet }) => contains(parseSubnet(subnet), address));
  if (found === undefined) {
    const isSpare = record.isDefault && Object.keys(record.members).length === 0;
    const subnets = record.subnets.map(({ subnet }) => subnet).join(' and ');
    throw new InvalidInputError(
      `cannot use ${what}: outside network ${record.name}, ${subnets || 'without a subnet'}`,
      {
        hint: isSpare
          ? 'minict system prune gives up this network, which has no containers'
          : 'without the option minict chooses',
      },
    );
  }
  const subnet = parseSubnet(found.subnet);
  const isLast = subnet.family === 4 && address.value === lastOf(subnet).value;
  if (address.value === subnet.base || isLast) {
    throw new InvalidInputError(`cannot use ${what}: the network's own or its broadcast address`);
  }
  return found;
}

/** Without containers of these names. */
export function withoutMembers(record: NetworkRecord, names: readonly string[]): NetworkRecord {
  const others = Object.entries(record.members).filter(([name]) => !names.includes(name));
  return { ...record, members: Object.fromEntries(others) };
}

/** With a container and the addresses of its interfaces, in the place that it had. */
export function withMember(
  record: NetworkRecord,
  name: string,
  member: {
    readonly hostname: string;
    readonly networks: readonly string[];
    readonly ports?: readonly Port[] | undefined;
  },
  nics: Readonly<Record<string, readonly string[]>>,
): NetworkRecord {
  const networks = member.networks.length < 2 ? {} : { networks: [...member.networks] };
  const entries = Object.entries(nics).map(([nic, addresses]): [string, string[]] => [nic, [...addresses]]);
  const ports = member.ports === undefined || member.ports.length === 0 ? {} : { ports: [...member.ports] };
  const whole = { hostname: member.hostname, nics: Object.fromEntries(entries), ...networks, ...ports };
  return { ...record, members: { ...record.members, [name]: whole } };
}

/** The networks' records with a container in them, with the addresses of its interfaces. */
export function joined({ name, hostname, nics, ports }: Member, networks: readonly NetworkRecord[]): NetworkRecord[] {
  return networks.map((record) => {
    const here = nics.filter((nic) => nic.network === record.name);
    const addresses = Object.fromEntries(here.map((nic) => [nic.name, nic.addresses.map(plainAddress)]));
    return withMember(record, name, { hostname, networks: networksOf(nics), ports }, addresses);
  });
}

/** Without its length. */
export function plainAddress(cidr: string): string {
  return formatIp(parseIp(cidr.split('/')[0] ?? ''));
}

/** A member without a folder and without a create under way (which holds the container's lock) is left from a killed one. */
export function isHeld(roots: Roots, name: string): boolean {
  return existsSync(containerPaths(roots, name).dir) || isLocked(roots, name);
}
