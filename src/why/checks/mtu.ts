/** A packet of the full MTU: where it is lost without a word, the narrowest place on the way is named. */

import type { Interface } from '../../host/inside/interfaces.ts';
import { quote } from '../../spec/shell-words.ts';
import type { Hop, Node, PathFacts } from '../facts.ts';
import { type Finding, fail, ok } from '../finding.ts';
import { ipCommand } from '../mend.ts';
import { hostEndOf, interfaceOf, outgoingOf } from '../place.ts';
import { describeDrop, dropFix } from '../rule-text.ts';
import { type Drop, findDropAt } from '../rules.ts';

interface Narrow {
  readonly node: Node;
  readonly link: Interface;
  /** A router answers by ICMP what is too large for it; a bridge's port, and who receives, do not. */
  readonly isRouter: boolean;
}

export function checkMtu(facts: PathFacts): Finding | undefined {
  const { mtu, question } = facts;
  if (mtu === undefined || mtu.small !== 'answered') return undefined;
  const where = `${question.source} → ${question.target}`;
  if (mtu.full === 'answered') {
    const learnt = mtu.learntBytes === undefined ? '' : ', as ICMP has told';
    return ok(where, 'MTU', `packets of ${mtu.learntBytes ?? mtu.fullBytes} bytes pass${learnt}`);
  }
  const lost = `small packets pass, those of ${mtu.fullBytes} bytes are lost`;
  // What ICMP has told is sent in smaller pieces: it is lost elsewhere, or the answer is.
  const narrow =
    narrowest(facts, facts.there, mtu.learntBytes ?? mtu.fullBytes) ?? narrowest(facts, facts.back, mtu.fullBytes);
  const lower = (bytes: number) => lowerSource(facts, bytes);
  if (narrow === undefined) return fail(where, 'MTU', 'mtu', `${lost}; minict does not see where`, lower(1280));
  const { node, link, isRouter } = narrow;
  const at = `${node.name} ${link.name} has MTU ${link.mtuBytes}`;
  if (!isRouter) {
    const fix =
      link.kind === 'veth' ? ipCommand(node, `link set dev ${quote(link.name)} mtu ${mtu.fullBytes}`) : undefined;
    return fail(where, 'MTU', 'mtu', `${lost}: ${at}`, fix ?? lower(link.mtuBytes));
  }
  const drop = icmpDrop(facts, node);
  const why = drop === undefined ? 'does not come back' : `is dropped by ${describeDrop(drop[1], node.name)}`;
  const fix =
    drop === undefined ? lower(link.mtuBytes) : dropFix(drop[0], drop[1], '', facts.from ?? '', drop[1].base.hook);
  return fail(where, 'MTU', 'mtu', `${lost}: ${at}, and its ICMP that says so ${why}`, fix);
}

function lowerSource({ there }: PathFacts, bytes: number): string {
  const [first] = there;
  if (first === undefined) return '';
  return ipCommand(first.node, `link set dev ${quote(outgoingOf(first) ?? '')} mtu ${bytes}`);
}

/** The first place on the way that is narrower than what comes to it. */
function narrowest(facts: PathFacts, hops: readonly Hop[], fullBytes: number): Narrow | undefined {
  const { host } = facts;
  for (const [index, hop] of hops.entries()) {
    const next = hops[index + 1];
    const places: readonly (readonly [Node, Interface | undefined, boolean])[] = [
      [hop.node, interfaceOf(hop.node, outgoingOf(hop)), index > 0],
      [host, hostEndOf(facts, hop.node, outgoingOf(hop)), false],
      [host, next && hostEndOf(facts, next.node, next.incoming), false],
      ...(next === undefined ? [] : [[next.node, interfaceOf(next.node, next.incoming), false] as const]),
    ];
    for (const [node, link, isRouter] of places) {
      if (link !== undefined && link.mtuBytes < fullBytes) return { node, link, isRouter };
    }
  }
  return undefined;
}

/** The rule that keeps the router's ICMP from the source: at the router, or on the way to the source. */
function icmpDrop(facts: PathFacts, router: Node): readonly [Node, Drop] | undefined {
  const index = facts.there.findIndex(({ node }) => node === router);
  const families = facts.family === 4 ? ['ip', 'inet'] : ['ip6', 'inet'];
  const at = facts.there[index];
  const from = interfaceOf(router, at?.incoming)?.addresses.find(({ family }) => family === facts.family)?.ip ?? '';
  for (const { node, incoming, route } of facts.there.slice(0, index + 1).reverse()) {
    const [inner, outer] = [route?.kind === 'route' ? route.dev : undefined, incoming];
    const hooks =
      node === router ? ['output', 'postrouting'] : outer === undefined ? ['prerouting', 'input'] : ['forward'];
    for (const hook of hooks) {
      const drop =
        node.rules &&
        findDropAt(node.rules, families, hook, {
          protocol: 'icmp',
          family: facts.family,
          from,
          to: facts.from ?? '',
          port: undefined,
          isAnswer: true,
          incoming: node === router ? undefined : inner,
          outgoing: outer,
          icmpType: facts.family === 4 ? 'destination-unreachable' : 'packet-too-big',
        });
      if (drop !== undefined) return [node, drop];
    }
  }
  return undefined;
}
