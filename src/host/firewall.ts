/**
 * Which rules of others drop the containers' traffic. With br_netfilter even packets between two ports of one bridge
 * meet the FORWARD rules of iptables and nftables, and a drop anywhere beats an accept of one's own. Read-only: names
 * the rule and the command that helps, changes neither.
 */
import * as z from 'zod/mini';
import { contains, parseIpv4, type Subnet } from '../spec/address.ts';
import { bridgedTrafficIsFiltered, hasLegacyFilter, readRoutes } from './facts.ts';
import { readToolOutput } from './tool-output.ts';

export interface ForeignDrop {
  /** For people: family, table, chain and policy or rule. */
  readonly rule: string;
  /** The command that lets the bridge's traffic through. */
  readonly fix: string;
}

/** A rule without its matches: what a container-to-container packet of a new connection would meet. */
interface Rule {
  readonly matches: Truth;
  readonly verdict: { readonly kind: Verdict; readonly target?: string };
  readonly text: string;
}
/** `maybe`: depends on the packet, or minict cannot read the match. */
type Truth = 'yes' | 'no' | 'maybe';
type Verdict = 'accept' | 'drop' | 'return' | 'jump' | 'goto' | 'none';
type Chains = ReadonlyMap<string, readonly Rule[]>;

interface Traffic {
  readonly bridge: string;
  readonly subnet: Subnet | undefined;
}

/** Rules that drop traffic between two ports of `bridge`. A tool that is missing or fails: nothing known. Never throws. */
export async function foreignDrops(bridge = 'minict0'): Promise<ForeignDrop[]> {
  if (!bridgedTrafficIsFiltered()) return [];
  try {
    const subnet = readRoutes().find((route) => route.dev === bridge)?.subnet;
    const found = await Promise.all([
      nftDrops({ bridge, subnet }).catch(() => []),
      legacyDrops({ bridge, subnet }).catch(() => []),
    ]);
    return found.flat();
  } catch {
    return [];
  }
}

/** The verdict of a chain, with the rule that gave it; undefined where the packet falls through. */
function walk(chains: Chains, chain: string, depth = 0): { kind: 'accept' | 'drop'; where: string } | undefined {
  // Both kernels' limit of nested jumps; a loop would be refused there already.
  if (depth > 16) return undefined;
  for (const { matches, verdict, text } of chains.get(chain) ?? []) {
    if (matches !== 'yes') continue;
    if (verdict.kind === 'accept' || verdict.kind === 'drop') {
      return { kind: verdict.kind, where: `chain ${chain}, rule '${text}'` };
    }
    if (verdict.kind === 'return') return undefined;
    if (verdict.kind === 'jump' || verdict.kind === 'goto') {
      const result = walk(chains, verdict.target ?? '', depth + 1);
      if (result !== undefined || verdict.kind === 'goto') return result;
    }
  }
  return undefined;
}

/** What drops, in words; undefined where the packet passes. */
function dropIn(chains: Chains, chain: string, policy: string): string | undefined {
  const result = walk(chains, chain);
  if (result !== undefined) return result.kind === 'drop' ? result.where : undefined;
  return policy.toLowerCase() === 'drop' ? `chain ${chain}, policy drop` : undefined;
}

/** docker rebuilds FORWARD, but leaves DOCKER-USER to the host's owner. */
function iptablesFix(tool: string, chains: Chains, base: string, bridge: string): string {
  const user = chains.get(base)?.some((rule) => rule.verdict.target === 'DOCKER-USER' && rule.matches === 'yes');
  return `${tool} -I ${user ? 'DOCKER-USER' : base} -i ${bridge} -o ${bridge} -j ACCEPT`;
}

const truth = (value: boolean): Truth => (value ? 'yes' : 'no');
const negate = (value: Truth): Truth => (value === 'maybe' ? value : truth(value === 'no'));
const all = (values: readonly Truth[]): Truth =>
  values.includes('no') ? 'no' : values.includes('maybe') ? 'maybe' : 'yes';

/** `wildcard` at the end: `+` for iptables, `*` for nft. */
function nameMatches(pattern: string, bridge: string, wildcard: string): boolean {
  return pattern.endsWith(wildcard) ? bridge.startsWith(pattern.slice(0, -1)) : pattern === bridge;
}

/** Whether addresses of `subnet` lie in `address/length`. */
function subnetMatches(address: string, length: number, subnet: Subnet | undefined): Truth {
  if (subnet === undefined || !/^\d+(\.\d+){3}$/.test(address)) return 'maybe';
  const other = { base: parseIpv4(address), prefix: length };
  if (length <= subnet.prefix) return truth(contains(other, subnet.base));
  return contains(subnet, other.base) ? 'maybe' : 'no';
}

