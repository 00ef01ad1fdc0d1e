/** ARP, or IPv6's neighbour discovery: whether the next hop has told its MAC address, and the right one. */
import { quote } from '../../spec/shell-words.ts';
import type { Hop } from '../facts.ts';
import { type Advice, type Finding, fail, ok } from '../finding.ts';
import { insideCommand, ipCommand, linkLocal, sysctlCommand, together, watchCommand } from '../mend.ts';
import { interfaceOf, outgoingOf, type Place, whereOf } from '../place.ts';
import { describeDrop, dropFix } from '../rule-text.ts';
import { findDropAt } from '../rules.ts';
import { lossOf } from './loss.ts';

/** Of who handed it on to this node. */
export function checkNeighbour(place: Place): Finding | undefined {
  return place.previous === undefined ? undefined : judge(place, place.previous, place.hop);
}

/** Of the last one that minict sees: who comes next is none of its containers. */
export function checkNeighbourBeyond(place: Place): Finding | undefined {
  return judge(place, place.hop, undefined);
}

function judge(place: Place, sender: Hop, receiver: Hop | undefined): Finding | undefined {
  const { facts } = place;
  const { node, nextHop } = sender;
  const dev = outgoingOf(sender);
  const link = interfaceOf(node, dev);
  const own = receiver && interfaceOf(receiver.node, receiver.incoming);
  if (dev === undefined || nextHop === undefined || link === undefined || facts.probe === undefined) return undefined;
  const where = whereOf(node, dev);
  const name = facts.family === 4 ? 'ARP' : 'neighbour';
  if (link.kind !== 'veth' && link.noArp) return undefined;
  if (link.noArp) return fail(where, name, 'arp', `${name} is off`, arpOn(sender, dev));
  const entry = node.neighbours.find(({ ip, dev: on }) => ip === nextHop && on === dev);
  if (entry?.mac !== undefined && own?.mac !== undefined && entry.mac !== own.mac) {
    const kept = entry.states.includes('PERMANENT') ? 'a static entry says' : 'it has learnt';
    const other = facts.containers.flatMap(({ name: who, nics }) =>
      nics.filter(({ mac }) => mac === entry.mac).map((nic) => ` (${who} ${nic.name})`),
    );
    const found = `${kept} that ${nextHop} is at ${entry.mac}${other[0] ?? ''}; ${whereOf(receiver?.node ?? node, own.name)} has ${own.mac}`;
    return fail(where, name, 'arp', found, ipCommand(node, `neigh del ${nextHop} dev ${quote(dev)}`));
  }
  const isFailed = entry?.states.some((state) => state === 'FAILED' || state === 'INCOMPLETE') ?? false;
  if (!isFailed) return entry?.mac === undefined ? undefined : ok(where, name, `${nextHop} is at ${entry.mac}`);
  if (receiver === undefined || own === undefined) {
    const look = watchCommand(node, dev, SOLICITATIONS[facts.family]);
    return fail(where, name, 'arp', `nobody answers for ${nextHop}`, { fix: `start who has ${nextHop}`, look });
  }
  return silent(place, sender, receiver, dev);
}

/** What tcpdump(1) is to show of them. */
const SOLICITATIONS = { 4: 'arp', 6: 'icmp6' } as const;

/** A solicitation goes to a multicast address; in family arp all is ARP. */
const ACCEPT = { 4: 'accept', 6: 'icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept' } as const;

const arpOn = ({ node }: Hop, dev: string) => ipCommand(node, `link set dev ${quote(dev)} arp on`);

/** Why the receiver does not answer. */
function silent({ facts }: Place, sender: Hop, receiver: Hop, dev: string): Finding {
  const { node } = receiver;
  const inner = receiver.incoming ?? '';
  const name = facts.family === 4 ? 'ARP' : 'neighbour';
  const where = whereOf(sender.node, dev);
  const says = (found: string, advice: string | Advice) =>
    fail(where, name, 'arp', `${node.name} does not answer for ${sender.nextHop}: ${found}`, advice);
  const loss = lossOf(facts.losses, node, inner);
  if (loss !== undefined) return loss;
  const asker = interfaceOf(sender.node, dev);
  const without = facts.family === 6 && asker !== undefined ? linkLocal(sender.node, asker) : undefined;
  if (without !== undefined) {
    return fail(where, 'address', 'no-address', 'no link-local address, so it asks for no neighbour', without);
  }
  if (interfaceOf(node, inner)?.noArp) return says(`ARP is off on its ${inner}`, arpOn(receiver, inner));
  const ignoring = ['all', inner].filter((each) => Number(node.settings.get(`net/ipv4/conf/${each}/arp_ignore`)) > 1);
  if (facts.family === 4 && ignoring.length > 0) {
    const found = `arp_ignore is ${node.settings.get(`net/ipv4/conf/${ignoring[0]}/arp_ignore`)}`;
    return says(found, together(...ignoring.map((each) => sysctlCommand(node, `net.ipv4.conf.${each}.arp_ignore`, 0))));
  }
  const [family, hook, other] =
    facts.family === 4 ? (['arp', 'input', 'output'] as const) : (['ip6', 'input', 'output'] as const);
  const families = family === 'arp' ? ['arp'] : ['ip6', 'inet'];
  const ask = {
    protocol: family === 'arp' ? ('arp' as const) : ('icmp' as const),
    family: facts.family,
    from: facts.from ?? '',
    to: sender.nextHop ?? '',
    port: undefined,
    isAnswer: false,
    ...(family === 'arp' ? {} : { icmpType: 'nd-neighbor-solicit' }),
  };
  const drops = [
    [node, node.rules && findDropAt(node.rules, families, hook, { ...ask, incoming: inner, outgoing: undefined })],
    [
      sender.node,
      sender.node.rules &&
        findDropAt(sender.node.rules, families, other, { ...ask, incoming: undefined, outgoing: dev }),
    ],
  ] as const;
  for (const [at, drop] of drops) {
    if (drop === undefined) continue;
    const rule = describeDrop(drop, ask.from);
    const fix =
      drop.rule === undefined
        ? insideCommand(
            at,
            `nft insert rule ${drop.base.family} ${drop.base.table} ${drop.base.name} ${ACCEPT[facts.family]}`,
          )
        : dropFix(at, drop, ask.from, ask.to, '');
    return fail(at.name, 'firewall', 'nft-rule', `${name} is dropped by ${rule}`, fix);
  }
  return says('minict does not see why', { look: watchCommand(node, inner, SOLICITATIONS[facts.family]) });
}
