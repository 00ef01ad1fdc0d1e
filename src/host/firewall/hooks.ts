/**
 * Which chains of the host's firewall a container's packets meet at all. On most hosts there is none, and `create` asks
 * each time: so no process is started, and no rule is read here.
 */
import { existsSync, readFileSync } from 'node:fs';
import { netlinkAttribute, netlinkAttributes, netlinkDump } from '../netlink.ts';
import { networkNamespaceCookie } from '../syscalls.ts';

/** Between two ports of one bridge, from the bridge to the host's other interfaces, or from these to a published port. */
export type Path = 'bridged' | 'routed' | 'published';

export interface Hooks {
  readonly nft: readonly ForwardChain[];
  /** iptables-legacy has its table `filter`, which nft does not show. */
  readonly legacy: boolean;
}

export interface ForwardChain {
  readonly family: 'ip' | 'inet' | 'bridge';
  readonly table: string;
  readonly name: string;
  readonly policy: 'accept' | 'drop';
}

// linux/netfilter.h, linux/netfilter/nfnetlink.h and nf_tables.h
const NETLINK_NETFILTER = 12;
const GETTABLE = (10 << 8) | 1;
const GETCHAIN = (10 << 8) | 4;
const GETRULE = (10 << 8) | 7;
const GETSET = (10 << 8) | 10;
const FAMILIES: Readonly<Record<number, ForwardChain['family']>> = { 1: 'inet', 2: 'ip', 7: 'bridge' };
const TABLE_NAME = 1;
const TABLE_HANDLE = 4;
const CHAIN_TABLE = 1;
const CHAIN_NAME = 3;
const CHAIN_HOOK = 4;
const CHAIN_POLICY = 5;
/** Of a rule, and of a set. */
const OF_TABLE = 1;
const SET_NAME = 2;
const SET_HANDLE = 16;
const HOOK_NUMBER = 1;
const FORWARD = 2;
const DROP = 0;
const FAMILY_HEADER = 4;
const EXPRESSION_NAME = 1;

/** Whether bridged IPv4 packets meet the rules of iptables and of nft's families ip and inet (br_netfilter). */
export function bridgedMeetsIpRules(): boolean {
  const path = '/proc/sys/net/bridge/bridge-nf-call-iptables';
  return existsSync(path) && readFileSync(path, 'utf8').trim() === '1';
}

/** Chains that see packets on `path`; none where the kernel does not tell (not root, no nf_tables). */
export function readHooks(path: Path, chains: readonly ForwardChain[] = readForwardChains()): Hooks {
  const ip = path !== 'bridged' || bridgedMeetsIpRules();
  const meets = ({ family }: ForwardChain) => (family === 'bridge' ? path === 'bridged' : ip);
  return { nft: chains.filter(meets), legacy: ip && hasLegacyFilter() };
}

export function isEmpty(hooks: Hooks): boolean {
  return hooks.nft.length === 0 && !hooks.legacy;
}

/** Asking iptables-legacy for a table that is not there would make it. */
function hasLegacyFilter(): boolean {
  const names = '/proc/net/ip_tables_names';
  try {
    return readFileSync(names, 'utf8').split('\n').includes('filter');
  } catch {
    // Not there without iptables-legacy in the kernel, and root's alone.
    return false;
  }
}

/**
 * What stays the same as long as the chains at the forward hook, and the rules of their tables, are the same; undefined where
 * the kernel does not tell. What a counter counted, and what named sets hold, is not in it. A handle alone tells nothing: a rule
 * that replaces another gets the other's. Of a set without a name a rule has the name that it gives back, so its handle counts.
 */
export function rulesMark(chains: readonly ForwardChain[] = readForwardChains()): string | undefined {
  // Handles are those of a network namespace.
  const namespace = networkNamespaceCookie();
  const tables = dump(GETTABLE);
  if (namespace === undefined || tables === undefined || hasLegacyFilter()) return undefined;
  const lookup = expressionName('lookup');
  const counter = expressionName('counter');
  const marks: Buffer[] = [Buffer.from(JSON.stringify([String(namespace), bridgedMeetsIpRules(), chains]))];
  for (const table of tables) {
    const [family = 0, attributes] = [table[0], attributesOf(table)];
    const name = text(attributes.get(TABLE_NAME));
    if (!chains.some((chain) => chain.family === FAMILIES[family] && chain.table === name)) continue;
    const ofTable = netlinkAttribute(OF_TABLE, Buffer.from(`${name}\0`));
    const rules = dump(GETRULE, family, ofTable);
    const sets = rules?.some((rule) => rule.includes(lookup)) ? dump(GETSET, family, ofTable) : [];
    if (rules === undefined || sets === undefined) return undefined;
    marks.push(
      Buffer.from([family]),
      ...valuesOf(attributes, TABLE_NAME, TABLE_HANDLE),
      ...sets.flatMap((set) => valuesOf(attributesOf(set), SET_NAME, SET_HANDLE)),
      ...rules.flatMap((rule) => withoutCounts(rule, counter)),
    );
  }
  return Bun.hash(Buffer.concat(marks)).toString(16);
}

function valuesOf(attributes: ReadonlyMap<number, Buffer>, ...types: readonly number[]): Buffer[] {
  return types.flatMap((type) => attributes.get(type) ?? []);
}

function expressionName(name: string): Buffer {
  return netlinkAttribute(EXPRESSION_NAME, Buffer.from(`${name}\0`));
}

/** A rule but for what its counters counted. Its expressions are not read one by one: there are hundreds. */
function withoutCounts(rule: Buffer, counter: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  // The header has the number of the last change of any rule.
  let from = FAMILY_HEADER;
  for (let at = rule.indexOf(counter); at >= 0; at = rule.indexOf(counter, from)) {
    const counts = at + counter.length;
    parts.push(rule.subarray(from, counts));
    // An attribute's first byte is its length: of two numbers.
    from = counts + (rule[counts] ?? 0);
  }
  parts.push(rule.subarray(from));
  return parts;
}

export function readForwardChains(): ForwardChain[] {
  const chains = dump(GETCHAIN) ?? [];
  return chains.flatMap((chain) => {
    const [family, attributes] = [FAMILIES[chain[0] ?? 0], attributesOf(chain)];
    const hook = new Map(netlinkAttributes(attributes.get(CHAIN_HOOK) ?? Buffer.alloc(0)));
    if (family === undefined || hook.get(HOOK_NUMBER)?.readUInt32BE() !== FORWARD) return [];
    const policy = attributes.get(CHAIN_POLICY)?.readUInt32BE() === DROP ? 'drop' : 'accept';
    return [{ family, table: text(attributes.get(CHAIN_TABLE)), name: text(attributes.get(CHAIN_NAME)), policy }];
  });
}

/** What the kernel has of one kind; of any family, if none is named. Undefined where it refuses. */
function dump(type: number, family = 0, ...wanted: readonly Buffer[]): Buffer[] | undefined {
  // nfgenmsg: the family, version 0, no resource.
  return netlinkDump(NETLINK_NETFILTER, type, Buffer.concat([Buffer.from([family, 0, 0, 0]), ...wanted]));
}

function attributesOf(answer: Buffer): ReadonlyMap<number, Buffer> {
  return new Map(netlinkAttributes(answer.subarray(FAMILY_HEADER)));
}

/** Strings end with a zero byte. */
function text(value: Buffer | undefined): string {
  return value?.toString('utf8').replace(/\0+$/, '') ?? '';
}
