/** From what is asked for of a container's ports to what they are. The caller holds the networks' lock. */
import { ConflictError, InvalidInputError } from '../errors.ts';
import { type Listener, listens, readListeners } from '../host/listeners.ts';
import { minictTables, publishedTarget } from '../host/nft-table.ts';
import { requireTool } from '../host/tool.ts';
import { tableName } from '../network/nat.ts';
import { formatIp, parseIp } from '../spec/address.ts';
import { type NicSpec, networkOf } from '../spec/container.ts';
import { collide, hostEnd, isEvery, isIpv6, isLoopback, type Port, type PortRequest } from '../spec/port.ts';
import { isHeld, listNetworks, type Member, type NetworkRecord, plainAddress, readNetworks } from '../state/network.ts';
import { readInstance } from '../state/store.ts';
import type { Context } from './context.ts';

/** Where the kernel's own choices begin (ip-sysctl.rst, ip_local_port_range). */
const FREE_PORTS = { first: 32768, last: 60999 };

interface Held extends Port {
  readonly container: string;
}

/** Ports of other containers, up or not. */
async function othersPorts({ roots }: Context, name: string): Promise<Held[]> {
  const records = await readNetworks(roots, listNetworks(roots));
  return records.flatMap(({ members }) =>
    Object.entries(members).flatMap(([container, { ports = [] }]) => {
      const isOther = ports.length > 0 && container !== name && isHeld(roots, container);
      return isOther ? ports.map((port) => ({ ...port, container })) : [];
    }),
  );
}

type HostPort = Pick<Port, 'ip' | 'port' | 'protocol'>;

function usedByHost({ ip, port, protocol }: HostPort): ConflictError {
  const option = protocol === 'tcp' ? '-t' : '-u';
  return new ConflictError(`cannot publish ${hostEnd({ ip, port })}/${protocol}: a program of the host listens there`, {
    hint: `ss ${option}lnp 'sport = :${port}'; -p PORT alone takes one that is free`,
  });
}

/** Throws ConflictError where a program of the host has taken one of them. */
export function refuseUsed(ports: readonly Port[]): void {
  const listeners = ports.length === 0 ? [] : readListeners();
  const used = ports.find((port) => listens(listeners, port));
  if (used !== undefined) throw usedByHost(used);
}

function hostAddresses(): string[] {
  const { networkInterfaces } = process.getBuiltinModule('node:os');
  const all = Object.values(networkInterfaces()).flatMap((addresses = []) => addresses);
  return all.map(({ address }) => formatIp(parseIp(address.split('%')[0] as string)));
}

function refuseIp(ip: string): void {
  if (isEvery(ip) || isLoopback(ip)) return;
  if (hostAddresses().includes(ip)) return;
  throw new InvalidInputError(`cannot publish on ${ip}: the host has no such address`, { hint: 'ip addr' });
}

/** Who may lead somewhere from the host: those in networks with the host's own address in it, on minict's own bridge. */
function targetAddress(
  nics: readonly NicSpec[],
  networks: readonly NetworkRecord[],
  { ip, to, protocol }: PortRequest,
  name: string,
): string {
  const isOf = (address: string) => isIpv6(address) === isIpv6(ip);
  const served = nics.filter((nic) => {
    const record = networks.find((network) => network.name === networkOf(nic));
    if (record === undefined || record.foreign || record.internal) return false;
    const hasHost = record.subnets.some(({ subnet, gateway }) => gateway !== undefined && isOf(subnet));
    return hasHost && nic.addresses.some(isOf);
  });
  // Answers to who is elsewhere take its default route.
  const nic = served.find(({ gateways }) => gateways.some(isOf)) ?? served[0];
  const address = nic?.addresses.find(isOf);
  if (address !== undefined) return plainAddress(address);
  const family = isIpv6(ip) ? 'IPv6' : 'IPv4';
  throw new InvalidInputError(
    `cannot publish ${to}/${protocol} of ${name}: it has no ${family} address in a network that leads there from the host`,
    {
      hint: "a network with minict's own bridge and the host's address of that family in it, not --internal, not --bridge",
    },
  );
}

/** Of another root on this host, which publishes it. */
function othersTable(tables: readonly string[], { ip, port, protocol }: HostPort): string | undefined {
  const every = isIpv6(ip) ? '::' : '0.0.0.0';
  const bound = isEvery(ip) ? hostAddresses().filter((each) => isIpv6(each) === isIpv6(ip)) : [ip];
  const claims = [every, ...bound].map((each) => `${hostEnd({ ip: each, port })}/${protocol}`);
  return tables.find((table) => claims.some((claim) => publishedTarget(`${table} ${claim}`) !== undefined));
}

function chooseHostPort(
  { ip, choice, protocol }: PortRequest,
  taken: readonly (HostPort & { readonly container: string })[],
  listeners: readonly Listener[],
  foreign: readonly string[],
): number {
  const holder = (port: number) => taken.find((other) => collide(other, { ip, port, protocol }));
  const { first, last } = choice ?? FREE_PORTS;
  for (let port = first; port <= last; port += 1) {
    const isOthers = holder(port) !== undefined || othersTable(foreign, { ip, port, protocol }) !== undefined;
    if (!isOthers && !listens(listeners, { ip, port, protocol })) return port;
  }
  if (first !== last) {
    throw new ConflictError(
      `cannot publish ${hostEnd({ ip, port: first })}-${last}/${protocol}: none of them is free`,
      {
        hint: '-p PORT alone takes one that is free',
      },
    );
  }
  const other = holder(first);
  const root = othersTable(foreign, { ip, port: first, protocol });
  if (other === undefined && root !== undefined) {
    throw new ConflictError(`cannot publish ${hostEnd({ ip, port: first })}/${protocol}: another minict root has it`, {
      hint: `nft list table inet ${root}; -p PORT alone takes one that is free`,
    });
  }
  if (other === undefined) throw usedByHost({ ip, port: first, protocol });
  throw new ConflictError(
    `cannot publish ${hostEnd({ ip, port: first })}/${protocol}: taken by ${hostEnd(other)} of container ${other.container}`,
    { hint: `minict port ${other.container}; -p PORT alone takes one that is free` },
  );
}

/** Beside those that it has already. Writes nothing. Throws InvalidInputError, ConflictError with the holder, HostError. */
export async function assignPorts(
  context: Context,
  { name, nics, ports: before = [] }: Pick<Member, 'name' | 'nics' | 'ports'>,
  networks: readonly NetworkRecord[],
  requests: readonly PortRequest[],
): Promise<Port[]> {
  requireTool('nft');
  const others = await othersPorts(context, name);
  const listeners = readListeners();
  const own = tableName(readInstance(context.roots) ?? '');
  const foreign = minictTables().filter((table) => table !== own);
  const ports: Port[] = [];
  // Those that are asked for by number come before those that are made up.
  const rank = ({ choice }: PortRequest) => (choice === undefined ? 2 : choice.first === choice.last ? 0 : 1);
  for (const request of [...requests].sort((a, b) => rank(a) - rank(b))) {
    const { ip, protocol, to } = request;
    refuseIp(ip);
    const address = targetAddress(nics, networks, request, name);
    const taken = [...others, ...[...before, ...ports].map((port) => ({ ...port, container: name }))];
    const port = chooseHostPort(request, taken, listeners, foreign);
    ports.push({ ip, port, protocol, address, to });
  }
  return ports;
}
