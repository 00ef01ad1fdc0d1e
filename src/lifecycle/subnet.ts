/** Which subnet a network can have: never one that the host has a route into. */
import { ConflictError, InvalidInputError } from '../errors.ts';
import { type HostRoute, readRoutes } from '../host/facts.ts';
import { formatSubnet, overlap, parseIp, parseSubnet, type Subnet, subnetOf } from '../spec/address.ts';

const DEFAULT_SUBNET = '192.168.0.0/24';

/** Those that the host's own traffic takes; a VPN may have its routes in a table of its own. */
async function hostRoutes(): Promise<HostRoute[]> {
  const { policyRoutes } = await import('../host/addressing.ts');
  return [...readRoutes(), ...policyRoutes()];
}

/** The host's route into a subnet. Half of all addresses is a default route in two pieces, as VPNs set it. */
function routeInto(subnet: Subnet, routes: readonly HostRoute[]): HostRoute | undefined {
  return routes.find((route) => route.subnet.prefix > 1 && overlap(route.subnet, subnet));
}

/** Throws ConflictError where a host route overlaps: a bridge there would take the host's own traffic. */
export async function refuseOverlap(subnet: Subnet, hint: string): Promise<void> {
  const route = routeInto(subnet, await hostRoutes());
  if (route === undefined) return;
  const where = route.table === undefined ? `on ${route.dev}` : `in table ${route.table}`;
  throw new ConflictError(
    `cannot use subnet ${formatSubnet(subnet)}: the host has a route ${formatSubnet(route.subnet)} ${where}`,
    { hint },
  );
}

/** No interface can have an address of these, or none that anybody reaches (RFC 6890): this host, loopback, IPv6's of each link, multicast, broadcast. */
const SPECIAL = [
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['224.0.0.0', 4],
  ['255.255.255.255', 32],
  ['::', 127],
  ['fe80::', 10],
  ['ff00::', 8],
] as const;

/** Throws InvalidInputError. */
export function refuseSpecial(subnet: Subnet): void {
  const special = SPECIAL.find(([base, prefix]) => overlap(subnetOf(parseIp(base), prefix), subnet));
  if (special === undefined) return;
  throw new InvalidInputError(`cannot use subnet ${formatSubnet(subnet)}: ${special.join('/')} is not for networks`, {
    hint: 'for example 10.1.0.0/24, or fd00:1::/64',
  });
}

/** That of a bridge's address; the default one where it has none. */
export function subnetOn(dev: string): Subnet {
  return (
    readRoutes().find((route) => route.dev === dev && route.subnet.family === 4)?.subnet ?? parseSubnet(DEFAULT_SUBNET)
  );
}

/** That of a default network which is asked for by an address. Throws ConflictError where a host route overlaps. */
export async function takeSubnet(wanted: Subnet): Promise<Subnet> {
  await refuseOverlap(wanted, 'leave it out, or take another private subnet');
  return wanted;
}

/** The next free /24, beside `others`: the default network's from 192.168.0.0, any other one's from 192.168.1.0. Throws ConflictError. */
export async function chooseSubnet(others: readonly Subnet[], isDefault: boolean): Promise<Subnet> {
  const routes = await hostRoutes();
  const first = parseSubnet(DEFAULT_SUBNET);
  for (let index = isDefault ? 0n : 1n; index < 256n; index += 1n) {
    const subnet = { ...first, base: first.base + index * 256n };
    const isTaken = routeInto(subnet, routes) !== undefined || others.some((other) => overlap(other, subnet));
    if (!isTaken) return subnet;
  }
  throw new ConflictError('cannot choose a subnet: routes and networks have all of 192.168.0.0/16', {
    hint: 'use --subnet, or --ip',
  });
}
