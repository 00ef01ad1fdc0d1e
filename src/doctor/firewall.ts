/** Whether the host's firewall lets the containers' traffic through. */
import { judgeFirewall } from '../host/firewall/drops.ts';
import { bridgedMeetsIpRules, type Path } from '../host/firewall/hooks.ts';
import { type Check, type Examined, isRoot, notTried, pass, readSetting, warn } from './check.ts';

/** Not bad in itself: docker and Kubernetes want it so. It decides which rules the next check judges. */
export function checkBridgedTraffic(): Check {
  const detail = bridgedMeetsIpRules()
    ? 'traffic between containers meets the rules of iptables'
    : "traffic between containers meets no rules but nft's family bridge";
  return pass('br_netfilter', detail);
}

export async function checkFirewall({ network }: Examined): Promise<Check | Check[]> {
  if (!isRoot()) return notTried('firewall');
  const forwards = readSetting('/proc/sys/net/ipv4/ip_forward') === '1';
  const lines = await Promise.all([
    judge(network, 'bridged', 'between containers'),
    ...(forwards ? [judge(network, 'routed', 'from containers to other networks')] : []),
  ]);
  return lines.some((found) => found.length > 0) ? lines.flat() : pass('firewall', 'no rule known to stop containers');
}

async function judge(network: string, path: Path, what: string): Promise<Check[]> {
  const { drops, unread } = await judgeFirewall(network, path);
  return [
    ...drops.map(({ rule, fix }) => warn('firewall', `stops traffic ${what}: ${rule}`, fix)),
    ...unread.map((table) =>
      warn(
        'firewall',
        `table ${table} may stop traffic ${what}; no tool to read it`,
        'apt-get install nftables iptables',
      ),
    ),
  ];
}
