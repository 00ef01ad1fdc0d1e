/** The host's own network settings that containers depend on. */
import { readRoutes } from '../host/facts.ts';
import { formatSubnet, overlap, parseSubnet } from '../spec/address.ts';
import { readNetwork } from '../state/network.ts';
import { type Check, type Examined, isRoot, notTried, pass, readSetting, warn } from './check.ts';

export function checkForwarding(): Check {
  if (readSetting('/proc/sys/net/ipv4/ip_forward') === '1') return pass('ip_forward', '1');
  const detail = '0: containers reach one another and the host, and nothing beyond';
  return warn('ip_forward', detail, 'sysctl -w net.ipv4.ip_forward=1');
}

export async function checkRoutes({ roots, network }: Examined): Promise<Check> {
  if (!isRoot()) return notTried('routes');
  const record = await readNetwork(roots, network);
  if (record === undefined) return pass('routes', 'the first create takes a subnet that no route has');
  const subnets = record.subnets.map((each) => parseSubnet(each.subnet));
  const shown = subnets.map(formatSubnet).join(' and ');
  const others = readRoutes().filter(({ dev }) => dev !== record.link);
  const other = others.find((route) => subnets.some((subnet) => overlap(route.subnet, subnet)));
  if (other === undefined) return pass('routes', `none overlaps ${shown}`);
  const members = Object.keys(record.members);
  const remove = members.length > 0 ? `minict rm ${members.join(' ')} && ` : '';
  return warn(
    'routes',
    `${formatSubnet(other.subnet)} on ${other.dev} overlaps network ${network}, ${shown}; a new one takes another`,
    `${remove}minict system prune`,
  );
}

/** The table is the whole kernel's, and only the first network namespace shows its limits. */
export function checkNeighbours(): Check {
  const limit = readSetting('/proc/sys/net/ipv4/neigh/default/gc_thresh3');
  if (limit === undefined) return pass('neighbours', 'limit not shown in this network namespace');
  if (Number(limit) >= 4096) return pass('neighbours', `gc_thresh3 ${limit}`);
  return warn(
    'neighbours',
    `gc_thresh3 ${limit}: labs of many containers overflow the neighbour table`,
    'sysctl -w net.ipv4.neigh.default.gc_thresh2=4096 net.ipv4.neigh.default.gc_thresh3=8192',
  );
}
