/** IP addresses and subnets of both families as numbers. Pure. */
import { InvalidInputError } from '../errors.ts';

export type Family = 4 | 6;

export interface Address {
  readonly family: Family;
  /** Unsigned, 32 or 128 bits. */
  readonly value: bigint;
}

export interface Subnet {
  readonly family: Family;
  /** Network address. */
  readonly base: bigint;
  readonly prefix: number;
}

const BITS = { 4: 32, 6: 128 } as const;

/** Prefix lengths of networks with at least two hosts, and not half the world. */
const PREFIXES = { 4: { least: 8, most: 30 }, 6: { least: 16, most: 126 } } as const;

/** In loops: what JavaScript has for lists, and an expression, take 0.2 ms at first use, in every create. */
function ipv4Value(text: string): bigint | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return;
  let value = 0;
  for (const part of parts) {
    const byte = Number(part);
    // As it is written by who means a decimal number: neither 010, nor 1e1, nor nothing.
    if (!(byte >= 0 && byte < 256) || String(byte) !== part) return;
    value = value * 256 + byte;
  }
  return BigInt(value);
}

/** RFC 4291, section 2.2. */
function ipv6Value(text: string): bigint | undefined {
  const tail = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  const embedded = tail?.[2] === undefined ? undefined : ipv4Value(tail[2]);
  if (tail !== null && embedded === undefined) return;
  const hex =
    embedded === undefined
      ? text
      : `${tail?.[1]}${(embedded >> 16n).toString(16)}:${(embedded & 0xffffn).toString(16)}`;
  const halves = hex.split('::').map((half) => (half === '' ? [] : half.split(':')));
  const groups = halves.flat();
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return;
  const missing = 8 - groups.length;
  if (halves.length > 2 || (halves.length === 1 ? missing !== 0 : missing < 1)) return;
  const [front = [], back = []] = halves;
  const all = [...front, ...Array<string>(missing).fill('0'), ...back];
  return all.reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n);
}

/** Throws InvalidInputError. */
export function parseIp(text: string): Address {
  const family = text.includes(':') ? 6 : 4;
  const value = family === 6 ? ipv6Value(text) : ipv4Value(text);
  if (value !== undefined) return { family, value };
  throw new InvalidInputError(`cannot use address '${text}': not an IP${family === 6 ? 'v6' : 'v4'} address`, {
    hint: 'for example 192.168.0.11, or fd00:1::11',
  });
}

/** `A.B.C.D` or `A::B`, with or without `/len`. Throws InvalidInputError. */
export function parseAddress(text: string): { address: Address; prefix: number | undefined } {
  const [plain = '', prefix, ...rest] = text.split('/');
  const address = parseIp(plain);
  if (prefix === undefined) return { address, prefix: undefined };
  const { least, most } = PREFIXES[address.family];
  if (rest.length > 0 || !/^\d{1,3}$/.test(prefix) || Number(prefix) < least || Number(prefix) > most) {
    throw new InvalidInputError(`cannot use address '${text}': the prefix length must be ${least} to ${most}`, {
      hint: `for example ${plain}/${address.family === 4 ? 24 : 64}`,
    });
  }
  return { address, prefix: Number(prefix) };
}

/** With its length, which may be any: `10.0.12.0/31` is one of two. Throws InvalidInputError. */
export function parseInterfaceAddress(text: string): { address: Address; prefix: number } {
  const [plain = '', prefix, ...rest] = text.split('/');
  const address = parseIp(plain);
  const most = BITS[address.family];
  if (rest.length === 0 && prefix !== undefined && /^[1-9]\d{0,2}$/.test(prefix) && Number(prefix) <= most) {
    return { address, prefix: Number(prefix) };
  }
  throw new InvalidInputError(`cannot use address '${text}': it needs a prefix length, 1 to ${most}`, {
    hint: `for example ${plain}/${address.family === 4 ? 30 : 64}`,
  });
}

