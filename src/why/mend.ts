/** Commands that mend, as one types them on the host. Pure. */
import type { NicSpec } from '../spec/container.ts';
import type { Node } from './facts.ts';

export const together = (...commands: readonly (string | undefined)[]) =>
  commands.filter((command) => command !== undefined).join(' && ');

export function ipCommand({ name, isHost }: Node, words: string): string {
  return isHost ? `ip ${words}` : `ip -n ${name} ${words}`;
}

export function insideCommand({ name, isHost }: Node, words: string): string {
  return isHost ? words : `ip netns exec ${name} ${words}`;
}

export function sysctlCommand(node: Node, setting: string, value: string | number): string {
  return insideCommand(node, `sysctl -w ${setting}=${value}`);
}

export function addAddress(node: Node, cidr: string, dev: string): string {
  return ipCommand(node, `addr add ${cidr} ${cidr.includes(':') ? 'nodad' : 'brd +'} dev ${dev}`);
}

/** Default routes that its record has, where it has none now: they go with the last address, and with an interface that is down. */
export function defaultRoutes(node: Node, nic: NicSpec | undefined, family: 4 | 6): string | undefined {
  if (nic === undefined || node.hasDefault) return undefined;
  const gateways = nic.gateways.filter((gateway) => gateway.includes(':') === (family === 6));
  if (gateways.length === 0) return undefined;
  return together(...gateways.map((via) => ipCommand(node, `route add default via ${via} dev ${nic.name}`)));
}
