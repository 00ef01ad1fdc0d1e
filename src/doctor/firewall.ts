/** Whether the host's firewall lets the containers' traffic through. */
import { judgeFirewall } from '../host/firewall/drops.ts';
import { bridgedMeetsIpRules, type Path } from '../host/firewall/hooks.ts';
import { isLoopback } from '../spec/port.ts';
import { listNetworks, type NetworkRecord, readNetworks } from '../state/network.ts';
import { type Check, type Examined, isRoot, notTried, pass, readSetting, warn } from './check.ts';

/** Not bad in itself: docker and Kubernetes want it so. It decides which rules the next check judges. */
export function checkBridgedTraffic(): Check {
  const detail = bridgedMeetsIpRules()
    ? 'traffic between containers meets the rules of iptables'
    : "traffic between containers meets no rules but nft's family bridge";
  return pass('br_netfilter', detail);
}

const WHAT: Readonly<Record<Path, string>> = {
  bridged: 'between containers',
  routed: 'from containers to other networks',
  published: 'to published ports',
};

export async function checkFirewall({ network, roots }: Examined): Promise<Check | Check[]> {
  if (!isRoot()) return notTried('firewall');
  const forwards = readSetting('/proc/sys/net/ipv4/ip_forward') === '1';
  const records = await readNetworks(roots, listNetworks(roots));
  const lines = await Promise.all([
    judge(network, 'bridged'),
    ...(forwards ? [judge(network, 'routed')] : []),
    ...records.flatMap((record) => forwardedPaths(record).map((path) => judge(record.link, path))),
  ]);
  return lines.some((found) => found.length > 0) ? lines.flat() : pass('firewall', 'no rule known to stop containers');
}

/** The ways on which the host forwards, since somebody asked for it. */
function forwardedPaths({ nat, members }: NetworkRecord): Path[] {
  const ports = Object.values(members).flatMap((member) => member.ports ?? []);
  const isPublished = ports.some(({ ip }) => !isLoopback(ip));
  return [...(nat ? (['routed'] as const) : []), ...(isPublished ? (['published'] as const) : [])];
}

async function judge(link: string, path: Path): Promise<Check[]> {
  const { drops, unread } = await judgeFirewall(link, path);
  return [
    ...drops.map(({ rule, fix }) => warn('firewall', `stops traffic ${WHAT[path]}: ${rule}`, fix)),
    ...unread.map((table) =>
      warn(
        'firewall',
        `table ${table} may stop traffic ${WHAT[path]}; no tool to read it`,
        'apt-get install nftables iptables',
      ),
    ),
  ];
}
