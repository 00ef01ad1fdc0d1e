/** From what is asked for of a container's interfaces to what they are: names, addresses, routes; and what its networks know of it. */
import { InvalidInputError } from '../errors.ts';
import { networkDriver } from '../network/driver.ts';
import { contains, formatIp, parseAddress, parseIp, parseSubnet, requireIpv6Mtu, subnetOf } from '../spec/address.ts';
import type { NicSpec } from '../spec/container.ts';
import { hasOwnHosts, networkOf, networksOf } from '../spec/container.ts';
import { hostLinkName } from '../spec/name.ts';
import type { NetworkNicRequest, NicRequest } from '../spec/nic.ts';
import { hostsWithout, writeHosts } from '../state/hosts.ts';
import { lockNetworks } from '../state/locks.ts';
import {
  AddressPool,
  getNetwork,
  joined,
  type Member,
  type NetworkRecord,
  plainAddress,
  readNetwork,
  readNetworks,
  requireHostAddress,
  stageNetworks,
  withoutMembers,
  writeNetwork,
} from '../state/network.ts';
import { containerPaths } from '../state/paths.ts';
import type { Context } from './context.ts';
import { assignLink } from './link-nics.ts';
import { findNetwork } from './network.ts';
import { ensureLink } from './network-link.ts';
import { chooseMac } from './nic-macs.ts';
import { NicNames } from './nic-names.ts';
import { openPorts } from './open-ports.ts';
import { hostsOwn, isWithoutStrangers } from './strangers.ts';

/** What a container gets, as it is or would be. */
export interface Assignment {
  readonly nics: readonly NicSpec[];
  /** All its networks, with those of the interfaces that it has already. */
  readonly networks: readonly NetworkRecord[];
}

/** An address for each subnet of the network, and those asked for beside them; with their lengths. */
function chooseAddresses(
  record: NetworkRecord,
  pool: AddressPool,
  { ips, noAddress, gateways }: NetworkNicRequest,
  nic: string,
): string[] {
  const wanted = ips.map((text) => ({ text, ...parseAddress(text) }));
  if (record.subnets.length === 0) {
    return wanted.map(({ text, address, prefix }) => {
      if (prefix !== undefined) return `${pool.take(address, nic)}/${prefix}`;
      throw new InvalidInputError(`cannot use address ${text}: network ${record.name} has no subnet`, {
        hint: `${text}/${address.family === 4 ? 24 : 64} says how far it reaches`,
      });
    });
  }
  for (const { text, address, prefix } of wanted) {
    const { subnet } = requireHostAddress(record, address, `address ${formatIp(address)}`);
    if (prefix !== undefined && prefix !== parseSubnet(subnet).prefix) {
      throw new InvalidInputError(`cannot use address ${text}: network ${record.name} is ${subnet}`, {
        hint: `${formatIp(address)}, without its length`,
      });
    }
  }
  return record.subnets.flatMap((subnet) => {
    const range = parseSubnet(subnet.subnet);
    const asked = wanted.find(({ address }) => contains(range, address))?.address;
    if (asked === undefined && noAddress) return [];
    // Its next hop is somebody else, who may be yet to come.
    const hops = gateways.map((text) => formatIp(parseIp(text)));
    return [`${asked === undefined ? pool.next(subnet, nic, hops) : pool.take(asked, nic)}/${range.prefix}`];
  });
}

