/** From one end of a path to the other, as each kernel on the way would send the packet on. Reads only. */
import { readRefusingRoutes, readRoute } from '../host/inside/routes.ts';
import type { Family } from '../spec/address.ts';
import type { Hop, Node, Question } from '../why/facts.ts';
import { isTranslated } from '../why/rules.ts';
import type { Nodes } from './why-nodes.ts';

/** A lab's longest path, and then some; a loop ends where it comes back to a node. */
const MOST_HOPS = 32;

export interface Walk {
  readonly question: Question;
  readonly family: Family;
  readonly start: string;
  readonly to: string;
  /** The kernel chooses it where it is undefined. */
  readonly from: string | undefined;
  readonly isAnswer: boolean;
}

export async function walk(nodes: Nodes, { question, family, start, to, from, isAnswer }: Walk): Promise<Hop[]> {
  const hops: Hop[] = [];
  let at: { name: string; dev: string | undefined; isEnd: boolean } = { name: start, dev: undefined, isEnd: false };
  let source = from;
  while (hops.length < MOST_HOPS) {
    const { node, inside } = await nodes.see(at.name);
    const { dev: incoming, isEnd } = at;
    if (node.state !== 'up') {
      const nothing = { route: undefined, reverse: undefined, nextHop: undefined, refusing: [] };
      return [...hops, { node, from: source, incoming, isEnd, ...nothing }];
    }
    const [route, reverse] = await Promise.all([
      readRoute(inside, { family, to, from: source, incoming }),
      incoming === undefined || source === undefined ? undefined : readRoute(inside, { family, to: source }),
    ]);
    const isOn = route.kind === 'route' && !route.isLocal;
    const nextHop = isOn ? (route.via ?? to) : undefined;
    source ??= route.kind === 'route' ? (route.source ?? (route.isLocal ? to : undefined)) : undefined;
    const refusing = route.kind === 'none' ? await readRefusingRoutes(inside, family, to) : [];
    hops.push({ node, from: source, incoming, isEnd, route, reverse, nextHop, refusing });
    const next = isOn && nextHop !== undefined ? await nodes.ownerOf(nextHop, node, route.dev) : undefined;
    // Sent to an address of its own by another way: it would not leave.
    if (!isOn || next === undefined || hops.some((hop) => hop.node === node && hop !== hops.at(-1))) return hops;
    source =
      translated(node, question, { family, from: source, to, incoming, outgoing: route.dev, isAnswer }) ?? source;
    at = { ...next, isEnd: nextHop === to };
  }
  return hops;
}

/** The address that a router puts in the source's place. */
function translated(
  node: Node,
  { protocol, port }: Question,
  packet: {
    family: Family;
    from: string | undefined;
    to: string;
    incoming: string | undefined;
    outgoing: string;
    isAnswer: boolean;
  },
): string | undefined {
  // Of a connection that is known the first packet has decided.
  if (node.rules === undefined || packet.isAnswer) return undefined;
  if (!isTranslated(node.rules.before, { protocol, port, ...packet, from: packet.from ?? '' })) return undefined;
  const link = node.interfaces.find(({ name }) => name === packet.outgoing);
  return link?.addresses.find(({ family, isLinkLocal }) => family === packet.family && !isLinkLocal)?.ip;
}
