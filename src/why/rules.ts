/**
 * Which nftables rule eats a packet. What a rule's matches leave open, its counter decides: one that has not moved since
 * before the packet was sent has not matched. Pure.
 */
import * as z from 'zod/mini';
import { all, type Truth } from '../host/firewall/verdict.ts';
import type { BaseChain, NftRule, Ruleset } from '../host/inside/ruleset.ts';
import { keyMatches, matchHolds, type Packet, type Sets } from './packet.ts';

export interface Drop {
  readonly base: BaseChain;
  /** Undefined for the policy of the chain. */
  readonly rule: NftRule | undefined;
  /** Where the packet is sent to, as this chain sees it. */
  readonly to: string;
  /** It answers that it does not want it: with a reset, or by ICMP. */
  readonly rejects: boolean;
  /** Packets that it took while this one was sent; undefined without a counter. */
  readonly took: number | undefined;
  /** Not where a rule that nobody can judge from outside may have accepted it before. */
  readonly isCertain: boolean;
}

/** The rules before the packet was sent, and after. */
export interface Rules {
  readonly before: Ruleset;
  readonly after: Ruleset;
  /** Whether one was sent in between. */
  readonly wasSent: boolean;
}

interface End {
  readonly verdict: 'accept' | 'drop';
  readonly rule: NftRule;
  readonly rejects: boolean;
  readonly isCertain: boolean;
}

const jump = z.object({ target: z.string() });
const vmap = z.object({
  key: z.unknown(),
  data: z.union([z.object({ set: z.array(z.tuple([z.unknown(), z.unknown()])) }), z.string()]),
});
const target = z.object({ type: z.string(), name: z.string() });

/** What becomes of a packet at a hook, in the order of the chains' priorities. */
export function findDropAt(rules: Rules, families: readonly string[], hook: string, packet: Packet): Drop | undefined {
  let unsure: Drop | undefined;
  for (const base of rules.after.bases) {
    if (base.hook !== hook || !families.includes(base.family)) continue;
    if (base.devs.length > 0 && !base.devs.includes((hook === 'egress' ? packet.outgoing : packet.incoming) ?? ''))
      continue;
    const drop = dropOf(rules, base, asSeenBy(base, packet));
    if (drop?.isCertain) return drop;
    unsure ??= drop;
  }
  return unsure;
}

/** Linux' own number, netfilter_ipv4.h: NF_IP_PRI_NAT_DST. */
const DNAT_PRIORITY = -100;

/** Chains before that of a namespace's DNAT see where the packet was sent to. */
function asSeenBy({ hook, priority }: BaseChain, packet: Packet): Packet {
  const isBefore = ['ingress', 'prerouting', 'output'].includes(hook) && priority <= DNAT_PRIORITY;
  return packet.sentTo === undefined || !isBefore
    ? packet
    : { ...packet, to: packet.sentTo.ip, port: packet.sentTo.port };
}

function dropOf(rules: Rules, base: BaseChain, packet: Packet): Drop | undefined {
  const walked = walk(rules, base, base.name, packet, 0);
  const { end } = walked;
  const { to } = packet;
  if (end?.verdict === 'accept') return undefined;
  const isCertain = end === undefined ? walked.isCertain : end.isCertain && walked.isCertain;
  if (end === undefined) {
    return base.drops ? { base, rule: undefined, to, rejects: false, took: undefined, isCertain } : undefined;
  }
  return { base, rule: end.rule, to, rejects: end.rejects, took: tookOf(rules, end.rule), isCertain };
}

function tookOf({ before, wasSent }: Rules, rule: NftRule): number | undefined {
  if (rule.packets === undefined || !wasSent) return undefined;
  const earlier = before.rules.get(chainKey(rule, rule.chain))?.find(({ handle }) => handle === rule.handle);
  return earlier?.packets === undefined ? undefined : rule.packets - earlier.packets;
}

export const chainKey = ({ family, table }: { family: string; table: string }, chain: string) =>
  `${family} ${table} ${chain}`;

interface Walked {
  readonly end: End | undefined;
  /** No rule on the way may have accepted it. */
  readonly isCertain: boolean;
}