const named = z.object({ family: z.string(), table: z.string() });
const nftRuleset = z.object({
  nftables: z.array(
    z.object({
      chain: z.optional(
        z.extend(named, { name: z.string(), hook: z.optional(z.string()), policy: z.optional(z.string()) }),
      ),
      rule: z.optional(z.extend(named, { chain: z.string(), expr: z.array(z.record(z.string(), z.unknown())) })),
    }),
  ),
});
const nftMatch = z.object({
  op: z.string(),
  left: z.union([
    z.object({ meta: z.object({ key: z.string() }) }),
    z.object({ ct: z.object({ key: z.string() }) }),
    z.object({ payload: z.object({ protocol: z.string(), field: z.string() }) }),
  ]),
  right: z.unknown(),
});
const nftSet = z.union([z.object({ set: z.array(z.unknown()) }), z.array(z.unknown())]);
const nftPrefix = z.object({ prefix: z.object({ addr: z.string(), len: z.number() }) });
const nftTarget = z.object({ target: z.string() });
const nftXt = z.object({ type: z.string(), name: z.string() });

/** The table itself is part of the warning, so each is judged alone: an accept in one does not save from another. */
async function nftDrops(traffic: Traffic): Promise<ForeignDrop[]> {
  const output = await readToolOutput(['nft', '-j', 'list', 'ruleset']);
  if (output?.exitCode !== 0) return [];
  const { nftables } = z.parse(nftRuleset, JSON.parse(output.stdout));
  const tables = new Map<string, Map<string, Rule[]>>();
  for (const { rule } of nftables) {
    if (rule === undefined) continue;
    const key = `${rule.family} ${rule.table}`;
    const chains = tables.get(key) ?? new Map<string, Rule[]>();
    tables.set(key, chains.set(rule.chain, [...(chains.get(rule.chain) ?? []), nftRule(rule.expr, traffic)]));
  }
  return nftables.flatMap(({ chain }) => {
    if (chain?.hook !== 'forward' || !['ip', 'inet', 'bridge'].includes(chain.family)) return [];
    const { family, table, name } = chain;
    const chains: Chains = tables.get(`${family} ${table}`) ?? new Map();
    const drop = dropIn(chains, name, chain.policy ?? 'accept');
    if (drop === undefined) return [];
    return [
      { rule: `nft table ${family} ${table}, ${drop}`, fix: nftFix(family, table, name, chains, traffic.bridge) },
    ];
  });
}

function nftFix(family: string, table: string, chain: string, chains: Chains, bridge: string): string {
  const iptables = family === 'ip' && table === 'filter' && chain === 'FORWARD';
  if (iptables && Bun.which('iptables-nft') !== null) return iptablesFix('iptables-nft', chains, chain, bridge);
  // firewalld rewrites its table at each reload.
  if (table === 'firewalld')
    return `firewall-cmd --permanent --zone=trusted --add-interface=${bridge} && firewall-cmd --reload`;
  // At the bridge hooks iifname is the port, and the bridge has a key of its own.
  const match = family === 'bridge' ? `meta ibrname "${bridge}"` : `iifname "${bridge}" oifname "${bridge}"`;
  return `nft 'insert rule ${family} ${table} ${chain} ${match} accept'`;
}

function nftRule(expressions: readonly Readonly<Record<string, unknown>>[], traffic: Traffic): Rule {
  const matches: Truth[] = [];
  let verdict: Rule['verdict'] = { kind: 'none' };
  let text = '';
  for (const [key, value] of expressions.flatMap((expression) => Object.entries(expression))) {
    if (key === 'counter' || key === 'log') continue;
    if (key === 'match') matches.push(nftTruth(value, traffic));
    else if (key === 'accept' || key === 'drop' || key === 'return') verdict = { kind: key };
    else if (key === 'reject') verdict = { kind: 'drop' };
    else if (key === 'jump' || key === 'goto') verdict = { kind: key, target: z.parse(nftTarget, value).target };
    else if (key === 'xt') {
      // iptables-nft's extensions; of their matches nft shows the name only.
      const xt = z.safeParse(nftXt, value).data;
      if (xt?.type === 'target') verdict = { kind: xt.name === 'REJECT' ? 'drop' : 'none' };
      else if (xt?.name !== 'comment') matches.push('maybe');
      text = xt?.type === 'target' ? xt.name.toLowerCase() : text;
    } else matches.push('maybe');
    if (verdict.kind !== 'none' && text === '') text = key;
  }
  return { matches: all(matches), verdict, text };
}

