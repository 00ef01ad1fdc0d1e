/** rtnetlink(7): what `ip` says inside a container's network namespace, where that is a single message. */
import { parseInterfaceAddress, parseIp } from '../spec/address.ts';
import { netlinkAttribute as attribute, type NetlinkChange, netlinkSet } from './netlink.ts';
import { interfaceIndex } from './syscalls.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const NLM_F_REPLACE = 0x100;
const NLM_F_EXCL = 0x200;
const NLM_F_CREATE = 0x400;
export const IFF_UP = 1;
const IFLA_AF_SPEC = 26;
const IFLA_EXT_MASK = 29;
const RTEXT_FILTER_SKIP_STATS = 8;
const IFLA_INET6_ADDR_GEN_MODE = 8;
const IN6_ADDR_GEN_MODE_NONE = 1;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_BROADCAST = 4;
const IFA_F_NODAD = 2;
export const RT_TABLE_MAIN = 254;
const RTPROT_BOOT = 3;
const RTN_UNICAST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;

export const NETLINK_ROUTE = 0;
export const RTM_NEWLINK = 16;
export const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_NEWROUTE = 24;

/** The longest prefix with a broadcast address, as `brd +` has it. */
const MAX_BROADCAST_PREFIX = 30;

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

export const IFINFOMSG_BYTES = 16;

/** struct ifinfomsg: the flags in `change` become what they are in `flags`. */
export function aboutLink(index: number, flags = 0, change = 0): Buffer {
  const header = Buffer.alloc(IFINFOMSG_BYTES);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(flags, 8);
  header.writeUInt32LE(change, 12);
  return header;
}

/** Of RTM_GETLINK: about one, or all (0), without what they have carried. */
export function linkRequest(index: number): Buffer {
  return Buffer.concat([aboutLink(index), attribute(IFLA_EXT_MASK, int32(RTEXT_FILTER_SKIP_STATS))]);
}

/** A change of one interface, or by way of it. */
export interface LinkChange {
  readonly link: string;
  readonly type: number;
  readonly flags: number;
  /** `index` is the interface's. */
  body(index: number): Buffer;
}

/**
 * Makes the changes in the network namespace that this thread is in, one after the other. Returns how many the kernel made before
 * it refused one.
 */
export function changeLinks(changes: readonly LinkChange[]): number {
  return netlinkSet(
    NETLINK_ROUTE,
    changes.map((change) => () => withIndex(change)),
  );
}

/** Undefined where its interface is not there. */
function withIndex({ link, type, flags, body }: LinkChange): NetlinkChange | undefined {
  const index = interfaceIndex(link);
  return index === 0 ? undefined : { type, flags, body: body(index) };
}

/** Words of an `ip` that are a change of this kind; undefined where it is ip(8) that knows how. */
export function linkChange([object, verb, ...words]: readonly string[]): LinkChange | undefined {
  if (object === 'link' && verb === 'set') return linkSet(words);
  if (object === 'addr' && verb === 'replace') return addressReplace(words);
  return object === 'route' && verb === 'add' ? defaultRouteAdd(words) : undefined;
}

/** `dev LINK up`, `dev LINK addrgenmode none`. */
function linkSet([dev, link = '', ...setting]: readonly string[]): LinkChange | undefined {
  if (dev !== 'dev') return undefined;
  const change = (body: LinkChange['body']) => ({ link, type: RTM_NEWLINK, flags: 0, body });
  switch (setting.join(' ')) {
    case 'up':
      return change((index) => aboutLink(index, IFF_UP, IFF_UP));
    case 'addrgenmode none': {
      const mode = attribute(IFLA_INET6_ADDR_GEN_MODE, Uint8Array.of(IN6_ADDR_GEN_MODE_NONE));
      const spec = attribute(IFLA_AF_SPEC, attribute(AF_INET6, mode));
      return change((index) => Buffer.concat([aboutLink(index), spec]));
    }
    default:
      return undefined;
  }
}

function bytesOf(value: bigint, length: number): Buffer {
  return Buffer.from(value.toString(16).padStart(length * 2, '0'), 'hex');
}

/** `A.B.C.D/LEN brd + dev LINK`, `A::B/LEN nodad dev LINK`. */
function addressReplace([cidr = '', ...words]: readonly string[]): LinkChange | undefined {
  const isIpv6 = cidr.includes(':');
  const [dev, link = '', ...rest] = words.slice(isIpv6 ? 1 : 2);
  if (dev !== 'dev' || rest.length > 0 || words.slice(0, -2).join(' ') !== (isIpv6 ? 'nodad' : 'brd +'))
    return undefined;
  const { address, prefix } = parseInterfaceAddress(cidr);
  const length = isIpv6 ? 16 : 4;
  const own = bytesOf(address.value, length);
  // Its scope would be the host's.
  if (own[0] === 127) return undefined;
  const hosts = (1n << BigInt(length * 8 - prefix)) - 1n;
  const broadcast =
    isIpv6 || prefix > MAX_BROADCAST_PREFIX ? [] : [attribute(IFA_BROADCAST, bytesOf(address.value | hosts, length))];
  const header = (index: number) =>
    Buffer.concat([Uint8Array.of(isIpv6 ? AF_INET6 : AF_INET, prefix, isIpv6 ? IFA_F_NODAD : 0, 0), int32(index)]);
  return {
    link,
    type: RTM_NEWADDR,
    flags: NLM_F_CREATE | NLM_F_REPLACE,
    body: (index) =>
      Buffer.concat([header(index), attribute(IFA_LOCAL, own), attribute(IFA_ADDRESS, own), ...broadcast]),
  };
}

/** `default via GATEWAY dev LINK`. */
function defaultRouteAdd(words: readonly string[]): LinkChange | undefined {
  const [what, via, gateway = '', dev, link = '', ...rest] = words;
  if (what !== 'default' || via !== 'via' || dev !== 'dev' || rest.length > 0) return undefined;
  const { family, value } = parseIp(gateway);
  const [af, length] = family === 6 ? [AF_INET6, 16] : [AF_INET, 4];
  const header = Uint8Array.of(af, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0, 0, 0, 0);
  const through = attribute(RTA_GATEWAY, bytesOf(value, length));
  return {
    link,
    type: RTM_NEWROUTE,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    body: (index) => Buffer.concat([header, through, attribute(RTA_OIF, int32(index))]),
  };
}
