/**
 * Which rules of others drop the containers' traffic, and the command that lets it through. With br_netfilter even
 * packets between two ports of one bridge meet the FORWARD rules of iptables and nftables, and a drop anywhere beats an
 * accept of one's own. Reads only: minict changes no rule of others.
 */
import { readRoutes } from '../facts.ts';
import { type ForwardChain, type Path, readHooks } from './hooks.ts';
import { readIptables } from './iptables.ts';
import { readNft } from './nft.ts';
import { type Filter, findDrop, type Traffic } from './verdict.ts';

export interface ForeignDrop {
  readonly path: Path;
  /** For people: tool, table, chain and policy or rule. */
  readonly rule: string;
  /** The command that lets the bridge's traffic through. */
  readonly fix: string;
}

export interface Judgement {
  readonly drops: readonly ForeignDrop[];
  /** Tables that no installed tool can read. */
  readonly unread: readonly string[];
}

/** What happens to a new connection from `bridge` on `path`. */
export async function judgeFirewall(bridge: string, path: Path): Promise<Judgement> {
  const hooks = readHooks(path);
  const traffic = trafficOf(bridge, path);
  const iptables = hooks.nft.filter(isIptables);
  const others = hooks.nft.filter((chain) => !isIptables(chain));
  const judgements = await Promise.all([
    ...(hooks.legacy
      ? [judge(path, ['iptables-legacy filter'], readIptables('iptables-legacy', traffic, bridge))]
      : []),
    ...(iptables.length > 0 ? [judge(path, ['ip filter'], readIptablesNft(iptables, traffic, bridge))] : []),
    ...(others.length > 0 ? [judge(path, others.map(tableOf), readNft(others, traffic, bridge))] : []),
  ]);
  return { drops: judgements.flatMap(({ drops }) => drops), unread: judgements.flatMap(({ unread }) => unread) };
}

function trafficOf(bridge: string, path: Path): Traffic {
  const from = {
    link: bridge,
    subnet: readRoutes().find((route) => route.dev === bridge && route.subnet.family === 4)?.subnet,
  };
  const elsewhere = { notLink: bridge };
  switch (path) {
    case 'bridged':
      return { from, to: from, bridged: true, dnat: false };
    case 'routed':
      return { from, to: elsewhere, bridged: false, dnat: false };
    case 'published':
      return { from: elsewhere, to: from, bridged: false, dnat: true };
  }
}

const isIptables = ({ family, table, name }: ForwardChain) =>
  family === 'ip' && table === 'filter' && name === 'FORWARD';

const tableOf = ({ family, table }: ForwardChain) => `${family} ${table}`;

/** nft knows the matches of iptables' extensions by name only, so iptables' own tool comes first. */
async function readIptablesNft(chains: readonly ForwardChain[], traffic: Traffic, bridge: string) {
  return (await readIptables('iptables-nft', traffic, bridge)) ?? (await readNft(chains, traffic, bridge));
}

async function judge(
  path: Path,
  tables: readonly string[],
  reading: Promise<readonly Filter[] | undefined>,
): Promise<Judgement> {
  // What a tool says that minict cannot read is no reason for a create to fail.
  const filters = await reading.catch(() => undefined);
  if (filters === undefined) return { drops: [], unread: tables };
  const drops = filters.flatMap((filter) => {
    const drop = findDrop(filter);
    return drop === undefined ? [] : [{ path, rule: `${filter.table}, ${drop}`, fix: filter.fix }];
  });
  return { drops, unread: [] };
}
