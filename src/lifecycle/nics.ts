/** From what is asked for of a container's interfaces to what they are: names, addresses, routes; reserved until they are committed. */
import { ConflictError, InvalidInputError } from '../errors.ts';
import { contains, formatIp, parseAddress, parseIp, parseSubnet, subnetOf } from '../spec/address.ts';
import type { NicSpec } from '../spec/container.ts';
import { networksOf } from '../spec/container.ts';
import { derivedMac, hostLinkName } from '../spec/name.ts';
import type { NicRequest } from '../spec/nic.ts';
import type { Port, PortRequest } from '../spec/port.ts';
import { ensureHosts, hostsWithout, writeHosts } from '../state/hosts.ts';
import { type Lock, lockNetworks } from '../state/locks.ts';
import {
  allocateAddress,
  joined,
  type Member,
  type NetworkRecord,
  plainAddress,
  readNetwork,
  readNetworks,
  requireHostAddress,
  withoutMembers,
  writeNetwork,
} from '../state/network.ts';
import { containerPaths, networkPaths } from '../state/paths.ts';
import type { Context } from './context.ts';
import { findNetwork } from './network.ts';
import { ensureLink } from './network-link.ts';
import { openPorts } from './open-ports.ts';

/** What a container gets, as it is or would be. */
export interface Assignment {
  readonly nics: readonly NicSpec[];
  /** All its networks, with those of the interfaces that it has already. */
  readonly networks: readonly NetworkRecord[];
}

function nextName(taken: readonly string[]): string {
  let index = 0;
  while (taken.includes(`eth${index}`)) index += 1;
  return `eth${index}`;
}

/** An address for each subnet of the network, and those asked for beside them; with their lengths. */
function chooseAddresses(
  context: Context,
  record: NetworkRecord,
  { ips, noAddress }: NicRequest,
  name: string,
  own: ReadonlyMap<string, string>,
): string[] {
  const wanted = ips.map((text) => ({ text, ...parseAddress(text) }));
  for (const { text, address, prefix } of wanted) {
    if (record.subnets.length === 0) {
      if (prefix !== undefined) continue;
      throw new InvalidInputError(`cannot use address ${text}: network ${record.name} has no subnet`, {
        hint: `${text}/${address.family === 4 ? 24 : 64} says how far it reaches`,
      });
    }
    const { subnet } = requireHostAddress(record, address, `address ${formatIp(address)}`);
    if (prefix !== undefined && prefix !== parseSubnet(subnet).prefix) {
      throw new InvalidInputError(`cannot use address ${text}: network ${record.name} is ${subnet}`);
    }
  }
  if (record.subnets.length === 0) {
    return wanted.map(({ text, address, prefix }) => {
      const plain = formatIp(address);
      if (own.has(plain)) throw new ConflictError(`cannot use address ${text}: taken by ${own.get(plain)}`);
      // Any subnet will do, so that only the holder counts.
      const all = { subnet: `${plain}/${prefix}` };
      return `${allocateAddress(context.roots, { ...record, subnets: [all] }, all, { name, wanted: address, taken: own })}/${prefix}`;
    });
  }
  return record.subnets.flatMap((subnet) => {
    const range = parseSubnet(subnet.subnet);
    const asked = wanted.find(({ address }) => contains(range, address))?.address;
    if (asked === undefined && noAddress) return [];
    return [`${allocateAddress(context.roots, record, subnet, { name, wanted: asked, taken: own })}/${range.prefix}`];
  });
}

/** Next hops of its default routes: those asked for; else the network's own, of families that have no default route yet. */
function chooseGateways(
  record: NetworkRecord,
  { gateways: asked }: NicRequest,
  addresses: readonly string[],
  routed: ReadonlySet<number>,
): string[] {
  const wanted = asked.map((text) => {
    const gateway = parseIp(text);
    const plain = formatIp(gateway);
    if (record.subnets.length > 0) requireHostAddress(record, gateway, `gateway ${plain}`);
    if (addresses.some((address) => plainAddress(address) === plain)) {
      throw new InvalidInputError(`cannot use gateway ${plain}: the container's own address`);
    }
    const reaches = addresses.some((cidr) => {
      const { address, prefix } = parseAddress(cidr);
      return contains(subnetOf(address, prefix as number), gateway);
    });
    if (!reaches) throw new InvalidInputError(`cannot use gateway ${plain}: no address of the interface reaches it`);
    return gateway;
  });
  const own = record.internal
    ? []
    : record.subnets.flatMap(({ subnet, gateway }) => {
        const range = parseSubnet(subnet);
        const isIn = addresses.some((address) => contains(range, parseAddress(address).address));
        const isServed = routed.has(range.family) || wanted.some(({ family }) => family === range.family);
        return gateway === undefined || !isIn || isServed ? [] : [parseIp(gateway)];
      });
  return [...wanted, ...own].map(formatIp);
}

function refuseName(name: string, member: Member, others: readonly NicSpec[]): void {
  if (!others.some((nic) => nic.name === name)) return;
  throw new ConflictError(`cannot use interface name ${name}: ${member.name} has one of that name`);
}