/** As RFC 5952 has it. */
export function formatIp({ family, value }: Address): string {
  if (family === 4) return [24, 16, 8, 0].map((shift) => (Number(value) >>> shift) & 255).join('.');
  const groups = Array.from({ length: 8 }, (_, index) => ((value >> BigInt(112 - index * 16)) & 0xffffn).toString(16));
  const runs = [...groups.join(':').matchAll(/(?<![0-9a-f])0(:0)+(?![0-9a-f])/g)].map(([run]) => run);
  const longest = runs.reduce((best, run) => (run.length > best.length ? run : best), '');
  if (longest === '') return groups.join(':');
  const text = `:${groups.join(':')}:`;
  return text
    .replace(`:${longest}:`, '::')
    .replace(/^:(?!:)/, '')
    .replace(/(?<!:):$/, '');
}

export function subnetOf({ family, value }: Address, prefix: number): Subnet {
  const rest = BigInt(BITS[family] - prefix);
  return { family, base: (value >> rest) << rest, prefix };
}

export function formatSubnet({ family, base, prefix }: Subnet): string {
  return `${formatIp({ family, value: base })}/${prefix}`;
}

/** Throws InvalidInputError. */
export function parseSubnet(text: string): Subnet {
  const { address, prefix } = parseAddress(text);
  return subnetOf(address, prefix ?? (address.family === 4 ? 24 : 64));
}

/** The subnet's last address: IPv4's broadcast address. */
export function lastOf({ family, base, prefix }: Subnet): Address {
  return { family, value: base + (1n << BigInt(BITS[family] - prefix)) - 1n };
}

export function contains(subnet: Subnet, address: Address): boolean {
  return subnet.family === address.family && subnetOf(address, subnet.prefix).base === subnet.base;
}

export function overlap(a: Subnet, b: Subnet): boolean {
  const wide = a.prefix < b.prefix ? a : b;
  const narrow = wide === a ? b : a;
  return contains(wide, { family: narrow.family, value: narrow.base });
}

/** The link-local address that an interface makes of its MAC address (RFC 4291, appendix A). */
export function linkLocalOf(mac: string): string {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = mac.split(':').map((byte) => Number.parseInt(byte, 16));
  const [first, ...rest] = [((a ^ 2) << 8) | b, (c << 8) | 0xff, 0xfe00 | d, (e << 8) | f].map((group) =>
    group.toString(16),
  );
  // RFC 5952: all zeros that follow each other are left out.
  return `fe80::${first === '0' ? '' : `${first}:`}${rest.join(':')}`;
}

/** Whether all of it is private: RFC 1918, RFC 4193. */
export function isPrivate(subnet: Subnet): boolean {
  return ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'].some((text) => {
    const block = parseSubnet(text);
    return block.prefix <= subnet.prefix && contains(block, { family: subnet.family, value: subnet.base });
  });
}

/** 24 bits (RFC 7348). Throws InvalidInputError. */
export function parseVni(text: string): number {
  const vni = Number(text);
  if (/^\d+$/.test(text) && vni > 0 && vni < 2 ** 24) return vni;
  throw new InvalidInputError(`cannot use VNI '${text}': 1 to ${2 ** 24 - 1}`, { hint: 'for example 42' });
}

/** Below this MTU the kernel has no IPv6 on an interface (RFC 8200), nor its settings. */
export const IPV6_MIN_MTU_BYTES = 1280;

/** Throws InvalidInputError where one of the addresses or subnets is of IPv6, which needs more. */
export function requireIpv6Mtu(mtuBytes: number | undefined, cidrs: readonly string[]): void {
  if (mtuBytes === undefined || mtuBytes >= IPV6_MIN_MTU_BYTES || !cidrs.some((cidr) => cidr.includes(':'))) return;
  throw new InvalidInputError(`cannot use MTU ${mtuBytes}: IPv6 needs ${IPV6_MIN_MTU_BYTES}`, {
    hint: `${IPV6_MIN_MTU_BYTES} or more, or IPv4 alone`,
  });
}

/** From IPv4's least (RFC 791) to the most a veth takes. Throws InvalidInputError. */
export function parseMtuBytes(text: string): number {
  const mtuBytes = Number(text);
  if (/^\d+$/.test(text) && mtuBytes >= 68 && mtuBytes <= 65535) return mtuBytes;
  throw new InvalidInputError(`cannot use MTU '${text}': 68 to 65535 bytes`, { hint: 'for example 1500, or 9000' });
}
