/** From one end of a path to the other, as each kernel on the way would send the packet on. Reads only. */
import { readRefusingRoutes, readRoute } from '../host/inside/routes.ts';
import type { Family } from '../spec/address.ts';
import { isLoopback } from '../spec/port.ts';
import type { Destination, Hop, Node, Question } from '../why/facts.ts';
import type { Packet } from '../why/packet.ts';
import { describeRule } from '../why/rule-text.ts';
import { isTranslated, type Led, ledTo } from '../why/translation.ts';
import type { Nodes } from './why-nodes.ts';

/** A lab's longest path, and then some; a loop ends where it comes back to a node. */
const MOST_HOPS = 32;

interface Walk {
  readonly protocol: Question['protocol'];
  readonly family: Family;
  readonly start: string;
  readonly to: Destination;
}

/** Of an answer: where it comes from, and on which way the question came. */
export interface Answer {
  readonly from: string;
  readonly there: readonly Hop[];
}

/** Without `answer` the kernel chooses the source address. */
export async function walk(
  nodes: Nodes,
  { protocol, family, start, to: wanted }: Walk,
  answer?: Answer,
): Promise<Hop[]> {
  const hops: Hop[] = [];
  let at: { name: string; dev: string | undefined; isEnd: boolean } = { name: start, dev: undefined, isEnd: false };
  let source = answer?.from;
  let to = wanted;
  while (hops.length < MOST_HOPS) {
    const { node, inside } = await nodes.see(at.name);
    const { dev: incoming, isEnd } = at;
    const common = { node, incoming, isEnd };
    if (node.state !== 'up') {
      const nothing = { route: undefined, reverse: undefined, nextHop: undefined, refusing: [] };
      return [...hops, { ...common, from: source, to, sentTo: undefined, unreadDnat: undefined, ...nothing }];
    }
    if (source === undefined) {
      // By the address that it is sent to, before a rule leads it elsewhere.
      const first = await readRoute(inside, { family, to: to.ip });
      source = first.kind === 'route' ? (first.source ?? (first.isLocal ? to.ip : undefined)) : undefined;
    }
    const packet = { protocol, family, from: source ?? '', incoming, outgoing: undefined, isAnswer: false };
    const led = answer === undefined ? destinationAt(node, { ...packet, to: to.ip, port: to.port }) : undefined;
    const unreadDnat = led !== undefined && 'unread' in led ? describeRule(led.unread) : undefined;
    const sentTo = led === undefined || 'unread' in led ? undefined : to;
    if (led !== undefined && !('unread' in led)) to = led;
    const [route, reverse] = await Promise.all([
      readRoute(inside, { family, to: to.ip, from: source, incoming }),
      incoming === undefined || source === undefined ? undefined : readRoute(inside, { family, to: source }),
    ]);
    const isOn = route.kind === 'route' && !route.isLocal;
    const nextHop = isOn ? (route.via ?? to.ip) : undefined;
    const refusing = route.kind === 'none' ? await readRefusingRoutes(inside, family, to.ip) : [];
    hops.push({
      ...common,
      isEnd: isEnd && sentTo === undefined,
      from: source,
      to,
      sentTo,
      unreadDnat,
      route,
      reverse,
      nextHop,
      refusing,
    });
    const next = isOn && nextHop !== undefined ? await nodes.ownerOf(nextHop, node, route.dev) : undefined;
    // Sent to an address of its own by another way: it would not leave.
    if (!isOn || next === undefined || hops.some((hop) => hop.node === node && hop !== hops.at(-1))) return hops;
    const leaving = { ...packet, to: to.ip, port: to.port, outgoing: route.dev, isDnat: sentTo !== undefined };
    if (answer === undefined) source = translated(node, leaving) ?? source;
    else {
      // Who led the question elsewhere gives its answer the address that was asked.
      const asked = answer.there.find((hop) => hop.node.name === node.name)?.sentTo;
      if (asked !== undefined) [source, to] = [asked.ip, { ...to, port: asked.port }];
    }
    at = { ...next, isEnd: nextHop === to.ip };
  }
  return hops;
}

function destinationAt({ rules, interfaces }: Node, packet: Packet): Led | undefined {
  if (rules === undefined) return undefined;
  const isOwn = interfaces.some(({ addresses }) => addresses.some(({ ip }) => ip === packet.to));
  const isToLocal = isOwn || isLoopback(packet.to);
  return ledTo(rules.before, packet.incoming === undefined ? 'output' : 'prerouting', { ...packet, isToLocal });
}

/** The address that a router puts in the source's place; of a connection that is known the first packet has decided. */
function translated({ rules, interfaces }: Node, packet: Packet): string | undefined {
  if (rules === undefined || !isTranslated(rules.before, packet)) return undefined;
  const link = interfaces.find(({ name }) => name === packet.outgoing);
  return link?.addresses.find(({ family, isLinkLocal }) => family === packet.family && !isLinkLocal)?.ip;
}
