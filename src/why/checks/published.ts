/** Published ports, and other rules that lead a packet elsewhere (DNAT). */
import { hostEnd, isEvery, isIpv6, isLoopback } from '../../spec/port.ts';
import { type Finding, fail, ok } from '../finding.ts';
import { sysctlCommand } from '../mend.ts';
import { addressSubnet, isIn, outgoingOf, type Place, whereOf } from '../place.ts';

const shown = (ip: string, port: number | undefined) => (port === undefined ? ip : hostEnd({ ip, port }));

/** Where a rule of this node's leads it. */
export function checkDestination({ facts, node, hop }: Place): Finding | undefined {
  const { to, sentTo, unreadDnat } = hop;
  if (unreadDnat !== undefined) return ok(node.name, 'DNAT', `led elsewhere, minict cannot read where: ${unreadDnat}`);
  if (sentTo === undefined) return undefined;
  const holder = facts.containers.find(({ nics }) =>
    nics.some(({ addresses }) => addresses.some((cidr) => cidr.split('/')[0] === to.ip)),
  );
  const whose = holder === undefined ? '' : ` of ${holder.name}`;
  return ok(node.name, 'DNAT', `${shown(sentTo.ip, sentTo.port)} leads to ${shown(to.ip, to.port)}${whose}`);
}

/** From the loopback no packet leaves, and to it none comes in, but by an interface that may (ip-sysctl.rst, route_localnet). */
export function checkLoopbackRoute({ node, hop, to }: Place): Finding | undefined {
  if (hop.sentTo === undefined || !isLoopback(hop.from ?? '')) return undefined;
  const near = node.interfaces.find(({ addresses }) => addresses.some((each) => isIn(addressSubnet(each), to)));
  const dev = outgoingOf(hop) ?? near?.name;
  const isOff = ['all', dev].every((each) => node.settings.get(`net/ipv4/conf/${each}/route_localnet`) === '0');
  if (dev === undefined || !isOff) return undefined;
  const setting = `net.ipv4.conf.${dev.replaceAll('.', '/')}.route_localnet`;
  return fail(whereOf(node, dev), 'DNAT', 'not-published', `${setting} is 0`, sysctlCommand(node, setting, 1));
}

/** Why a port of the host's that nobody listens on leads to no container, where minict's records have one that publishes it. */
export function checkPublished({ facts, node, hop }: Place): Finding | undefined {
  const { protocol } = facts.question;
  const { ip, port } = hop.to;
  const says = (found: string, fix: string) => fail(node.name, 'published', 'not-published', found, fix);
  if (!node.isHost) return undefined;
  if (hop.unreadDnat !== undefined) {
    const found = `a rule that minict cannot read leads it on: ${hop.unreadDnat}`;
    return fail(node.name, 'DNAT', 'no-answer', found, { look: 'nft list ruleset' });
  }
  const all = facts.containers.flatMap(({ name, ports = [] }) => ports.map((each) => ({ ...each, name })));
  const same = all.filter((each) => each.protocol === protocol && each.port === port && isIpv6(each.ip) === isIpv6(ip));
  const here = same.find((each) => each.ip === ip || isEvery(each.ip));
  if (here !== undefined) {
    return facts.up.has(here.name)
      ? says(`${here.name} publishes it, and no rule leads there`, 'minict network reload')
      : says(`${here.name} publishes it, and is stopped`, `minict start ${here.name}`);
  }
  const [other] = same;
  if (other === undefined) return undefined;
  const wanted = `a container with -p ${hostEnd({ ip: isIpv6(ip) ? '::' : '0.0.0.0', port: other.port })}:${other.to}`;
  return says(
    `${other.name} publishes it at ${other.ip} alone, not at ${ip}`,
    `publish it at ${ip} or at all addresses: ${wanted}`,
  );
}
