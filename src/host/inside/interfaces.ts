/** Interfaces of a network namespace, as `ip -j -d addr` tells them, bridge ports among them. */
import * as z from 'zod/mini';
import type { Family } from '../../spec/address.ts';
import { type Inside, requireJsonInside } from './run.ts';

const schema = z.object({
  ifname: z.string(),
  ifindex: z.number(),
  link: z.optional(z.string()),
  link_index: z.optional(z.number()),
  flags: z.array(z.string()),
  mtu: z.number(),
  master: z.optional(z.string()),
  address: z.optional(z.string()),
  linkinfo: z.optional(
    z.object({
      info_kind: z.optional(z.string()),
      info_slave_data: z.optional(z.object({ state: z.optional(z.string()), isolated: z.optional(z.boolean()) })),
    }),
  ),
  addr_info: z.array(
    z.object({
      family: z.string(),
      local: z.optional(z.string()),
      prefixlen: z.number(),
      scope: z.string(),
      tentative: z.optional(z.boolean()),
      dadfailed: z.optional(z.boolean()),
    }),
  ),
});

export interface InterfaceAddress {
  readonly family: Family;
  readonly ip: string;
  readonly prefix: number;
  readonly isLinkLocal: boolean;
  /** Not while IPv6 looks for a duplicate, or has found one. */
  readonly isUsable: boolean;
}

export interface Interface {
  readonly name: string;
  readonly index: number;
  /** Of a veth: index of its other end, in whichever namespace that is. */
  readonly peerIndex: number | undefined;
  /** Its other end, where that is in the same namespace. */
  readonly peer: string | undefined;
  readonly kind: string | undefined;
  readonly isUp: boolean;
  readonly hasCarrier: boolean;
  /** Neither asks nor answers ARP. */
  readonly noArp: boolean;
  readonly mtuBytes: number;
  readonly master: string | undefined;
  readonly mac: string | undefined;
  /** As a port of a bridge: `forwarding`, `disabled`, … */
  readonly portState: string | undefined;
  readonly isIsolated: boolean;
  readonly addresses: readonly InterfaceAddress[];
}

/** Throws HostError where the namespace cannot be read. */
export async function readInterfaces(inside: Inside): Promise<Interface[]> {
  const argv = ['ip', '-j', '-d', 'addr', 'show'];
  return (await requireJsonInside(inside, 'the interfaces', argv, z.array(schema))).map((link) => ({
    name: link.ifname,
    index: link.ifindex,
    peerIndex: link.link_index,
    peer: link.link,
    kind: link.linkinfo?.info_kind,
    isUp: link.flags.includes('UP'),
    hasCarrier: link.flags.includes('LOWER_UP'),
    noArp: link.flags.includes('NOARP'),
    mtuBytes: link.mtu,
    master: link.master,
    mac: link.address,
    portState: link.linkinfo?.info_slave_data?.state,
    isIsolated: link.linkinfo?.info_slave_data?.isolated ?? false,
    addresses: link.addr_info.flatMap(({ family, local, prefixlen, scope, tentative, dadfailed }) =>
      local === undefined
        ? []
        : {
            family: family === 'inet6' ? 6 : 4,
            ip: local,
            prefix: prefixlen,
            isLinkLocal: scope === 'link',
            isUsable: !tentative && !dadfailed,
          },
    ),
  }));
}
