/** Commands that mend, as one types them on the host. Pure. */

import type { Interface } from '../host/inside/interfaces.ts';
import { linkLocalOf } from '../spec/address.ts';
import type { NicSpec } from '../spec/container.ts';
import { nicOfRoute } from '../spec/routing.ts';
import { quote } from '../spec/shell-words.ts';
import type { Node } from './facts.ts';

export const together = (...commands: readonly (string | undefined)[]) =>
  commands.filter((command) => command !== undefined).join(' && ');

export function ipCommand({ name, isHost }: Node, words: string): string {
  return isHost ? `ip ${words}` : `ip -n ${name} ${words}`;
}

export function insideCommand({ name, isHost }: Node, words: string): string {
  return isHost ? words : `ip netns exec ${name} ${words}`;
}

/** Shows a few packets, and ends where there are none. */
export function watchCommand(node: Node, dev: string, filter: string): string {
  return insideCommand(node, `timeout 10 tcpdump -c 5 -ni ${quote(dev)} ${filter}`);
}

export function sysctlCommand(node: Node, setting: string, value: string | number): string {
  return insideCommand(node, `sysctl -w ${setting}=${value}`);
}

export function addAddress(node: Node, cidr: string, dev: string): string {
  return ipCommand(node, `addr add ${cidr} ${cidr.includes(':') ? 'nodad' : 'brd +'} dev ${quote(dev)}`);
}

/** An IPv6 link-local address, where it is gone: without one the kernel asks for no neighbour of what it hands on. */
export function linkLocal(node: Node, { name, mac, addresses }: Interface): string | undefined {
  if (mac === undefined || addresses.some(({ family, isLinkLocal }) => family === 6 && isLinkLocal)) return undefined;
  return ipCommand(node, `addr add ${linkLocalOf(mac)}/64 nodad dev ${quote(name)}`);
}

/** Routes over it that its record has: they go with its last address, and with an interface that is down. */
export function recordedRoutes(node: Node, nic: NicSpec | undefined, family: 4 | 6): string | undefined {
  if (nic === undefined || node.spec === undefined) return undefined;
  const { routes = [], nics } = node.spec;
  const over = routes.filter((route) => route.to.includes(':') === (family === 6) && nicOfRoute(route, nics) === nic);
  const fixed = over.map(({ to, via }) =>
    ipCommand(node, `route replace ${to}${via === undefined ? '' : ` via ${via}`} dev ${quote(nic.name)}`),
  );
  const all = [defaultRoutes(node, nic, family), ...fixed].filter((command) => command !== undefined);
  return all.length === 0 ? undefined : together(...all);
}

/** Default routes that its record has, where it has none now. */
export function defaultRoutes(node: Node, nic: NicSpec | undefined, family: 4 | 6): string | undefined {
  if (nic === undefined || node.hasDefault) return undefined;
  const gateways = nic.gateways.filter((gateway) => gateway.includes(':') === (family === 6));
  if (gateways.length === 0) return undefined;
  return together(...gateways.map((via) => ipCommand(node, `route add default via ${via} dev ${quote(nic.name)}`)));
}

/** Addresses of its record that the kernel does not have, by their numbers alone. */
export function missingAddresses(link: Interface, nic: NicSpec | undefined, family: 4 | 6): string[] {
  const there = link.addresses.map(({ ip }) => ip);
  return (nic?.addresses ?? []).filter(
    (cidr) => cidr.includes(':') === (family === 6) && !there.includes(cidr.split('/')[0] as string),
  );
}
