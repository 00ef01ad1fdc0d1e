/**
 * The network namespace that a veth's other end is in, and whether it lives on: by the number that the kernel gives it here
 * (`ip netns list-id`), so that who holds it need not be looked for among all processes.
 */
import { netlinkAttributes, netlinkRequest, netlinkSet } from './netlink.ts';
import { interfaceIndex } from './syscalls.ts';

const NETLINK_ROUTE = 0;
const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const RTM_GETNSID = 90;
const IFINFOMSG_BYTES = 16;
const IFF_UP = 1;
const IFLA_EXT_MASK = 29;
const IFLA_LINK_NETNSID = 37;
const RTEXT_FILTER_SKIP_STATS = 8;
const NETNSA_NSID = 1;

/** An rtnetlink(7) attribute of 32 bits. */
function attribute(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(bytes.length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.writeInt32LE(value, 4);
  return bytes;
}

/** struct ifinfomsg of rtnetlink(7). */
function aboutLink(index: number, flags = 0, change = 0): Buffer {
  const header = Buffer.alloc(IFINFOMSG_BYTES);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(flags, 8);
  header.writeUInt32LE(change, 12);
  return header;
}

/** `ip link set LINK down`, of the very interface: its name may be another's by now. Nothing where it is gone. */
export function takeDown(index: number): void {
  netlinkSet(NETLINK_ROUTE, RTM_NEWLINK, aboutLink(index, 0, IFF_UP));
}

/** Number of the namespace; undefined where there is no such interface, or no other end elsewhere. */
export function peerNamespace(link: string): number | undefined {
  const index = interfaceIndex(link);
  if (index === 0) return undefined;
  const request = Buffer.concat([aboutLink(index), attribute(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)]);
  const reply = netlinkRequest(NETLINK_ROUTE, RTM_GETLINK, request);
  if (reply === undefined) return undefined;
  return new Map(netlinkAttributes(reply.subarray(IFINFOMSG_BYTES))).get(IFLA_LINK_NETNSID)?.readInt32LE();
}

/**
 * Whether anything still holds the namespace: a process, a mount, a descriptor. The kernel finds none from the moment at which
 * the last one lets go, though its interfaces live on for some milliseconds (get_net_ns_by_id() in net_namespace.c).
 */
export function isNamespaceHeld(number: number): boolean {
  const family = Buffer.alloc(4);
  return (
    netlinkRequest(NETLINK_ROUTE, RTM_GETNSID, Buffer.concat([family, attribute(NETNSA_NSID, number)])) !== undefined
  );
}
