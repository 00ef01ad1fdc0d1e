/** Addresses of interfaces, and how far each says that its network reaches. */
import { quote } from '../../spec/shell-words.ts';
import { type Finding, fail, ok } from '../finding.ts';
import { addAddress, ipCommand, linkLocal, missingAddresses, recordedRoutes, together } from '../mend.ts';
import {
  addressSubnet,
  bridgeOf,
  cidrSubnet,
  interfaceOf,
  isIn,
  leavingDev,
  nicOf,
  outgoingOf,
  type Place,
  whereOf,
} from '../place.ts';

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
    const again = together(ipCommand(node, `addr del ${cidr} dev ${quote(dev)}`), addAddress(node, cidr, dev));
    return fail(
      whereOf(node, dev),
      'address',
      'no-address',
      `${wanted} is tentative: a duplicate, or not tried`,
      again,
    );
  }
  const peer = place.from;
  const wrong = place.next === undefined && peer !== undefined ? checkMask(place, dev, peer) : undefined;
  return wrong ?? ok(whereOf(node, dev), 'address', `${wanted}/${address?.prefix}`);
}

/** Of a router: without an address in the network where the target is, its kernel sends the packet elsewhere, or nowhere. */
export function checkRouterAddress(place: Place): Finding | undefined {
  const { facts, node, hop, to } = place;
  const dev = leavingDev(place);
  const link = interfaceOf(node, dev);
  if (dev === undefined || link === undefined || dev === outgoingOf(hop)) return undefined;
  const own = link.addresses.filter(({ family, isLinkLocal }) => family === facts.family && !isLinkLocal);
  if (own.length > 0) return checkMask(place, dev, to);
  return noAddress(place, dev, missingAddresses(link, nicOf(node, dev), facts.family), `no IPv${facts.family} address`);
}

function noAddress({ node, facts }: Place, dev: string, lost: readonly string[], found: string): Finding {
  const nic = nicOf(node, dev);
  const link = interfaceOf(node, dev);
  const again = [
    ...lost.map((cidr) => addAddress(node, cidr, dev)),
    facts.family === 6 && link !== undefined ? linkLocal(node, link) : undefined,
    recordedRoutes(node, nic, facts.family),
  ];
  // The gateway of a network: a bridge of minict's, without its address.
  const other = node.isHost ? 'minict network reload' : ipCommand(node, `addr add ADDRESS/LENGTH dev ${quote(dev)}`);
  return fail(whereOf(node, dev), 'address', 'no-address', found, lost.length === 0 ? other : together(...again));
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
    const [add, del] = [addAddress(node, should, dev), ipCommand(node, `addr del ${shown} dev ${quote(dev)}`)];
    // IPv6 has an address once, whatever its length; with IPv4's last one all routes would go.
    const change = address.family === 6 ? together(del, add) : together(add, del);
    const route = recordedRoutes(node, nicOf(node, dev), address.family);
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
