/**
 * Which chains of the host's firewall a container's packets meet at all. On most hosts there is none, and `create` asks
 * each time: so no process is started, and no rule is read here.
 */
import { existsSync, readFileSync } from 'node:fs';
import { netlinkAttributes, netlinkDump } from '../netlink.ts';

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
}

// linux/netfilter.h, linux/netfilter/nfnetlink.h and nf_tables.h
const NETLINK_NETFILTER = 12;
const GETCHAIN = (10 << 8) | 4;
const FAMILIES: Readonly<Record<number, ForwardChain['family']>> = { 1: 'inet', 2: 'ip', 7: 'bridge' };
const CHAIN_TABLE = 1;
const CHAIN_NAME = 3;
const CHAIN_HOOK = 4;
const HOOK_NUMBER = 1;
const FORWARD = 2;

/** Whether bridged IPv4 packets meet the rules of iptables and of nft's families ip and inet (br_netfilter). */
export function bridgedMeetsIpRules(): boolean {
  const path = '/proc/sys/net/bridge/bridge-nf-call-iptables';
  return existsSync(path) && readFileSync(path, 'utf8').trim() === '1';
}

/** Chains that see packets on `path`; none where the kernel does not tell (not root, no nf_tables). */
export function readHooks(path: Path): Hooks {
  const ip = path !== 'bridged' || bridgedMeetsIpRules();
  const meets = ({ family }: ForwardChain) => (family === 'bridge' ? path === 'bridged' : ip);
  return { nft: readForwardChains().filter(meets), legacy: ip && hasLegacyFilter() };
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

function readForwardChains(): ForwardChain[] {
  // nfgenmsg: any family, version 0, no resource.
  const chains = netlinkDump(NETLINK_NETFILTER, GETCHAIN, new Uint8Array(4)) ?? [];
  return chains.flatMap((chain) => {
    const family = FAMILIES[chain[0] ?? 0];
    const attributes = new Map(netlinkAttributes(chain.subarray(4)));
    const hook = new Map(netlinkAttributes(attributes.get(CHAIN_HOOK) ?? Buffer.alloc(0)));
    if (family === undefined || hook.get(HOOK_NUMBER)?.readUInt32BE() !== FORWARD) return [];
    return [{ family, table: text(attributes.get(CHAIN_TABLE)), name: text(attributes.get(CHAIN_NAME)) }];
  });
}

/** Strings end with a zero byte. */
function text(value: Buffer | undefined): string {
  return value?.toString('utf8').replace(/\0+$/, '') ?? '';
}
