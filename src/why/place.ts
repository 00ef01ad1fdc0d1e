/** Where a check looks: a hop of the way there or back, and what is around it. Pure. */
import type { Interface, InterfaceAddress } from '../host/inside/interfaces.ts';
import { contains, parseAddress, parseIp, type Subnet, subnetOf } from '../spec/address.ts';
import type { NicSpec } from '../spec/container.ts';
import type { Hop, Node, PathFacts } from './facts.ts';
import type { Packet } from './packet.ts';

export interface Place {
  readonly facts: PathFacts;
  readonly way: 'there' | 'back';
  readonly hops: readonly Hop[];
  readonly index: number;
  readonly hop: Hop;
  readonly node: Node;
  readonly previous: Hop | undefined;
  readonly next: Hop | undefined;
  /** The packet's addresses: of an answer they are the other way round. */
  readonly from: string | undefined;
  readonly to: string;
}

export function placeAt(facts: PathFacts, way: 'there' | 'back', index: number): Place | undefined {
  const hops = facts[way];
  const hop = hops[index];
  if (hop === undefined) return undefined;
  const { node, from, to } = hop;
  return { facts, way, hops, index, hop, node, previous: hops[index - 1], next: hops[index + 1], from, to: to.ip };
}

export function interfaceOf({ interfaces }: Node, name: string | undefined): Interface | undefined {
  return interfaces.find((link) => link.name === name);
}

export function nicOf({ spec }: Node, name: string | undefined): NicSpec | undefined {
  return spec?.nics.find((nic) => nic.name === name);
}

/** Interface that the packet leaves by. */
export function outgoingOf({ route }: Hop): string | undefined {
  return route?.kind === 'route' && !route.isLocal ? route.dev : undefined;
}

/** Interface that should lead on: by minict's record, or an interface that would be on the link if it were up; or else by the kernel's route. */
export function leavingDev({ node, hop, to }: Place): string | undefined {
  const nic = expectedNic(node, to);
  if (nic?.addresses.some((cidr) => isIn(cidrSubnet(cidr), to))) return nic.name;
  const down = node.interfaces.filter(({ isUp }) => !isUp);
  const asleep = down.find(({ addresses }) => addresses.some((address) => isIn(addressSubnet(address), to)));
  return asleep?.name ?? outgoingOf(hop) ?? nic?.name;
}

export const whereOf = ({ name }: Node, dev?: string) => (dev === undefined ? name : `${name} ${dev}`);

export function cidrSubnet(cidr: string): Subnet {
  const { address } = parseAddress(cidr.split('/')[0] ?? '');
  return subnetOf(address, Number(cidr.split('/')[1] ?? (address.family === 4 ? 32 : 128)));
}

export function addressSubnet({ ip, prefix }: InterfaceAddress): Subnet {
  return subnetOf(parseIp(ip), prefix);
}

export const isIn = (subnet: Subnet, ip: string) => contains(subnet, parseIp(ip));

/** The interface that by minict's record leads to an address: it is on its network, or behind its gateway. */
export function expectedNic({ spec }: Node, to: string): NicSpec | undefined {
  const nics = spec?.nics ?? [];
  const isV6 = to.includes(':');
  return (
    nics.find(({ addresses }) => addresses.some((cidr) => isIn(cidrSubnet(cidr), to))) ??
    nics.find(({ gateways }) => gateways.some((gateway) => gateway.includes(':') === isV6)) ??
    (nics.length === 1 ? nics[0] : undefined)
  );
}

/** What kinds of interfaces may have, and not all do. */
interface Wiring {
  readonly network?: string;
  readonly hostLink?: string;
}

/** Undefined for an interface that is in none. */
export const networkOf = (nic: NicSpec | undefined) => (nic as Wiring | undefined)?.network;
const hostLinkOf = (nic: NicSpec | undefined) => (nic as Wiring | undefined)?.hostLink;

/** The host's end of a container's interface; what is no veth pair with the host has none. */
export function hostEndOf({ host, containers }: PathFacts, node: Node, dev: string | undefined): Interface | undefined {
  const nic = nicOf(node, dev);
  // A cable's end that lies on the host is the other container's.
  if (node.isHost || nic?.kind === 'p2p' || nic?.kind === 'macvlan') return undefined;
  const recorded = interfaceOf(host, hostLinkOf(nic));
  if (recorded !== undefined) return recorded;
  const inner = interfaceOf(node, dev);
  // The numbers are those of some namespace: the host's, unless that interface is known to be another's.
  const isOthers = ({ name }: Interface) => containers.some(({ nics }) => nics.some((nic) => hostLinkOf(nic) === name));
  const isOther = (link: Interface) =>
    link.kind === 'veth' && link.index === inner?.peerIndex && link.peerIndex === inner.index && !isOthers(link);
  return host.interfaces.find(isOther);
}

/** The host's bridge that a packet crosses between two hops; undefined where minict sees none. */
export function bridgeOf(facts: PathFacts, node: Node, dev: string | undefined): Interface | undefined {
  const own = node.isHost ? interfaceOf(node, dev) : undefined;
  if (own?.kind === 'bridge') return own;
  const master = interfaceOf(facts.host, hostEndOf(facts, node, dev)?.master);
  return master?.kind === 'bridge' ? master : undefined;
}

export function packetOf({ facts, way, hop, from, to }: Place, links: Pick<Packet, 'incoming' | 'outgoing'>): Packet {
  const { protocol } = facts.question;
  const isAnswer = way === 'back';
  return {
    protocol,
    family: facts.family,
    from: from ?? '',
    to,
    port: hop.to.port,
    isAnswer,
    isDnat: hop.sentTo !== undefined,
    sentTo: hop.sentTo,
    ...links,
    ...(protocol === 'icmp' ? { icmpType: isAnswer ? 'echo-reply' : 'echo-request' } : {}),
  };
}
