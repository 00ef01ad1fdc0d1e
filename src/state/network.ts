/** A network's record: subnets, its interface on the host, and who has which address. Held under the networks' lock. */
import { existsSync, readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { z } from 'zod/mini';
import { AddressTakenError, InvalidInputError, NotFoundError } from '../errors.ts';
import { type Address, contains, formatIp, lastOf, parseIp, parseSubnet } from '../spec/address.ts';
import { type ContainerSpec, hasOwnHosts, type NicSpec, networkOf, networksOf } from '../spec/container.ts';
import type { Port } from '../spec/port.ts';
import type { network } from '../spec/schema.ts';
import { hostsText, writeHosts } from './hosts.ts';
import { dropStaged, readJson, stageJson, together } from './json-file.ts';
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
  readonly nics: NicSpec[];
  readonly ownHosts?: true | undefined;
  readonly extraHosts?: ContainerSpec['extraHosts'];
  readonly profile?: ContainerSpec['profile'] | undefined;
  readonly userns?: ContainerSpec['userns'] | undefined;
  readonly ports?: readonly Port[] | undefined;
}

/** Names of all networks, in order. */
export function listNetworks(roots: Roots): string[] {
  const dir = join(roots.root, 'networks');
  const files = existsSync(dir) ? readdirSync(dir) : [];
  return files.flatMap((file) => (file.endsWith('.json') ? [file.slice(0, -'.json'.length)] : [])).sort();
}

/** Files of networks that are not: who was killed left them. */
export function strayNetworkFiles(roots: Roots): string[] {
  const dir = join(roots.root, 'networks');
  const known = new Set(listNetworks(roots));
  // Anything else there is somebody's copy.
  const isStray = (file: string) => {
    const [, name] = /^(.+)\.(json\.tmp|hosts)$/.exec(file) ?? [];
    return name !== undefined && !known.has(name);
  };
  return (existsSync(dir) ? readdirSync(dir) : []).filter(isStray).map((file) => join(dir, file));
}

/** Writes records under other names; what is returned puts them into their places, and writes their members' hosts files. */
export async function stageNetworks(roots: Roots, records: readonly NetworkRecord[]): Promise<() => void> {
  const staging = Promise.all(records.map((record) => stageJson(networkPaths(roots, record.name).json, record)));
  // While the disk takes its time.
  const [publish, hosts] = await together(staging, hostsFiles(roots, records));
  return () => {
    for (const put of publish) put();
    writeAllHosts(hosts);
  };
}

export async function writeNetwork(roots: Roots, record: NetworkRecord): Promise<void> {
  const publish = await stageNetworks(roots, [record]);
  publish();
}

/** What who was killed left between the record and the hosts files. Writes nothing where nothing was left. */
export async function finishWriting(roots: Roots, record: NetworkRecord): Promise<void> {
  dropStaged(networkPaths(roots, record.name).json);
  writeAllHosts(await hostsFiles(roots, [record]));
}

interface HostsFile {
  readonly path: string;
  readonly text: string;
  /** Of a member alone. */
  readonly isOwn: boolean;
}

/** Those of the networks, and of each member that has one of its own, once. */
async function hostsFiles(roots: Roots, records: readonly NetworkRecord[]): Promise<HostsFile[]> {
  const known = new Map(records.map((record) => [record.name, record]));
  const files: HostsFile[] = records.map((record) => {
    return { path: networkPaths(roots, record.name).hosts, text: hostsText([record]), isOwn: false };
  });
  for (const [name, { networks, extraHosts }] of new Map(records.flatMap(({ members }) => Object.entries(members)))) {
    if (networks === undefined) continue;
    const others = await readNetworks(
      roots,
      networks.filter((network) => !known.has(network)),
    );
    const all = new Map([...known, ...others.map((other) => [other.name, other] as const)]);
    const own = networks.flatMap((network) => all.get(network) ?? []);
    files.push({ path: containerPaths(roots, name).hosts, text: hostsText(own, extraHosts), isOwn: true });
  }
  return files;
}

function writeAllHosts(files: readonly HostsFile[]): void {
  for (const { path, text, isOwn } of files) {
    // Before that is there, a create writes it itself.
    if (!isOwn || existsSync(path)) writeHosts(path, text);
  }
}

export function removeNetwork(roots: Roots, name: string): void {
  const paths = networkPaths(roots, name);
  dropStaged(paths.json);
  // The record last: while it is there, a prune finds the rest.
  for (const path of [paths.hosts, paths.json]) if (existsSync(path)) unlinkSync(path);
}

/**
 * The addresses of a network for one of its containers. `own` are those that its other interfaces have, by these. What it
 * gives is its own from then on.
 */
export class AddressPool {
  private readonly roots: Roots;
  private readonly record: NetworkRecord;
  private readonly name: string;
  private readonly own: Map<string, string>;
  /** Members that have an address. */
  private readonly held: ReadonlyMap<string, string>;
  /** By subnet, what is below is not free. */
  private readonly lowest = new Map<string, bigint>();

  constructor(roots: Roots, record: NetworkRecord, name: string, own: ReadonlyMap<string, string>) {
    this.roots = roots;
    this.record = record;
    this.name = name;
    this.own = new Map([...own, ...tapAddresses(record)]);
    this.held = new Map(
      Object.entries(record.members).flatMap(([member, { nics }]) =>
        Object.values(nics).flatMap((addresses) => addresses.map((address) => [address, member] as const)),
      ),
    );
  }

