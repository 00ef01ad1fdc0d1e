/** Rules in words, and the command that lets a packet through. Pure. */
import * as z from 'zod/mini';
import type { Expression, NftRule } from '../host/inside/ruleset.ts';
import type { HostDrop, Node } from './facts.ts';
import { insideCommand, together } from './mend.ts';
import type { Drop } from './rules.ts';

export function describeDrop({ base, rule, to, took }: Drop, from: string | undefined): string {
  if (rule !== undefined) return describeRule(rule, took === undefined ? '' : `, counter +${took}`);
  return `nft ${base.family} ${base.table}, chain ${base.name}: policy drop (${from} to ${to})`;
}

export function describeRule({ family, table, chain, expr, handle }: NftRule, counted = ''): string {
  return `nft ${family} ${table}, chain ${chain}: ${expr.map(wordsOf).filter(Boolean).join(' ')} (handle ${handle}${counted})`;
}

/** Of what is judged for a bridge as a whole, only what nft does not show is news: the rest is judged for the very packet. */
export function legacyDrop(judged: readonly HostDrop[] = []): HostDrop | undefined {
  return judged.find(({ rule }) => rule.startsWith('iptables-legacy'));
}

/** A container's own rule is taken out; past the host's rules, and past a policy, an accept leads. */
export function dropFix(node: Node, { base, rule }: Drop, from: string, to: string, hook: string): string {
  const { family, table } = base;
  if (rule !== undefined && (!node.isHost || base.family === 'netdev')) {
    return insideCommand(node, `nft delete rule ${family} ${table} ${rule.chain} handle ${rule.handle}`);
  }
  const ip = from.includes(':') || to.includes(':') ? 'ip6' : 'ip';
  const accept = (a: string, b: string) =>
    insideCommand(node, `nft insert rule ${family} ${table} ${base.name} ${ip} saddr ${a} ${ip} daddr ${b} accept`);
  return hook === 'forward' ? together(accept(from, to), accept(to, from)) : accept(from, to);
}

const match = z.object({ op: z.string(), left: z.unknown(), right: z.unknown() });

/** As nft(8) writes it, for what is common; the rest is dots. */
function wordsOf(expression: Expression): string {
  const [key = '', value] = Object.entries(expression)[0] ?? [];
  if (key === 'counter') return '';
  const parsed = key === 'match' ? match.safeParse(value).data : undefined;
  if (parsed !== undefined) {
    const op = parsed.op === '==' || parsed.op === 'in' ? '' : `${parsed.op} `;
    return `${leftWords(parsed.left)} ${op}${rightWords(parsed.right)}`;
  }
  if (['drop', 'accept', 'return'].includes(key)) return key;
  if (key === 'reject') return 'reject';
  if (key === 'xt') return String((value as { name?: unknown } | null)?.name ?? 'xt');
  return '…';
}

function leftWords(left: unknown): string {
  const [key = '', value] = Object.entries((left ?? {}) as object)[0] ?? [];
  const { key: name, protocol, field } = (value ?? {}) as Record<string, unknown>;
  if (key === 'payload') return `${protocol} ${field}`;
  if (key === 'meta' && ['iifname', 'oifname', 'iif', 'oif'].includes(String(name))) return String(name);
  return name === undefined ? key : `${key} ${name}`;
}

function rightWords(right: unknown): string {
  if (typeof right === 'string' || typeof right === 'number') return String(right);
  if (Array.isArray(right)) return right.map(rightWords).join(',');
  const [key = '', value] = Object.entries((right ?? {}) as object)[0] ?? [];
  if (key === 'set' && Array.isArray(value)) return `{ ${value.map(rightWords).join(', ')} }`;
  if (key === 'prefix') return `${value.addr}/${value.len}`;
  if (key === 'range' && Array.isArray(value)) return value.map(rightWords).join('-');
  return '…';
}