function walk(rules: Rules, base: BaseChain, chain: string, packet: Packet, depth: number): Walked {
  let isCertain = true;
  let maybeDrop: End | undefined;
  // The kernel's limit of nested jumps.
  if (depth > 16) return { end: undefined, isCertain: false };
  const sets: Sets = (name) => rules.after.sets.get(`${base.family} ${base.table} ${name}`);
  for (const rule of rules.after.rules.get(chainKey(base, chain)) ?? []) {
    const { holds, verdict } = readRule(rule, packet, sets);
    const hit = hitOf(holds, tookOf(rules, rule));
    if (hit === 'no' || verdict.kind === 'none') continue;
    if (verdict.kind === 'jump') {
      const inner = walk(rules, base, verdict.target, packet, depth + 1);
      if (hit === 'yes') {
        if (inner.end !== undefined) return { end: inner.end, isCertain: isCertain && inner.isCertain };
        isCertain &&= inner.isCertain;
        if (!verdict.comesBack) return { end: undefined, isCertain };
      } else if (inner.end?.verdict === 'accept') isCertain = false;
      else maybeDrop ??= inner.end && { ...inner.end, isCertain: false };
    } else if (verdict.kind === 'return') {
      if (hit === 'yes') return { end: maybeDrop, isCertain };
      isCertain = false;
    } else if (hit === 'yes') {
      if (verdict.kind === 'accept' && maybeDrop !== undefined) return { end: maybeDrop, isCertain };
      return { end: { verdict: verdict.kind, rule, rejects: verdict.rejects, isCertain: true }, isCertain };
    } else if (verdict.kind === 'drop') {
      maybeDrop ??= { verdict: 'drop', rule, rejects: verdict.rejects, isCertain: false };
    } else isCertain = false;
  }
  return { end: maybeDrop, isCertain };
}

/** A counter that has not moved is a match that did not hold; one that has moved may have counted another's packet. */
function hitOf(holds: Truth, took: number | undefined): Truth {
  if (took === 0) return 'no';
  return holds === 'maybe' && took !== undefined ? 'yes' : holds;
}

type Verdict =
  | { readonly kind: 'accept'; readonly rejects: false }
  | { readonly kind: 'drop'; readonly rejects: boolean }
  | { readonly kind: 'return' }
  | { readonly kind: 'none' }
  | { readonly kind: 'jump'; readonly target: string; readonly comesBack: boolean };

function readRule({ expr }: NftRule, packet: Packet, sets: Sets): { holds: Truth; verdict: Verdict } {
  const matches: Truth[] = [];
  let verdict: Verdict = { kind: 'none' };
  for (const [key, value] of expr.flatMap((expression) => Object.entries(expression))) {
    const found = verdictOf(key, value, packet);
    if (found !== undefined) verdict = found;
    else if (key === 'match') matches.push(matchHolds(value, packet, sets));
    else if (key !== 'counter' && key !== 'log' && !isComment(value)) matches.push('maybe');
  }
  return { holds: all(matches), verdict };
}

const isComment = (value: unknown) => target.safeParse(value).data?.name === 'comment';

function verdictOf(key: string, value: unknown, packet: Packet): Verdict | undefined {
  switch (key) {
    case 'accept':
    case 'drop':
      return { kind: key, rejects: false };
    case 'reject':
      return { kind: 'drop', rejects: true };
    case 'return':
      return { kind: 'return' };
    case 'jump':
    case 'goto':
      return { kind: 'jump', target: z.parse(jump, value).target, comesBack: key === 'jump' };
    case 'vmap':
      return mapped(value, packet);
    case 'xt': {
      // iptables-nft's extensions; nft shows their names only.
      const xt = target.safeParse(value).data;
      if (xt?.type !== 'target') return undefined;
      return xt.name === 'REJECT' ? { kind: 'drop', rejects: true } : { kind: 'none' };
    }
    default:
      return undefined;
  }
}

function mapped(value: unknown, packet: Packet): Verdict | undefined {
  const { key, data } = z.parse(vmap, value);
  if (typeof data === 'string') return undefined;
  for (const [choice, verdict] of data.set) {
    if (keyMatches(key, choice, packet) !== 'yes') continue;
    const [kind = '', inner] = Object.entries(verdict as object)[0] ?? [];
    return verdictOf(kind, inner, packet);
  }
  return { kind: 'none' };
}
