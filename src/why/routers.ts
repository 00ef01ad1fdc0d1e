/** Who could hand a packet on, by minict's records, and the route that says so. Pure. */
import { formatSubnet } from '../spec/address.ts';
import type { Node, PathFacts } from './facts.ts';
import { ipCommand } from './mend.ts';
import { addressSubnet, cidrSubnet, interfaceOf, isIn, outgoingOf, type Place } from './place.ts';

const plain = (cidr: string) => cidr.split('/')[0] as string;

/** The route by a container that forwards, and is in a network of `node`'s and in that of `to`. */
export function routerTo({ containers, forwarders }: PathFacts, node: Node, to: string): string | undefined {
  const own = (node.spec?.nics ?? []).flatMap(({ addresses }) => addresses.map(cidrSubnet));
  for (const { name, nics } of containers) {
    if (name === node.name || !forwarders.has(name)) continue;
    const cidrs = nics.flatMap(({ addresses }) => addresses);
    const beyond = cidrs.find((cidr) => isIn(cidrSubnet(cidr), to) && plain(cidr) !== to);
    const isOfFamily = (cidr: string) => cidr.includes(':') === to.includes(':');
    const here = cidrs.find(
      (cidr) => cidr !== beyond && isOfFamily(cidr) && own.some((subnet) => isIn(subnet, plain(cidr))),
    );
    if (beyond === undefined || here === undefined) continue;
    return ipCommand(node, `route add ${formatSubnet(cidrSubnet(beyond))} via ${plain(here)}`);
  }
  return undefined;
}

/** The route from this node back to the source's network: by whom the packet came. */
export function routeBack({ facts, node }: Pick<Place, 'facts' | 'node'>): string | undefined {
  const { there, from, family } = facts;
  const index = there.findIndex((hop) => hop.node === node);
  const before = there[index - 1];
  const first = there[0];
  if (before === undefined || first === undefined || from === undefined) return undefined;
  const via = interfaceOf(before.node, outgoingOf(before))?.addresses.find((each) => each.family === family);
  const source = first.node.interfaces.flatMap(({ addresses }) => addresses).find(({ ip }) => ip === from);
  // A neighbour of the source's has its network on the link.
  if (via === undefined || source === undefined || index < 2) return undefined;
  return ipCommand(node, `route add ${formatSubnet(addressSubnet(source))} via ${via.ip}`);
}
