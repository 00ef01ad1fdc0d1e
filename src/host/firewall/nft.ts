/** nftables' chains at the forward hook, from `nft -j list ruleset`. */
import * as z from 'zod/mini';
import { formatSubnet } from '../../spec/address.ts';
import { readToolOutput } from '../tool-output.ts';
import type { ForwardChain } from './hooks.ts';
import {
  addressMatches,
  all,
  any,
  type Filter,
  linkMatches,
  negate,
  type Rule,
  type Traffic,
  type Truth,
  truth,
  type Verdict,
} from './verdict.ts';

const named = z.object({ family: z.string(), table: z.string() });
const ruleset = z.object({
  nftables: z.array(
    z.object({
      rule: z.optional(z.extend(named, { chain: z.string(), expr: z.array(z.record(z.string(), z.unknown())) })),
    }),
  ),
});
const match = z.object({
  op: z.string(),
  left: z.union([
    z.object({ meta: z.object({ key: z.string() }) }),
    z.object({ ct: z.object({ key: z.string() }) }),
    z.object({ payload: z.object({ protocol: z.string(), field: z.string() }) }),
  ]),
  right: z.unknown(),
});
const set = z.union([z.object({ set: z.array(z.unknown()) }), z.array(z.unknown())]);
const prefix = z.object({ prefix: z.object({ addr: z.string(), len: z.number() }) });
const jump = z.object({ target: z.string() });
const extension = z.object({ type: z.string(), name: z.string() });

/** Undefined where nft is missing, or speaks another JSON. Each table is judged alone: one's accept saves from no other. */
export async function readNft(
  wanted: readonly ForwardChain[],
  traffic: Traffic,
  bridge: string,
): Promise<Filter[] | undefined> {
  const output = await readToolOutput(['nft', '--json', '--terse', 'list', 'ruleset']);
  const parsed = output?.exitCode === 0 ? ruleset.safeParse(JSON.parse(output.stdout)).data : undefined;
  if (parsed === undefined) return undefined;
  const { nftables } = parsed;
  return wanted.map((base) => {
    const isOurs = (item: { family: string; table: string }) =>
      item.family === base.family && item.table === base.table;
    const rules = nftables.flatMap(({ rule }) => (rule && isOurs(rule) ? [rule] : []));
    const chains = new Map<string, Rule[]>();
    for (const { chain, expr } of rules) chains.set(chain, [...(chains.get(chain) ?? []), parseRule(expr, traffic)]);
    return {
      table: `nft table ${base.family} ${base.table}`,
      base: base.name,
      policy: base.policy,
      chains,
      fix: fixFor(base, traffic, bridge),
    };
  });
}

function fixFor({ family, table, name }: ForwardChain, traffic: Traffic, bridge: string): string {
  // firewalld rewrites its table at each reload.
  if (table === 'firewalld' && Bun.which('firewall-cmd') !== null) {
    return `firewall-cmd --permanent --zone=trusted --add-interface=${bridge} && firewall-cmd --reload`;
  }
  const [from, to] = [`iifname "${bridge}"`, `oifname "${bridge}"`];
  const ports = family === 'bridge' ? bridgePorts(traffic, bridge) : traffic.bridged ? [`${from} ${to}`] : [from, to];
  return `nft '${ports.map((words) => `insert rule ${family} ${table} ${name} ${words} accept`).join('; ')}'`;
}

/** At the bridge's own hooks iifname is the port. Not every kernel has the key for the bridge, so its subnet stands for it. */
function bridgePorts({ from: { subnet } }: Traffic, bridge: string): string[] {
  if (subnet === undefined) return [`meta ibrname "${bridge}"`];
  const net = formatSubnet(subnet);
  return [`ip saddr ${net} ip daddr ${net}`, `arp saddr ip ${net} arp daddr ip ${net}`];
}

function parseRule(expressions: readonly Readonly<Record<string, unknown>>[], traffic: Traffic): Rule {
  const matches: Truth[] = [];
  let verdict: Verdict = { kind: 'none' };
  for (const [key, value] of expressions.flatMap((expression) => Object.entries(expression))) {
    if (key === 'counter' || key === 'log') continue;
    const found = parseVerdict(key, value);
    if (found !== undefined) verdict = found;
    else if (key === 'match') matches.push(matchTruth(value, traffic));
    else if (extension.safeParse(value).data?.name !== 'comment') matches.push('maybe');
  }
  return { matches: all(matches), verdict, text: verdict.kind };
}

function parseVerdict(key: string, value: unknown): Verdict | undefined {
  if (key === 'accept' || key === 'drop' || key === 'return') return { kind: key };
  if (key === 'reject') return { kind: 'drop' };
  if (key === 'jump' || key === 'goto') return { kind: key, ...z.parse(jump, value) };
  // iptables-nft's extensions; nft shows their names only.
  const xt = key === 'xt' ? extension.safeParse(value).data : undefined;
  if (xt?.type !== 'target') return undefined;
  return { kind: xt.name === 'REJECT' ? 'drop' : 'none' };
}

function matchTruth(raw: unknown, traffic: Traffic): Truth {
  const parsed = match.safeParse(raw).data;
  if (parsed === undefined) return 'maybe';
  const several = set.safeParse(parsed.right).data;
  const choices = several === undefined ? [parsed.right] : Array.isArray(several) ? several : several.set;
  const found = any(choices.map((choice) => choiceTruth(parsed.left, choice, traffic)));
  return parsed.op === '!=' ? negate(found) : parsed.op === '==' || parsed.op === 'in' ? found : 'maybe';
}

function choiceTruth(left: z.infer<typeof match>['left'], choice: unknown, { from, to, dnat }: Traffic): Truth {
  if ('payload' in left) {
    const end = { saddr: from, daddr: to }[left.payload.field];
    if (left.payload.protocol !== 'ip' || end === undefined) return 'maybe';
    const range = prefix.safeParse(choice).data?.prefix;
    if (range !== undefined) return addressMatches(range.addr, range.len, end);
    return typeof choice === 'string' ? addressMatches(choice, 32, end) : 'maybe';
  }
  // A named set (@name) could hold anything.
  if (typeof choice !== 'string' || choice.startsWith('@')) return 'maybe';
  if ('ct' in left) {
    if (left.ct.key === 'state') return truth(choice === 'new');
    return left.ct.key === 'status' && choice === 'dnat' ? truth(dnat) : 'maybe';
  }
  const end = { iifname: from, iif: from, ibrname: from, oifname: to, oif: to, obrname: to }[left.meta.key];
  return end === undefined ? 'maybe' : linkMatches(choice, '*', end);
}