/** What `requests` come to. Writes nothing. Throws InvalidInputError, ConflictError with the holder, NotFoundError. */
export async function assignNics(
  context: Context,
  instance: string,
  member: Member,
  requests: readonly NicRequest[],
): Promise<Assignment> {
  const records = new Map<string, NetworkRecord>();
  for (const network of networksOf(member.nics)) {
    records.set(network, await findNetwork(context, instance, network, undefined));
  }
  const nics: NicSpec[] = [];
  const asked = requests.flatMap(({ gateways }) => gateways.map((gateway) => parseIp(gateway).family));
  const twice = asked.find((family, index) => asked.indexOf(family) !== index);
  if (twice !== undefined) {
    throw new InvalidInputError(`cannot use two gateways: one default route for IPv${twice} and a container`);
  }
  // Names that are asked for come before those that are made up.
  const reserved = requests.flatMap(({ name }) => name ?? []);
  for (const request of requests) {
    const record =
      records.get(request.network) ??
      (await findNetwork(
        context,
        instance,
        request.network,
        request.ips.find((ip) => parseAddress(ip).address.family === 4),
      ));
    records.set(record.name, record);
    const others = [...member.nics, ...nics];
    const name = request.name ?? nextName([...others.map((nic) => nic.name), ...reserved]);
    refuseName(name, member, others);
    const own = new Map(
      others
        .filter((nic) => nic.network === record.name)
        .flatMap((nic) =>
          nic.addresses.map((address) => [plainAddress(address), `${member.name}'s ${nic.name}`] as const),
        ),
    );
    const addresses = chooseAddresses(context, record, request, member.name, own);
    const routed = new Set([
      ...asked,
      ...others.flatMap((nic) => nic.gateways.map((gateway) => parseIp(gateway).family)),
    ]);
    const [first] = addresses;
    const mtuBytes = request.mtuBytes ?? record.mtuBytes;
    nics.push({
      kind: 'veth',
      network: record.name,
      bridge: record.link,
      hostLink: hostLinkName(instance, member.name, name),
      name,
      addresses,
      gateways: chooseGateways(record, request, addresses, routed),
      // Who gets an address again has the MAC address that the neighbours remember.
      mac:
        request.mac ??
        (first === undefined
          ? derivedMac(instance, member.name, name)
          : derivedMac(instance, record.name, plainAddress(first))),
      ...(mtuBytes === undefined ? {} : { mtuBytes }),
    });
  }
  return { nics, networks: [...records.values()] };
}

/** Addresses that nobody else can take: the networks stay locked until they are committed or given back. */
export interface Reservation extends Assignment {
  readonly ports: readonly Port[];
  /** Writes the members, and the hosts files of all. */
  commit(): Promise<void>;
  /** Lets the others go on; committed or not. */
  release(): void;
}

/** Chooses, and makes sure that the networks are there on the host. */
export async function reserveNics(
  context: Context,
  instance: string,
  member: Member,
  requests: readonly NicRequest[],
  publish: readonly PortRequest[] = [],
): Promise<Reservation> {
  let lock: Lock | undefined = lockNetworks(context.roots);
  const unlock = () => {
    lock?.release();
    lock = undefined;
  };
  try {
    const assignment = await assignNics(context, instance, member, requests);
    for (const record of assignment.networks) {
      await ensureLink(context, instance, record, lock.fd);
      ensureHosts(networkPaths(context.roots, record.name).hosts);
    }
    const whole: Member = { ...member, nics: [...member.nics, ...assignment.nics] };
    const ports = await openPorts(context, instance, whole, assignment.networks, publish, lock.fd);
    return {
      ...assignment,
      ports,
      async commit() {
        await writeMember(context, { ...whole, ports }, assignment.networks);
        unlock();
      },
      release: unlock,
    };
  } catch (error) {
    unlock();
    throw error;
  }
}

/** Writes down what it has; the caller holds the networks' lock. */
export async function writeMember(
  { roots }: Context,
  member: Member,
  networks: readonly NetworkRecord[],
): Promise<void> {
  for (const record of joined(member, networks)) await writeNetwork(roots, record);
}

/** Of who has `nic` no more, and may be in one network less; the caller holds the networks' lock. */
export async function leave(context: Context, member: Member, nic: NicSpec): Promise<void> {
  const { roots } = context;
  const names = networksOf(member.nics);
  const left = names.includes(nic.network) ? undefined : await readNetwork(roots, nic.network);
  if (left !== undefined) await writeNetwork(roots, withoutMembers(left, [member.name]));
  await writeMember(context, member, await readNetworks(roots, names));
  // Nobody else writes into it.
  if (names.length === 0) writeHosts(containerPaths(roots, member.name).hosts, hostsWithout(member.hostname));
}

/**
 * Of a container that is not up: its networks come with its first start. The first of `wishes` that can be met, or
 * `otherwise`; `causes` tell why those before could not. Throws what assignNics throws of the last.
 */
export async function leaseNics(
  context: Context,
  instance: string,
  member: Member,
  wishes: readonly (readonly NicRequest[])[],
  otherwise: readonly NicRequest[],
): Promise<{ assignment: Assignment; causes: readonly string[] }> {
  const lock = lockNetworks(context.roots);
  const causes: string[] = [];
  const choose = async (requests: readonly NicRequest[]) => {
    const assignment = await assignNics(context, instance, member, requests);
    const nics = [...member.nics, ...assignment.nics];
    await writeMember(context, { ...member, nics }, assignment.networks);
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
