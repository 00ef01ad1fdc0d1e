/** The container itself, its interface, and the interface's address. */
import type { Interface } from '../../host/inside/interfaces.ts';
import type { NicSpec } from '../../spec/container.ts';
import { type Finding, fail, ok } from '../finding.ts';
import { addAddress, defaultRoutes, ipCommand, together } from '../mend.ts';
import {
  addressSubnet,
  bridgeOf,
  cidrSubnet,
  expectedNic,
  hostEndOf,
  interfaceOf,
  isIn,
  nicOf,
  outgoingOf,
  type Place,
  whereOf,
} from '../place.ts';

export function checkContainer({ node }: Place): Finding | undefined {
  if (node.isHost) return undefined;
  // A start does not make namespaces anew around processes that are in the old ones.
  const start = `minict ${node.state === 'gone' && node.isRunning ? 'restart' : 'start'} ${node.name}`;
  if (node.state === 'stopped') return fail(node.name, 'container', 'stopped', 'stopped', start);
  if (node.state === 'gone') return fail(node.name, 'container', 'stopped', 'its network namespace is gone', start);
  return ok(node.name, 'container', 'up');
}

/** By minict's record, or an interface that would be on the link if it were up; or else by the kernel's route. */
function leavingDev({ node, hop, to }: Place): string | undefined {
  const nic = expectedNic(node, to);
  if (nic?.addresses.some((cidr) => isIn(cidrSubnet(cidr), to))) return nic.name;
  const down = node.interfaces.filter(({ isUp }) => !isUp);
  const asleep = down.find(({ addresses }) => addresses.some((address) => isIn(addressSubnet(address), to)));
  return asleep?.name ?? outgoingOf(hop) ?? nic?.name;
}

export function checkIncomingNic(place: Place): Finding | undefined {
  return place.hop.incoming === undefined ? undefined : checkNic(place, place.hop.incoming);
}

export function checkOutgoingNic(place: Place): Finding | undefined {
  const dev = leavingDev(place);
  return dev === undefined ? undefined : checkNic(place, dev);
}

function checkNic({ facts, node, next }: Place, dev: string): Finding | undefined {
  const link = interfaceOf(node, dev);
  const nic = nicOf(node, dev);
  const where = whereOf(node, dev);
  if (link === undefined) {
    const fix = node.isHost ? `ip link show dev ${dev}` : `minict start ${node.name}`;
    return fail(where, 'NIC', 'nic-down', `there is no interface ${dev}`, fix);
  }
  if (!link.isUp) {
    const up = ipCommand(node, `link set dev ${dev} up`);
    // IPv6's addresses go with it, whichever family the path is of.
    const lost = [...missingAddresses(link, nic, 4), ...missingAddresses(link, nic, 6)].map((cidr) =>
      addAddress(node, cidr, dev),
    );
    return fail(where, 'NIC', 'nic-down', 'down', together(up, ...lost, defaultRoutes(node, nic, facts.family)));
  }
  const other = hostEndOf(facts, node, dev);
  if (other !== undefined && !other.isUp) {
    return fail(where, 'NIC', 'nic-down', `its host end ${other.name} is down`, `ip link set dev ${other.name} up`);
  }
  // Of a pair between two containers, the other end is looked at where it is.
  const isOtherDown = next !== undefined && interfaceOf(next.node, next.incoming)?.isUp === false;
  if (!link.hasCarrier && link.kind !== 'bridge' && !isOtherDown) {
    return fail(where, 'NIC', 'nic-down', 'no carrier', `what it is connected to is down: ip -d link show`);
  }
  return ok(where, 'NIC', 'up');
}

/** Addresses of its record that the kernel does not have, by their numbers alone. */
function missingAddresses(link: Interface, nic: NicSpec | undefined, family: 4 | 6): string[] {
  const there = link.addresses.map(({ ip }) => ip);
  return (nic?.addresses ?? []).filter(
    (cidr) => cidr.includes(':') === (family === 6) && !there.includes(cidr.split('/')[0] as string),
  );
}