function nftTruth(raw: unknown, traffic: Traffic): Truth {
  const match = z.safeParse(nftMatch, raw).data;
  if (match === undefined) return 'maybe';
  const set = z.safeParse(nftSet, match.right).data;
  const choices = set === undefined ? [match.right] : Array.isArray(set) ? set : set.set;
  const found = choices.map((choice) => nftChoice(match.left, choice, traffic));
  const any = found.includes('yes') ? 'yes' : found.includes('maybe') ? 'maybe' : 'no';
  return match.op === '!=' ? negate(any) : match.op === '==' || match.op === 'in' ? any : 'maybe';
}

function nftChoice(left: z.infer<typeof nftMatch>['left'], choice: unknown, { bridge, subnet }: Traffic): Truth {
  if ('payload' in left) {
    if (left.payload.protocol !== 'ip' || !['saddr', 'daddr'].includes(left.payload.field)) return 'maybe';
    const prefix = z.safeParse(nftPrefix, choice).data?.prefix;
    if (prefix !== undefined) return subnetMatches(prefix.addr, prefix.len, subnet);
    return typeof choice === 'string' ? subnetMatches(choice, 32, subnet) : 'maybe';
  }
  // A named set (@name) could hold anything.
  if (typeof choice !== 'string' || choice.startsWith('@')) return 'maybe';
  if ('ct' in left) return left.ct.key === 'state' ? truth(choice === 'new') : 'maybe';
  const isName = ['iifname', 'oifname', 'iif', 'oif', 'ibrname', 'obrname'].includes(left.meta.key);
  return isName ? truth(nameMatches(choice, bridge, '*')) : 'maybe';
}

/** nft does not see the tables of iptables-legacy. */
async function legacyDrops(traffic: Traffic): Promise<ForeignDrop[]> {
  if (!hasLegacyFilter()) return [];
  const output = await readToolOutput(['iptables-legacy', '-S']);
  if (output?.exitCode !== 0) return [];
  const chains = new Map<string, Rule[]>();
  let policy = 'ACCEPT';
  for (const line of output.stdout.split('\n')) {
    const [command, chain = '', ...words] = line.split(' ');
    if (command === '-P' && chain === 'FORWARD') policy = words[0] ?? policy;
    if (command === '-A') chains.set(chain, [...(chains.get(chain) ?? []), legacyRule(words.join(' '), traffic)]);
  }
  const drop = dropIn(chains, 'FORWARD', policy);
  if (drop === undefined) return [];
  const fix = iptablesFix('iptables-legacy', chains, 'FORWARD', traffic.bridge);
  return [{ rule: `iptables-legacy table ip filter, ${drop}`, fix }];
}

function legacyRule(text: string, traffic: Traffic): Rule {
  const words = text
    .replace(/-m comment --comment ("(?:[^"\\]|\\.)*"|\S+)/g, '')
    .split(' ')
    .filter(Boolean);
  const matches: Truth[] = [];
  for (let index = 0; index < words.length; index += 1) {
    const inverted = words[index] === '!';
    if (inverted) index += 1;
    const word = words[index] ?? '';
    const value = words[index + 1] ?? '';
    if (word === '-j' || word === '-g') {
      return { matches: all(matches), verdict: legacyVerdict(word, value), text: `-j ${value}` };
    }
    if (word === '--physdev-is-bridged') matches.push(truth(!inverted));
    else {
      if (word !== '-m') {
        const found = legacyTruth(word, value, traffic);
        matches.push(inverted ? negate(found) : found);
      }
      index += 1;
    }
  }
  return { matches: all(matches), verdict: { kind: 'none' }, text };
}

function legacyTruth(option: string, value: string, { bridge, subnet }: Traffic): Truth {
  if (option === '-i' || option === '-o') return truth(nameMatches(value, bridge, '+'));
  if (option === '--ctstate' || option === '--state') return truth(value.split(',').includes('NEW'));
  if (option !== '-s' && option !== '-d') return 'maybe';
  const [address = '', length = '32'] = value.split('/');
  return subnetMatches(address, Number(length), subnet);
}

function legacyVerdict(word: string, target: string): Rule['verdict'] {
  if (target === 'ACCEPT') return { kind: 'accept' };
  if (target === 'DROP' || target === 'REJECT') return { kind: 'drop' };
  if (target === 'RETURN') return { kind: 'return' };
  // A target that is no chain (LOG, MARK) falls through as an empty chain does.
  return { kind: word === '-g' ? 'goto' : 'jump', target };
}
