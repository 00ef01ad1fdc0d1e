/** All nftables rules of a network namespace, with their counters: `nft -j list ruleset`. iptables-nft's are among them. */
import * as z from 'zod/mini';
import { type Inside, readInside } from './run.ts';

const place = { family: z.string(), table: z.string() };
const schema = z.object({
  nftables: z.array(
    z.object({
      chain: z.optional(
        z.object({
          ...place,
          name: z.string(),
          type: z.optional(z.string()),
          hook: z.optional(z.string()),
          prio: z.optional(z.number()),
          policy: z.optional(z.string()),
          dev: z.optional(z.union([z.string(), z.array(z.string())])),
        }),
      ),
      rule: z.optional(
        z.object({
          ...place,
          chain: z.string(),
          handle: z.number(),
          expr: z.array(z.record(z.string(), z.unknown())),
        }),
      ),
      set: z.optional(z.object({ ...place, name: z.string(), elem: z.optional(z.array(z.unknown())) })),
      map: z.optional(z.object({ ...place, name: z.string(), elem: z.optional(z.array(z.unknown())) })),
    }),
  ),
});

export type Expression = Readonly<Record<string, unknown>>;

export interface NftRule {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  readonly handle: number;
  readonly expr: readonly Expression[];
  /** Of its first counter; undefined where it has none. */
  readonly packets: number | undefined;
}

export interface BaseChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly type: string;
  readonly hook: string;
  readonly priority: number;
  readonly drops: boolean;
  /** Of family netdev. */
  readonly devs: readonly string[];
}

export interface Ruleset {
  /** Those at hooks, in the order in which packets meet them. */
  readonly bases: readonly BaseChain[];
  /** By `family table chain`. */
  readonly rules: ReadonlyMap<string, readonly NftRule[]>;
  /** Elements of sets, and pairs of maps, by `family table @name`. */
  readonly sets: ReadonlyMap<string, readonly unknown[]>;
}

const counter = z.object({ packets: z.number() });

function packetsOf(expr: readonly Expression[]): number | undefined {
  for (const { counter: found } of expr) {
    const parsed = counter.safeParse(found);
    if (parsed.success) return parsed.data.packets;
  }
  return undefined;
}

const EMPTY: Ruleset = { bases: [], rules: new Map(), sets: new Map() };

/** Undefined where nft is missing, or speaks another JSON; without rules it is empty. */
export async function readRuleset(inside: Inside): Promise<Ruleset | undefined> {
  const output = await readInside(inside, ['nft', '-j', 'list', 'ruleset']);
  if (output?.exitCode !== 0) return undefined;
  const parsed = schema.safeParse(JSON.parse(output.stdout || '{"nftables":[]}'));
  if (!parsed.success) return undefined;
  const { nftables } = parsed.data;
  if (nftables.length < 2) return EMPTY;
  const bases = nftables.flatMap(({ chain }): BaseChain[] => {
    if (chain?.hook === undefined) return [];
    const { family, table, name, type = 'filter', hook, prio = 0, policy, dev = [] } = chain;
    const devs = typeof dev === 'string' ? [dev] : dev;
    return [{ family, table, name, type, hook, priority: prio, drops: policy === 'drop', devs }];
  });
  const rules = nftables.flatMap(({ rule }) => (rule ? { ...rule, packets: packetsOf(rule.expr) } : []));
  return {
    bases: bases.sort((a, b) => a.priority - b.priority),
    rules: Map.groupBy(rules, ({ family, table, chain }) => `${family} ${table} ${chain}`),
    sets: new Map(
      nftables.flatMap(({ set, map }) => {
        const named = set ?? map;
        return named ? [[`${named.family} ${named.table} @${named.name}`, named.elem ?? []] as const] : [];
      }),
    ),
  };
}