  private holderOf(address: string): string | undefined {
    const holder = this.held.get(address);
    return holder !== undefined && holder !== this.name && isHeld(this.roots, holder) ? holder : undefined;
  }

  /** For interface `nic`. Throws AddressTakenError with the holder. */
  take(address: Address, nic: string): string {
    const text = formatIp(address);
    const { record } = this;
    const isGateway = record.subnets.some(({ gateway }) => gateway === text);
    const bridge = record.foreign || record.internal ? 'the gateway' : `the bridge ${record.link}`;
    const holder = this.holderOf(text);
    const taken = (isGateway ? bridge : undefined) ?? (holder && `container ${holder}`) ?? this.own.get(text);
    if (taken !== undefined) {
      throw new AddressTakenError(record.name, `cannot use address ${text}: taken by ${taken}`, {
        hint: `minict network inspect ${record.name}; without the option minict chooses`,
      });
    }
    this.own.set(text, `${this.name}'s ${nic}`);
    return text;
  }

  /** The first address, where a router of the user's may be yet to come: what has no gateway though the host could be it. */
  private routersOwn({ subnet, gateway }: NetworkSubnet): string | undefined {
    const { internal, foreign, driver } = this.record;
    if (gateway !== undefined || internal || foreign || !['bridge', 'ovs'].includes(driver)) return undefined;
    const { family, base } = parseSubnet(subnet);
    return formatIp({ family, value: base + 1n });
  }

  /** The lowest that is free, and not in `avoid`; a router's own is the last. Throws AddressTakenError. */
  next({ subnet: text, gateway }: NetworkSubnet, nic: string, avoid: readonly string[]): string {
    const subnet = parseSubnet(text);
    const spared = [gateway, this.routersOwn({ subnet: text, gateway }), ...avoid];
    const last = lastOf(subnet).value;
    const find = (isFree: (address: string) => boolean) => {
      const from = this.lowest.get(text) ?? subnet.base + 1n;
      for (let value = from; value < last; value += 1n) {
        const address = formatIp({ family: subnet.family, value });
        if (spared.includes(address) || this.own.has(address) || !isFree(address)) continue;
        this.lowest.set(text, value);
        return address;
      }
      return undefined;
    };
    // Whether a member is still there takes a look at the disk: only where no address is without one.
    const free =
      find((address) => !this.held.has(address)) ??
      find((address) => this.holderOf(address) === undefined) ??
      this.leftOver({ subnet: text, gateway }, avoid);
    if (free === undefined) {
      const { name } = this.record;
      throw new AddressTakenError(name, `cannot find a free address: network ${name}, ${text}, is full`, {
        hint: `minict network inspect ${name}`,
      });
    }
    this.own.set(free, `${this.name}'s ${nic}`);
    return free;
  }

  /** A router's own address, where no other one is free. */
  private leftOver(subnet: NetworkSubnet, avoid: readonly string[]): string | undefined {
    const address = this.routersOwn(subnet);
    if (address === undefined || avoid.includes(address)) return undefined;
    return this.own.has(address) || this.holderOf(address) !== undefined ? undefined : address;
  }
}

/** Which tap has which address. */
function tapAddresses({ taps = {} }: NetworkRecord): [string, string][] {
  return Object.entries(taps).flatMap(([name, { addresses }]) =>
    addresses.map((address): [string, string] => [plainAddress(address), `tap ${name}`]),
  );
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
    throw new InvalidInputError(`cannot use ${what}: the network's own or its broadcast address`, {
      hint: 'without the option minict chooses',
    });
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
    readonly networks: readonly string[] | undefined;
    readonly extraHosts?: ContainerSpec['extraHosts'];
    readonly ports?: readonly Port[] | undefined;
    readonly macs?: Readonly<Record<string, string>>;
  },
  nics: Readonly<Record<string, readonly string[]>>,
): NetworkRecord {
  const networks = member.networks === undefined ? {} : { networks: [...member.networks] };
  const entries = Object.entries(nics).map(([nic, addresses]): [string, string[]] => [nic, [...addresses]]);
  const ports = member.ports === undefined || member.ports.length === 0 ? {} : { ports: [...member.ports] };
  const macs = member.macs === undefined ? {} : { macs: { ...member.macs } };
  const extra = member.extraHosts === undefined ? {} : { extraHosts: member.extraHosts };
  const whole = {
    hostname: member.hostname,
    nics: Object.fromEntries(entries),
    ...macs,
    ...networks,
    ...extra,
    ...ports,
  };
  return { ...record, members: { ...record.members, [name]: whole } };
}

/** The records of its networks with a container in them, with the addresses of its interfaces. */
export function joined(member: Member, networks: readonly NetworkRecord[]): NetworkRecord[] {
  const { name, hostname, nics, extraHosts, ports } = member;
  const all = hasOwnHosts(member) ? networksOf(nics) : undefined;
  return networks.map((record) => {
    const here = nics.filter((nic) => networkOf(nic) === record.name);
    const addresses = Object.fromEntries(here.map((nic) => [nic.name, nic.addresses.map(plainAddress)]));
    const macs = Object.fromEntries(here.map((nic) => [nic.name, nic.mac]));
    return withMember(record, name, { hostname, networks: all, extraHosts, ports, macs }, addresses);
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
