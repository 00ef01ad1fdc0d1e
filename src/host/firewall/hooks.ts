/**
 * Which chains of the host's firewall a container's packets meet at all. On most hosts there is none, and `create` asks
 * each time: so no process is started, and no rule is read here.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { netlinkAttribute, netlinkAttributes, netlinkDump } from '../netlink.ts';

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
const FAMILIES: Readonly<Record<number, ForwardChain['family']>> = { 1: 'inet', 2: 'ip', 7: 'bridge' };
const TABLE_NAME = 1;
const TABLE_HANDLE = 4;
const CHAIN_TABLE = 1;
const CHAIN_NAME = 3;
const CHAIN_HOOK = 4;
const CHAIN_POLICY = 5;
const RULE_TABLE = 1;
const RULE_HANDLE = 3;
const HOOK_NUMBER = 1;
const FORWARD = 2;
const DROP = 0;

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
 * the kernel does not tell. A rule never changes, but gives way to another, and none gets the handle of one before it: only
 * counters move, and what named sets hold.
 */
export function rulesMark(chains: readonly ForwardChain[] = readForwardChains()): string | undefined {
  if (hasLegacyFilter()) return undefined;
  const tables = dump(GETTABLE).flatMap(({ family, attributes }) => {
    const name = text(attributes.get(TABLE_NAME));
    if (!chains.some((chain) => chain.family === FAMILIES[family] && chain.table === name)) return [];
    const rules = dump(GETRULE, family, netlinkAttribute(RULE_TABLE, Buffer.from(`${name}\0`)));
    return [
      [family, name, hex(attributes.get(TABLE_HANDLE)), ...rules.map((rule) => hex(rule.attributes.get(RULE_HANDLE)))],
    ];
  });
  // Handles are those of a network namespace.
  const namespace = statSync('/proc/self/ns/net').ino;
  return Bun.hash(JSON.stringify([namespace, bridgedMeetsIpRules(), chains, tables])).toString(16);
}

export function readForwardChains(): ForwardChain[] {
  return dump(GETCHAIN).flatMap(({ family: number, attributes }) => {
    const family = FAMILIES[number];
    const hook = new Map(netlinkAttributes(attributes.get(CHAIN_HOOK) ?? Buffer.alloc(0)));
    if (family === undefined || hook.get(HOOK_NUMBER)?.readUInt32BE() !== FORWARD) return [];
    const policy = attributes.get(CHAIN_POLICY)?.readUInt32BE() === DROP ? 'drop' : 'accept';
    return [{ family, table: text(attributes.get(CHAIN_TABLE)), name: text(attributes.get(CHAIN_NAME)), policy }];
  });
}

/** What the kernel has of one kind; of any family, if none is named. */
function dump(type: number, family = 0, ...wanted: readonly Buffer[]) {
  // nfgenmsg: the family, version 0, no resource.
  const answers =
    netlinkDump(NETLINK_NETFILTER, type, Buffer.concat([Buffer.from([family, 0, 0, 0]), ...wanted])) ?? [];
  return answers.map((answer) => ({
    family: answer[0] ?? 0,
    attributes: new Map(netlinkAttributes(answer.subarray(4))),
  }));
}

function hex(value: Buffer | undefined): string | undefined {
  return value?.toString('hex');
}

/** Strings end with a zero byte. */
function text(value: Buffer | undefined): string {
  return value?.toString('utf8').replace(/\0+$/, '') ?? '';
}