/** Where it begins: any address of the family. */
export function checkSourceAddress(place: Place): Finding | undefined {
  const { facts, node, to } = place;
  const dev = leavingDev(place);
  const link = interfaceOf(node, dev);
  if (dev === undefined || link === undefined) return undefined;
  const nic = nicOf(node, dev);
  const where = whereOf(node, dev);
  const own = link.addresses.filter(({ family, isLinkLocal }) => family === facts.family && !isLinkLocal);
  if (own.length === 0) {
    // A router may answer from the address of another interface.
    if (facts.from !== undefined && facts.probe === 'answered') return undefined;
    return noAddress(place, dev, missingAddresses(link, nic, facts.family), `no IPv${facts.family} address`);
  }
  return checkMask(place, dev, to) ?? ok(where, 'address', own.map(({ ip, prefix }) => `${ip}/${prefix}`).join(', '));
}

/** Where it is handed on to: the very address. */
export function checkReceivingAddress(place: Place): Finding | undefined {
  const { node, hop, previous } = place;
  const wanted = previous?.nextHop;
  const dev = hop.incoming;
  if (wanted === undefined || dev === undefined) return undefined;
  const holder = node.interfaces.find(({ addresses }) => addresses.some(({ ip }) => ip === wanted));
  const address = holder?.addresses.find(({ ip }) => ip === wanted);
  const link = interfaceOf(node, dev);
  if (address === undefined && link !== undefined) {
    const lost = missingAddresses(link, nicOf(node, dev), place.facts.family).filter(
      (cidr) => cidr.split('/')[0] === wanted,
    );
    return noAddress(place, dev, lost, `it does not have the address ${wanted}`);
  }
  if (address !== undefined && !address.isUsable) {
    const cidr = `${wanted}/${address.prefix}`;
    const again = together(ipCommand(node, `addr del ${cidr} dev ${dev}`), addAddress(node, cidr, dev));
    return fail(
      whereOf(node, dev),
      'address',
      'no-address',
      `${wanted} is tentative: a duplicate, or not tried`,
      again,
    );
  }
  const peer = place.facts.from;
  const wrong = place.next === undefined && peer !== undefined ? checkMask(place, dev, peer) : undefined;
  return wrong ?? ok(whereOf(node, dev), 'address', `${wanted}/${address?.prefix}`);
}

function noAddress({ node, facts }: Place, dev: string, lost: readonly string[], found: string): Finding {
  const nic = nicOf(node, dev);
  const fix =
    lost.length === 0
      ? ipCommand(node, `addr add ADDRESS/LENGTH dev ${dev}`)
      : together(...lost.map((cidr) => addAddress(node, cidr, dev)), defaultRoutes(node, nic, facts.family));
  return fail(whereOf(node, dev), 'address', 'no-address', found, fix);
}

/**
 * A length other than that of its record, or of the other end on the same bridge, which makes `peer` a neighbour or not.
 * It need not stop anything, where a router is in between: it counts where something does.
 */
function checkMask(place: Place, dev: string, peer: string): Finding | undefined {
  const { node } = place;
  const link = interfaceOf(node, dev);
  for (const address of link?.addresses ?? []) {
    const isNeighbour = isIn(addressSubnet(address), peer);
    const known = nicOf(node, dev)?.addresses.find((cidr) => cidr.split('/')[0] === address.ip);
    const should = known ?? sharedLength(place, dev, peer, address.ip);
    if (should === undefined || isIn(cidrSubnet(should), peer) === isNeighbour) continue;
    const shown = `${address.ip}/${address.prefix}`;
    const found = `${shown} takes ${peer} for ${isNeighbour ? 'a neighbour, which it is not' : 'none of its network'}`;
    const [add, del] = [addAddress(node, should, dev), ipCommand(node, `addr del ${shown} dev ${dev}`)];
    // IPv6 has an address once, whatever its length; with IPv4's last one all routes would go.
    const change = address.family === 6 ? together(del, add) : together(add, del);
    const route = defaultRoutes(node, nicOf(node, dev), address.family);
    return fail(
      whereOf(node, dev),
      'address',
      'wrong-mask',
      `${found}; it should be ${should}`,
      together(change, route),
    );
  }
  return undefined;
}

/** The length that the other end has, where both are on one bridge and it takes this one for a neighbour. */
function sharedLength({ facts, node }: Place, dev: string, peer: string, ip: string): string | undefined {
  const bridge = bridgeOf(facts, node, dev);
  const ends = [...facts.there, ...facts.back].map((hop) => hop.node);
  for (const other of ends) {
    for (const link of other.interfaces) {
      const address = link.addresses.find((each) => each.ip === peer);
      if (address === undefined || bridge === undefined || bridgeOf(facts, other, link.name) !== bridge) continue;
      if (isIn(addressSubnet(address), ip)) return `${ip}/${address.prefix}`;
    }
  }
  return undefined;
}
