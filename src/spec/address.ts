/** IPv4 addresses and subnets as numbers. Pure. */
import { InvalidInputError } from '../errors.ts';

export interface Subnet {
  /** Network address, unsigned 32 bit. */
  readonly base: number;
  readonly prefix: number;
}

export function parseIpv4(text: string): number {
  const parts = text.split('.');
  const value = parts.reduce((sum, part) => {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) {
      throw new InvalidInputError(`cannot use address '${text}': not an IPv4 address`, {
        hint: 'for example 192.168.0.11',
      });
    }
    return sum * 256 + Number(part);
  }, 0);
  if (parts.length !== 4) {
    throw new InvalidInputError(`cannot use address '${text}': not an IPv4 address`, {
      hint: 'for example 192.168.0.11',
    });
  }
  return value;
}

/** `A.B.C.D` or `A.B.C.D/len`, len 8 to 30. */
export function parseAddress(text: string): { address: number; prefix: number | undefined } {
  const [address, prefix, ...rest] = text.split('/');
  if (prefix === undefined) return { address: parseIpv4(text), prefix: undefined };
  if (rest.length > 0 || !/^\d{1,2}$/.test(prefix) || Number(prefix) < 8 || Number(prefix) > 30) {
    throw new InvalidInputError(`cannot use address '${text}': the prefix length must be 8 to 30`);
  }
  return { address: parseIpv4(address ?? ''), prefix: Number(prefix) };
}

export function formatIpv4(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

export function subnetOf(address: number, prefix: number): Subnet {
  const mask = prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0;
  return { base: (address & mask) >>> 0, prefix };
}

export function formatSubnet(subnet: Subnet): string {
  return `${formatIpv4(subnet.base)}/${subnet.prefix}`;
}

export function parseSubnet(text: string): Subnet {
  const { address, prefix } = parseAddress(text);
  return subnetOf(address, prefix ?? 24);
}

export function broadcastOf(subnet: Subnet): number {
  return subnet.base + 2 ** (32 - subnet.prefix) - 1;
}

export function contains(subnet: Subnet, address: number): boolean {
  return subnetOf(address, subnet.prefix).base === subnet.base;
}

export function overlap(a: Subnet, b: Subnet): boolean {
  const prefix = Math.min(a.prefix, b.prefix);
  return subnetOf(a.base, prefix).base === subnetOf(b.base, prefix).base;
}

/** Whether all of it is private by RFC 1918. */
export function isPrivate(subnet: Subnet): boolean {
  return ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'].some((text) => {
    const block = parseSubnet(text);
    return block.prefix <= subnet.prefix && contains(block, subnet.base);
  });
}

/** From IPv4's least (RFC 791) to the most a veth takes. Throws InvalidInputError. */
export function parseMtuBytes(text: string): number {
  const mtuBytes = Number(text);
  if (/^\d+$/.test(text) && mtuBytes >= 68 && mtuBytes <= 65535) return mtuBytes;
  throw new InvalidInputError(`cannot use MTU '${text}': 68 to 65535 bytes`);
}
