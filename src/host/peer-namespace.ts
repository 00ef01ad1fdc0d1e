/**
 * The network namespace that a veth's other end is in, and whether it lives on: by the number that the kernel gives it here
 * (`ip netns list-id`), so that who holds it need not be looked for among all processes.
 */
import { netlinkAttribute as attribute, netlinkAttributes, netlinkRequest, netlinkSet } from './netlink.ts';
import {
  aboutLink,
  IFF_UP,
  IFINFOMSG_BYTES,
  int32,
  linkRequest,
  NETLINK_ROUTE,
  RTM_GETLINK,
  RTM_NEWLINK,
} from './rtnetlink.ts';
import { interfaceIndex } from './syscalls.ts';

const RTM_GETNSID = 90;
const IFLA_LINK_NETNSID = 37;
const NETNSA_NSID = 1;

/** `ip link set LINK down`, of the very interface: its name may be another's by now. Nothing where it is gone. */
export function takeDown(index: number): void {
  netlinkSet(NETLINK_ROUTE, [() => ({ type: RTM_NEWLINK, flags: 0, body: aboutLink(index, 0, IFF_UP) })]);
}

/** Number of the namespace; undefined where there is no such interface, or no other end elsewhere. */
export function peerNamespace(link: string): number | undefined {
  const index = interfaceIndex(link);
  if (index === 0) return undefined;
  const reply = netlinkRequest(NETLINK_ROUTE, RTM_GETLINK, linkRequest(index));
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
    netlinkRequest(NETLINK_ROUTE, RTM_GETNSID, Buffer.concat([family, attribute(NETNSA_NSID, int32(number))])) !==
    undefined
  );
}
