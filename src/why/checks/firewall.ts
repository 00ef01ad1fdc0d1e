/** The nftables rules that a packet meets in a namespace, in the order of its hooks. */
import { type Finding, fail, ok } from '../finding.ts';
import { outgoingOf, type Place, packetOf } from '../place.ts';
import { describeDrop, dropFix, legacyDrop } from '../rule-text.ts';
import { findDropAt } from '../rules.ts';

/** Before it is routed: who begins has sent it, the others got it. */
export function checkFirewall(place: Place): Finding | undefined {
  const { facts, node, hop, from } = place;
  if (node.rules === undefined || hop.route?.kind !== 'route') return undefined;
  const [incoming, outgoing] = [hop.incoming, outgoingOf(hop)];
  const packet = packetOf(place, { incoming, outgoing });
  const families = facts.family === 4 ? ['ip', 'inet'] : ['ip6', 'inet'];
  const entering = incoming === undefined ? ['output'] : ['prerouting', outgoing === undefined ? 'input' : 'forward'];
  const hooks = [
    ...(incoming === undefined ? [] : [[['netdev'], 'ingress'] as const]),
    ...entering.map((hook) => [families, hook] as const),
    ...(outgoing === undefined ? [] : [[families, 'postrouting'] as const, [['netdev'], 'egress'] as const]),
  ];
  for (const [family, hook] of hooks) {
    const drop = findDropAt(node.rules, family, hook, packet);
    if (drop === undefined) continue;
    const [judged] = node.isHost && hook === 'forward' ? (facts.routed.get(incoming ?? '') ?? []) : [];
    const fix = judged?.fix ?? dropFix(node, drop, from ?? '', drop.to, hook);
    return {
      ...fail(node.name, 'firewall', 'nft-rule', describeDrop(drop, from), fix),
      ...(drop.isCertain ? {} : { isUnsure: true }),
      ...(drop.rejects ? { refuses: true } : {}),
    };
  }
  const isHandedOn = node.isHost && incoming !== undefined && outgoing !== undefined;
  const legacy = isHandedOn ? legacyDrop(facts.routed.get(incoming)) : undefined;
  if (legacy !== undefined) return fail(node.name, 'firewall', 'nft-rule', legacy.rule, legacy.fix);
  return node.rules.after.bases.length === 0 ? undefined : ok(node.name, 'firewall', 'no rule stops it');
}
