/** Addresses and routes of the network namespace that this thread is in, from rtnetlink(7). Reads only. */
import { HostError } from '../errors.ts';
import { type Family, formatIp, subnetOf } from '../spec/address.ts';
import type { HostRoute } from './facts.ts';
import { netlinkAttributes, netlinkDump } from './netlink.ts';
import { NETLINK_ROUTE, RT_TABLE_MAIN } from './rtnetlink.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const RTM_GETADDR = 22;
const RTM_GETROUTE = 26;
const IFADDRMSG_BYTES = 8;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const RTMSG_BYTES = 12;
const RTA_DST = 1;
const RTA_TABLE = 15;
const RTN_UNICAST = 1;
const RT_TABLE_LOCAL = 255;
const RTM_GETRULE = 34;
const FIB_RULE_HDR_BYTES = 12;
const FIB_RULE_INVERT = 2;
const FR_ACT_TO_TBL = 1;
const FRA_TABLE = 15;
/** Whose packets a rule is for: source, interfaces, VRF, user. */
const FRA_SELECTORS = [2, 3, 17, 19, 20];
const FRA_FWMARK = 10;
/** A copy that IPv6 made of a route for one destination. */
const RTM_F_CLONED = 0x200;

function cidrOf(family: number, bytes: Buffer, prefix: number): string {
  const value = BigInt(`0x${bytes.toString('hex')}`);
  return `${formatIp({ family: family === AF_INET6 ? 6 : 4, value })}/${prefix}`;
}

function dump(type: number, headerBytes: number, family: number): Buffer[] {
  const header = Buffer.alloc(headerBytes);
  header[0] = family;
  const bodies = netlinkDump(NETLINK_ROUTE, type, header);
  if (bodies === undefined) throw new HostError('cannot read addresses and routes: the kernel does not tell them');
  return bodies;
}

/** With their lengths, by the index of the interface. Throws HostError. */
export function addressesHere(): Map<number, Set<string>> {
  const all = new Map<number, Set<string>>();
  for (const body of dump(RTM_GETADDR, IFADDRMSG_BYTES, 0)) {
    const attributes = new Map(netlinkAttributes(body.subarray(IFADDRMSG_BYTES)));
    // Of an IPv4 one with a peer IFA_ADDRESS is the peer's; IPv6 ones without have no IFA_LOCAL.
    const own = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS);
    if (own === undefined) continue;
    const index = body.readUInt32LE(4);
    const known = all.get(index) ?? new Set();
    all.set(index, known.add(cidrOf(body[0] as number, own, body[1] as number)));
  }
  return all;
}

/** Tables of IPv4, beside the main one, in which the host's unmarked packets are looked up: `ip rule`, without what is for some. */
function policyTables(): Set<number> {
  const rules = dump(RTM_GETRULE, FIB_RULE_HDR_BYTES, AF_INET).flatMap((body) => {
    const attributes = new Map(netlinkAttributes(body.subarray(FIB_RULE_HDR_BYTES)));
    const isInverted = (body.readUInt32LE(8) & FIB_RULE_INVERT) !== 0;
    const isForSome = FRA_SELECTORS.some((key) => attributes.has(key)) || attributes.has(FRA_FWMARK) !== isInverted;
    const table = attributes.get(FRA_TABLE)?.readUInt32LE() ?? (body[4] as number);
    return isForSome || body[7] !== FR_ACT_TO_TBL ? [] : [table];
  });
  return new Set(rules.filter((table) => table !== RT_TABLE_MAIN && table !== RT_TABLE_LOCAL));
}

/** IPv4 routes in those tables, but the default ones. Throws HostError. */
export function policyRoutes(): HostRoute[] {
  const tables = policyTables();
  if (tables.size === 0) return [];
  return dump(RTM_GETROUTE, RTMSG_BYTES, AF_INET).flatMap((body) => {
    const attributes = new Map(netlinkAttributes(body.subarray(RTMSG_BYTES)));
    const table = attributes.get(RTA_TABLE)?.readUInt32LE() ?? (body[4] as number);
    const to = attributes.get(RTA_DST);
    if (to === undefined || !tables.has(table) || body[7] !== RTN_UNICAST) return [];
    return [{ subnet: subnetOf({ family: 4, value: BigInt(to.readUInt32BE()) }, body[1] as number), dev: '', table }];
  });
}

const EVERYWHERE = { 4: '0.0.0.0/0', 6: '::/0' } as const;

/** Destinations of the main table, with their lengths. Throws HostError. */
export function destinationsHere(family: Family): string[] {
  return dump(RTM_GETROUTE, RTMSG_BYTES, family === 6 ? AF_INET6 : AF_INET).flatMap((body) => {
    const attributes = new Map(netlinkAttributes(body.subarray(RTMSG_BYTES)));
    const table = attributes.get(RTA_TABLE)?.readUInt32LE() ?? body[4];
    if (table !== RT_TABLE_MAIN || (body.readUInt32LE(8) & RTM_F_CLONED) !== 0) return [];
    const to = attributes.get(RTA_DST);
    return to === undefined ? EVERYWHERE[family] : cidrOf(body[0] as number, to, body[1] as number);
  });
}
