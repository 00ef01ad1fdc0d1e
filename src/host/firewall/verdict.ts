/**
 * What a set of chains does with the first packet of a connection, as far as one can tell from outside. A rule counts
 * only where it surely matches: what depends on the packet (a port, a mark) neither saves nor condemns the rest.
 */
import { contains, parseIp, type Subnet, subnetOf } from '../../spec/address.ts';

/** `maybe`: depends on the packet, or minict cannot read the match. */
export type Truth = 'yes' | 'no' | 'maybe';

/** Where a packet comes from or goes to; what is absent could be anything. */
export interface End {
  readonly link?: string;
  readonly notLink?: string;
  readonly subnet?: Subnet | undefined;
}

export interface Traffic {
  readonly from: End;
  readonly to: End;
  readonly bridged: boolean;
  /** Its address was changed to a container's. */
  readonly dnat: boolean;
}

export interface Rule {
  readonly matches: Truth;
  readonly verdict: Verdict;
  readonly text: string;
}

export type Verdict =
  | { readonly kind: 'accept' | 'drop' | 'return' | 'none' }
  | { readonly kind: 'jump' | 'goto'; readonly target: string };

export type Chains = ReadonlyMap<string, readonly Rule[]>;

/** A chain at the forward hook, with those it can jump to. */
export interface Filter {
  /** For people: the tool, family and table. */
  readonly table: string;
  readonly base: string;
  readonly policy: 'accept' | 'drop';
  readonly chains: Chains;
  /** The command that lets the traffic through. */
  readonly fix: string;
}

/** What drops, in words; undefined where the packet passes. */
export function findDrop({ base, policy, chains }: Pick<Filter, 'base' | 'policy' | 'chains'>): string | undefined {
  const end = walk(chains, base);
  if (end !== undefined) return end.verdict === 'drop' ? end.where : undefined;
  return policy === 'drop' ? `chain ${base}, policy drop` : undefined;
}

interface Outcome {
  readonly verdict: 'accept' | 'drop';
  readonly where: string;
}

/** The verdict of a chain, with the rule that gave it; undefined where the packet falls through. */
function walk(chains: Chains, chain: string, depth = 0): Outcome | undefined {
  // The kernel's limit of nested jumps; it refuses loops.
  if (depth > 16) return undefined;
  for (const { matches, verdict, text } of chains.get(chain) ?? []) {
    if (matches !== 'yes') continue;
    if (verdict.kind === 'jump' || verdict.kind === 'goto') {
      const end = walk(chains, verdict.target, depth + 1);
      if (end !== undefined || verdict.kind === 'goto') return end;
    } else if (verdict.kind === 'accept' || verdict.kind === 'drop') {
      return { verdict: verdict.kind, where: `chain ${chain}, rule '${text}'` };
    } else if (verdict.kind === 'return') return undefined;
  }
  return undefined;
}

export const truth = (value: boolean): Truth => (value ? 'yes' : 'no');
export const negate = (value: Truth): Truth => (value === 'maybe' ? value : truth(value === 'no'));
export const all = (values: readonly Truth[]): Truth =>
  values.includes('no') ? 'no' : values.includes('maybe') ? 'maybe' : 'yes';
export const any = (values: readonly Truth[]): Truth => negate(all(values.map(negate)));

/** `wildcard` at the end of a pattern: `+` for iptables, `*` for nft. */
export function linkMatches(pattern: string, wildcard: string, { link, notLink }: End): Truth {
  if (pattern === wildcard) return 'yes';
  if (pattern === notLink) return 'no';
  if (link === undefined) return 'maybe';
  return truth(pattern.endsWith(wildcard) ? link.startsWith(pattern.slice(0, -1)) : pattern === link);
}

/** Whether the addresses of `end` lie in `address/length`. */
export function addressMatches(address: string, length: number, { subnet }: End): Truth {
  if (length === 0) return 'yes';
  if (subnet === undefined || !/^\d+(\.\d+){3}$/.test(address) || !(length <= 32)) return 'maybe';
  const other = subnetOf(parseIp(address), length);
  const baseOf = ({ family, base }: Subnet) => ({ family, value: base });
  if (length <= subnet.prefix) return truth(contains(other, baseOf(subnet)));
  return contains(subnet, baseOf(other)) ? 'maybe' : 'no';
}
