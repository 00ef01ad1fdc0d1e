/** Why an interface that is up has no carrier: what it hangs on. */

import type { Interface } from '../../host/inside/interfaces.ts';
import { quote } from '../../spec/shell-words.ts';
import type { Node } from '../facts.ts';
import { type Advice, type Finding, fail } from '../finding.ts';
import { ipCommand } from '../mend.ts';
import { interfaceOf, nicOf, type Place, whereOf } from '../place.ts';

export function noCarrier({ facts, node }: Place, dev: string): Finding {
  const { host, containers, up } = facts;
  const nic = nicOf(node, dev);
  const says = (found: string, advice: string | Advice) =>
    fail(whereOf(node, dev), 'NIC', 'nic-down', `no carrier: ${found}`, advice);
  if (nic?.kind === 'p2p') {
    const { peer, cable } = nic;
    const other = containers.find(({ name }) => name === peer);
    if (other === undefined) return says(`there is no ${peer}`, `minict create ${peer} --nic p2p:${node.name}`);
    if (!up.has(peer)) return says(`${peer} is stopped`, `minict start ${peer}`);
    const end = other.nics.find((each) => each.kind === 'p2p' && each.cable === cable);
    if (end === undefined) return says(`${peer} has no end of it`, `minict link rm ${node.name}:${dev}`);
    return says(`${peer}'s ${end.name}`, end.down ? `minict link up ${peer}:${end.name}` : `minict start ${peer}`);
  }
  const uplink = nic?.kind === 'macvlan' ? nic.uplink : undefined;
  const link = interfaceOf(host, uplink);
  if (uplink !== undefined && link?.isUp !== true) {
    return link === undefined
      ? says(`its uplink ${uplink} is gone`, { look: 'ip link show' })
      : says(`its uplink ${uplink} is down`, `ip link set dev ${quote(uplink)} up`);
  }
  const [at, name] = uplink === undefined ? [node, dev] : [host, uplink];
  const far = farEnd(host, interfaceOf(at, name));
  if (far?.isUp === false) return says(`the other end, ${far.name}, is down`, `ip link set dev ${quote(far.name)} up`);
  const whose = at === node ? '' : ` of ${name}`;
  return says(`what is at the other end${whose} is down, or no cable is in it`, {
    look: ipCommand(at, `-d link show dev ${quote(name)}`),
  });
}

/** The other end of a veth pair of the host's, where that is the host's, too. */
function farEnd(host: Node, link: Interface | undefined): Interface | undefined {
  if (link?.kind !== 'veth') return undefined;
  return interfaceOf(host, link.peer);
}
