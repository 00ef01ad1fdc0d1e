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
  return readRoutes().find((route) => route.dev === dev)?.subnet ?? parseSubnet(DEFAULT_SUBNET);
}

/** `wanted`, or the next free /24 from 192.168.0.0. Throws ConflictError where a host route overlaps. */
export function chooseSubnet(wanted: Subnet | undefined): Subnet {
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