/** Next hops of its default routes: those asked for; else the network's own, of families that have no default route yet. */
function chooseGateways(
  record: NetworkRecord,
  { gateways: asked }: NetworkNicRequest,
  addresses: readonly string[],
  routed: ReadonlySet<number>,
): string[] {
  const wanted = asked.map((text) => {
    const gateway = parseIp(text);
    const plain = formatIp(gateway);
    if (record.subnets.length > 0) requireHostAddress(record, gateway, `gateway ${plain}`);
    if (addresses.some((address) => plainAddress(address) === plain)) {
      throw new InvalidInputError(`cannot use gateway ${plain}: the container's own address`, {
        hint: '--router makes it one for others',
      });
    }
    const reaches = addresses.some((cidr) => {
      const { address, prefix } = parseAddress(cidr);
      return contains(subnetOf(address, prefix as number), gateway);
    });
    if (!reaches) {
      throw new InvalidInputError(`cannot use gateway ${plain}: no address of the interface reaches it`, {
        hint: 'an address in its subnet beside it: ip=ADDRESS/LENGTH',
      });
    }
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

/**
 * The network's, unless another is asked for. Where it leads to others they take no bigger packets; and a bridge of minict's, which
 * gets the least of its ports, would lose its IPv6 addresses. Throws InvalidInputError.
 */
async function chooseMtu(record: NetworkRecord, { mtuBytes: asked }: NetworkNicRequest): Promise<number | undefined> {
  const { name, driver, link, subnets } = record;
  if (asked === undefined) return record.mtuBytes;
  const most =
    driver === 'macvlan'
      ? (await import('../host/links.ts')).linksHere().find((each) => each.name === link)?.mtuBytes
      : record.mtuBytes;
  if (most !== undefined && asked > most && !isWithoutStrangers(record)) {
    throw new InvalidInputError(`cannot use MTU ${asked}: network ${name} has ${most}`, { hint: `${most} or less` });
  }
  requireIpv6Mtu(
    asked,
    subnets.map(({ subnet }) => subnet),
  );
  return asked;
}

function familiesOf(gateways: readonly string[]): number[] {
  return gateways.map((gateway) => parseIp(gateway).family);
}

/** With the default routes that went with `lost`, by the next hop of the first network that has one of the family. */
export async function inheritGateways({ roots }: Context, nics: readonly NicSpec[], lost: NicSpec): Promise<NicSpec[]> {
  const heirs = [...nics];
  for (const family of familiesOf(lost.gateways)) {
    for (const [index, nic] of heirs.entries()) {
      const network = networkOf(nic);
      const record = network === undefined ? undefined : await readNetwork(roots, network);
      if (record === undefined || record.internal) continue;
      const serves = ({ subnet, gateway }: NetworkRecord['subnets'][number]) => {
        const range = parseSubnet(subnet);
        const isIn = nic.addresses.some((address) => contains(range, parseAddress(address).address));
        return gateway !== undefined && range.family === family && isIn;
      };
      const gateway = record.subnets.find(serves)?.gateway;
      if (gateway === undefined) continue;
      heirs[index] = { ...nic, gateways: [...nic.gateways, gateway] };
      break;
    }
  }
  return heirs;
}

/** Addresses that it has in a network, and which of its interfaces has each. */
function addressesIn({ name, nics }: Member, record: NetworkRecord): Map<string, string> {
  const here = nics.filter((nic) => networkOf(nic) === record.name);
  return new Map(
    here.flatMap((nic) => nic.addresses.map((each) => [plainAddress(each), `${name}'s ${nic.name}`] as const)),
  );
}

/** What `requests` come to; addresses of `strangers` are taken, by these. Writes nothing. Throws InvalidInputError, ConflictError with the holder, NotFoundError. */
export async function assignNics(
  context: Context,
  instance: string,
  member: Member,
  requests: readonly NicRequest[],
  strangers: ReadonlyMap<string, string> = new Map(),
): Promise<Assignment> {
  const { roots } = context;
  const records = new Map<string, NetworkRecord>();
  for (const network of networksOf(member.nics)) {
    records.set(network, await findNetwork(context, instance, network, undefined));
  }
  const asked = requests.flatMap(({ gateways }) => familiesOf(gateways));
  const twice = asked.find((family, index) => asked.indexOf(family) !== index);
  if (twice !== undefined) {
    throw new InvalidInputError(`cannot use two gateways: one default route for IPv${twice} and a container`, {
      hint: 'gateway= of one of the interfaces',
    });
  }
  const router = member.nics.find((nic) => familiesOf(nic.gateways).some((family) => asked.includes(family)));
  if (router !== undefined) {
    throw new InvalidInputError(`cannot use another gateway: ${member.name} has a default route by ${router.name}`, {
      hint: 'without the option it stays; a disconnect leaves it to the next network',
    });
  }
  const names = new NicNames(member, requests);
  const pools = new Map<string, AddressPool>();
  const routed = new Set([...asked, ...member.nics.flatMap((nic) => familiesOf(nic.gateways))]);
  const nics: NicSpec[] = [];
  for (const request of requests) {
    if (request.kind !== undefined) {
      const others = { ...member, nics: [...member.nics, ...nics] };
      const link = await assignLink(context, instance, others, request, names.take(request.name));
      for (const family of familiesOf(link.gateways)) routed.add(family);
      nics.push(link);
      continue;
    }
    const ipv4 = request.ips.find((ip) => parseAddress(ip).address.family === 4);
    const record = records.get(request.network) ?? (await findNetwork(context, instance, request.network, ipv4));
    records.set(record.name, record);
    const taken = async () => new Map([...addressesIn(member, record), ...(await hostsOwn(record)), ...strangers]);
    const pool = pools.get(record.name) ?? new AddressPool(roots, record, member.name, await taken());
    pools.set(record.name, pool);
    const name = names.take(request.name);
    const addresses = chooseAddresses(record, pool, request, name);
    const gateways = chooseGateways(record, request, addresses, routed);
    for (const family of familiesOf(gateways)) routed.add(family);
    const [first] = addresses;
    const others = { ...member, nics: [...member.nics, ...nics] };
    const wish = { asked: request.mac, address: first && plainAddress(first) };
    const mtuBytes = await chooseMtu(record, request);
    nics.push({
      ...networkDriver(record).nic(record, hostLinkName(instance, member.name, name)),
      network: record.name,
      name,
      addresses,
      gateways,
      mac: chooseMac(roots, instance, record, others, name, wish),
      ...(mtuBytes === undefined ? {} : { mtuBytes }),
      ...(isWithoutStrangers(record) ? { noStrangers: true as const } : {}),
    });
  }
  return { nics, networks: [...records.values()] };
}

/** Into the records of its networks, for each of which it has an interface; the caller holds the networks' lock. */
export async function writeMember(
  { roots }: Context,
  member: Member,
  networks: readonly NetworkRecord[],
): Promise<void> {
  const publish = await stageNetworks(roots, joined(member, networks));
  publish();
}

/** Puts a container's networks back on the host, and itself among their members: after a reboot, or a killed connect. */
export async function repairNetworks(context: Context, instance: string, member: Member): Promise<void> {
  const names = networksOf(member.nics);
  if (names.length === 0) return;
  const lock = lockNetworks(context.roots);
  try {
    const records: NetworkRecord[] = [];
    for (const name of names) {
      const record = await getNetwork(context.roots, name);
      await ensureLink(context, instance, record, lock.fd);
      records.push(record);
    }
    const isMissing = member.nics.some((nic) => {
      const record = records.find(({ name }) => name === networkOf(nic));
      if (record === undefined) return false;
      const known = record.members[member.name];
      // An earlier minict gave it no hosts file of its own.
      return known?.nics[nic.name] === undefined || (hasOwnHosts(member) && known.networks === undefined);
    });
    if (isMissing) await writeMember(context, member, records);
    await openPorts(context, instance, member, records, [], lock.fd);
  } finally {
    lock.release();
  }
}

/** Of who has `nic` no more, and may be in one network less; the caller holds the networks' lock. */
export async function leave(context: Context, member: Member, nic: NicSpec): Promise<void> {
  const { roots } = context;
  const names = networksOf(member.nics);
  const network = networkOf(nic);
  const left = network === undefined || names.includes(network) ? undefined : await readNetwork(roots, network);
  if (left !== undefined) await writeNetwork(roots, withoutMembers(left, [member.name]));
  await writeMember(context, member, await readNetworks(roots, names));
  // Nobody else writes into it.
  if (names.length === 0)
    writeHosts(containerPaths(roots, member.name).hosts, hostsWithout(member.hostname, member.extraHosts));
}
