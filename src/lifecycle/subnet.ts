/** Which subnet a network can have: never one that the host has a route into. */
import { ConflictError } from '../errors.ts';
import { type HostRoute, readRoutes } from '../host/facts.ts';
import { formatSubnet, overlap, parseSubnet, type Subnet } from '../spec/address.ts';

const DEFAULT_SUBNET = '192.168.0.0/24';

/** The host's route into a subnet. Half of all addresses is a default route in two pieces, as VPNs set it. */
function routeInto(subnet: Subnet, routes: readonly HostRoute[]): HostRoute | undefined {
  return routes.find((route) => route.subnet.prefix > 1 && overlap(route.subnet, subnet));
}

/** Throws ConflictError where a host route overlaps: a bridge there would take the host's own traffic. */
export function refuseOverlap(subnet: Subnet, hint: string): void {
  const route = routeInto(subnet, readRoutes());
  if (route === undefined) return;
  throw new ConflictError(
    `cannot use subnet ${formatSubnet(subnet)}: the host has a route ${formatSubnet(route.subnet)} on ${route.dev}`,
    { hint },
  );
}

/** That of a bridge's address; the default one where it has none. */
export function subnetOn(dev: string): Subnet {
  return (
    readRoutes().find((route) => route.dev === dev && route.subnet.family === 4)?.subnet ?? parseSubnet(DEFAULT_SUBNET)
  );
}

/** `wanted`, or the next free /24 from 192.168.0.0, beside `others`. Throws ConflictError where a host route overlaps. */
export function chooseSubnet(wanted: Subnet | undefined, others: readonly Subnet[] = []): Subnet {
  if (wanted !== undefined) {
    refuseOverlap(wanted, 'leave it out, or take another private subnet');
    return wanted;
  }
  const routes = readRoutes();
  const first = parseSubnet(DEFAULT_SUBNET);
  for (let index = 0n; index < 256n; index += 1n) {
    const subnet = { ...first, base: first.base + index * 256n };
    const isTaken = routeInto(subnet, routes) !== undefined || others.some((other) => overlap(other, subnet));
    if (!isTaken) return subnet;
  }
  throw new ConflictError('cannot choose a subnet: routes and networks have all of 192.168.0.0/16', {
    hint: 'use --subnet, or --ip',
  });
}
