/** NAT, as a packet meets it in a namespace: whether it leaves with another source, and where it is led to. Pure. */
import * as z from 'zod/mini';
import { all, type Truth } from '../host/firewall/verdict.ts';
import type { BaseChain, Expression, NftRule, Ruleset } from '../host/inside/ruleset.ts';
import type { Destination } from './facts.ts';
import { keyMatches, matchHolds, type Packet, type Sets } from './packet.ts';
import { chainKey } from './rules.ts';

const xt = z.object({ type: z.string(), name: z.string() });
const jump = z.object({ target: z.string() });
const dnat = z.object({ addr: z.optional(z.unknown()), port: z.optional(z.unknown()), family: z.optional(z.string()) });
const lookup = z.object({ map: z.object({ key: z.unknown(), data: z.unknown() }) });
const inline = z.object({ set: z.array(z.unknown()) });
const pair = z.tuple([z.unknown(), z.unknown()]);
const together = z.object({ concat: z.array(z.unknown()) });

/** Whether the packet may leave with another source address than it came with. */
export function isTranslated(ruleset: Ruleset, packet: Packet): boolean {
  const tables = ruleset.bases.filter(({ type, hook }) => type === 'nat' && hook === 'postrouting');
  return tables.some(({ family, table }) =>
    [...ruleset.rules.values()].flat().some((rule) => {
      if (rule.family !== family || rule.table !== table || !rule.expr.some(isSourceNat)) return false;
      return holds(rule, packet, setsOf(ruleset, rule)) !== 'no';
    }),
  );
}

function isSourceNat(expression: Expression): boolean {
  return 'masquerade' in expression || 'snat' in expression || ['MASQUERADE', 'SNAT'].includes(targetOf(expression));
}

/** Where a rule leads the packet; or a rule that surely does, and says not where to. */
export type Led = Destination | { readonly unread: NftRule };

/** Of the NAT at a hook, in the order of the chains' priorities; what may hold, or not, leads nowhere. */
export function ledTo(ruleset: Ruleset, hook: 'prerouting' | 'output', packet: Packet): Led | undefined {
  const families = packet.family === 4 ? ['ip', 'inet'] : ['ip6', 'inet'];
  for (const base of ruleset.bases) {
    if (base.type !== 'nat' || base.hook !== hook || !families.includes(base.family)) continue;
    const found = follow(ruleset, base, base.name, packet, 0);
    if (found !== undefined && found !== 'accepted') return found;
  }
  return undefined;
}

function follow(
  ruleset: Ruleset,
  base: BaseChain,
  chain: string,
  packet: Packet,
  depth: number,
): Led | 'accepted' | undefined {
  // The kernel's limit of nested jumps.
  if (depth > 16) return undefined;
  const sets = setsOf(ruleset, base);
  for (const rule of ruleset.rules.get(chainKey(base, chain)) ?? []) {
    if (holds(rule, packet, sets) !== 'yes') continue;
    for (const expression of rule.expr) {
      if ('accept' in expression) return 'accepted';
      if ('return' in expression) return undefined;
      const [, inner] = Object.entries(expression).find(([key]) => key === 'jump' || key === 'goto') ?? [];
      const found =
        inner === undefined
          ? leads(rule, expression, packet, sets)
          : follow(ruleset, base, z.parse(jump, inner).target, packet, depth + 1);
      if (found !== undefined) return found;
      if ('goto' in expression) return undefined;
    }
  }
  return undefined;
}

const setsOf =
  (ruleset: Ruleset, { family, table }: { readonly family: string; readonly table: string }): Sets =>
  (name) =>
    ruleset.sets.get(`${family} ${table} ${name}`);

/** Its matches alone; what is left of a rule says what it does. */
function holds({ expr }: NftRule, packet: Packet, sets: Sets): Truth {
  return all(expr.map(({ match }) => (match === undefined ? 'yes' : matchHolds(match, packet, sets))));
}

const targetOf = (expression: Expression) => {
  const parsed = xt.safeParse(expression.xt).data;
  return parsed?.type === 'target' ? parsed.name : '';
};

function leads(rule: NftRule, expression: Expression, packet: Packet, sets: Sets): Led | undefined {
  if ('redirect' in expression) {
    const { port = packet.port } = (expression.redirect ?? {}) as { port?: unknown };
    return typeof port === 'number' && packet.isToLocal ? { ip: packet.to, port } : { unread: rule };
  }
  // iptables' own; nft shows no more than its name.
  if (['DNAT', 'REDIRECT'].includes(targetOf(expression))) return { unread: rule };
  const asked = dnat.safeParse(expression.dnat).data;
  if (asked === undefined) return undefined;
  if (asked.family !== undefined && asked.family !== (packet.family === 4 ? 'ip' : 'ip6')) return undefined;
  const isMap = lookup.safeParse(asked.addr).success;
  const value = isMap ? valueIn(asked.addr, packet, sets) : asked.addr;
  if (isMap && value === undefined) return undefined;
  const [ip, mapped] = together.safeParse(value).data?.concat ?? [value];
  const port = asked.port ?? mapped ?? packet.port;
  const isPlain = typeof ip === 'string' && (port === undefined || typeof port === 'number');
  return isPlain ? { ip, port } : { unread: rule };
}

/** What a map has for the packet; undefined where it has nothing. */
function valueIn(addr: unknown, packet: Packet, sets: Sets): unknown {
  const { key, data } = z.parse(lookup, addr).map;
  const elements = typeof data === 'string' ? sets(data) : inline.safeParse(data).data?.set;
  for (const element of elements ?? []) {
    const [choice, value] = pair.safeParse(element).data ?? [];
    if (value !== undefined && keyMatches(key, choice, packet) === 'yes') return value;
  }
  return undefined;
}
