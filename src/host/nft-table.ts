/**
 * What the kernel says of minict's own nftables table: whether it is still the one that was made, and where a published
 * port leads. By netlink, since `ps` and each repair ask. Reads only.
 */
import { formatIp, parseIp } from '../spec/address.ts';
import { isEvery, isIpv6 } from '../spec/port.ts';
import { netlinkAttribute as attribute, netlinkAttributes, netlinkDump, netlinkRequest } from './netlink.ts';

// linux/netfilter.h, linux/netfilter/nfnetlink.h and nf_tables.h
const NETLINK_NETFILTER = 12;
const GETTABLE = (10 << 8) | 1;
const GETSETELEM = (10 << 8) | 13;
const NFPROTO_INET = 1;
const NESTED = 0x8000;
const TABLE_NAME = 1;
const TABLE_HANDLE = 4;
const [LIST_TABLE, LIST_SET, LIST_ELEMENTS] = [1, 2, 3];
const LIST_ELEM = 1;
const [ELEM_KEY, ELEM_DATA] = [1, 2];
const DATA_VALUE = 1;
const PROTOCOLS = { tcp: 6, udp: 17 } as const;

const text = (type: number, value: string) => attribute(type, Buffer.from(`${value}\0`));

/** nfgenmsg of family inet, and attributes. */
function request(...attributes: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from([NFPROTO_INET, 0, 0, 0]), ...attributes]);
}

function within(data: Buffer | undefined, ...types: readonly number[]): Buffer | undefined {
  return types.reduce((inner, type) => inner && new Map(netlinkAttributes(inner)).get(type), data);
}

/** A number that no other table has had since the host came up. */
export function tableHandle(table: string): string | undefined {
  const answer = netlinkRequest(NETLINK_NETFILTER, GETTABLE, request(text(TABLE_NAME, table)));
  return within(answer?.subarray(4), TABLE_HANDLE)?.toString('hex');
}

/** Of all minicts on this host, other roots' too. */
export function minictTables(): string[] {
  const tables = netlinkDump(NETLINK_NETFILTER, GETTABLE, request()) ?? [];
  const names = tables.map((table) => within(table.subarray(4), TABLE_NAME)?.toString().replace(/\0+$/, '') ?? '');
  return names.filter((name) => /^minict_[0-9a-f]{8}$/.test(name));
}

/** Name of the table's map that has the ports of an address of the host. */
export function publishedMap(ip: string): string {
  return `${isEvery(ip) ? 'any' : 'ports'}${isIpv6(ip) ? 6 : 4}`;
}

function addressBytes(ip: string): Buffer {
  const { family, value } = parseIp(ip);
  return Buffer.from(value.toString(16).padStart(family === 6 ? 32 : 8, '0'), 'hex');
}

/** Each field of a concatenation fills words of four bytes. */
function keyBytes(ip: string, port: number, protocol: keyof typeof PROTOCOLS): Buffer {
  const service = Buffer.alloc(8);
  service.writeUInt8(PROTOCOLS[protocol], 0);
  service.writeUInt16BE(port, 4);
  return Buffer.concat([isEvery(ip) ? Buffer.alloc(0) : addressBytes(ip), service]);
}

/** `TABLE ADDRESS:PORT/PROTOCOL` → where it leads: `10.1.0.2:80`. Undefined where it leads nowhere. */
export function publishedTarget(claim: string): string | undefined {
  const [, table = '', ip = '', port, protocol] = /^(\S+) \[?([^\]]+?)\]?:(\d+)\/(tcp|udp)$/.exec(claim) ?? [];
  if (port === undefined) return undefined;
  const key = attribute(DATA_VALUE, keyBytes(ip, Number(port), protocol as keyof typeof PROTOCOLS));
  const element = attribute(LIST_ELEM | NESTED, attribute(ELEM_KEY | NESTED, key));
  const body = request(
    text(LIST_TABLE, table),
    text(LIST_SET, publishedMap(ip)),
    attribute(LIST_ELEMENTS | NESTED, element),
  );
  const answer = netlinkRequest(NETLINK_NETFILTER, GETSETELEM, body);
  const value = within(answer?.subarray(4), LIST_ELEMENTS, LIST_ELEM, ELEM_DATA, DATA_VALUE);
  if (value === undefined) return undefined;
  const length = isIpv6(ip) ? 16 : 4;
  const address = BigInt(`0x${value.subarray(0, length).toString('hex')}`);
  return `${formatIp({ family: isIpv6(ip) ? 6 : 4, value: address })} ${value.readUInt16BE(length)}`;
}
