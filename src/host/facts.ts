/** Read-only facts of the host: routes, interfaces, mount points, name servers. No process is started. */
import { existsSync, readFileSync } from 'node:fs';
import { type Subnet, subnetOf } from '../spec/address.ts';

export interface HostRoute {
  readonly subnet: Subnet;
  readonly dev: string;
}

/** IPv4 routes of the main table but the default one, from /proc/net/route (hex in host byte order, little-endian). */
export function readRoutes(): HostRoute[] {
  const swap = (hex: string) => Buffer.from(hex, 'hex').readUInt32LE();
  return readFileSync('/proc/net/route', 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const field = line.split('\t');
      const mask = swap(field[7] ?? '00000000');
      const prefix = mask === 0 ? 0 : 32 - Math.log2(2 ** 32 - mask);
      return prefix === 0 ? [] : [{ subnet: subnetOf(swap(field[1] ?? ''), prefix), dev: field[0] ?? '' }];
    });
}

/** Mount points of this mount namespace, from mountinfo (octal escapes undone). */
export function readMountPoints(pid: number | 'self' = 'self'): string[] {
  return parseMountPoints(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'));
}

export function parseMountPoints(mountinfo: string): string[] {
  return mountinfo
    .split('\n')
    .filter(Boolean)
    .map((line) =>
      (line.split(' ')[4] ?? '').replace(/\\(\d{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8))),
    );
}

/** The host's name servers without loopback ones, which mean the host itself (docker does the same). */
export function readResolvConf(): string {
  if (!existsSync('/etc/resolv.conf')) return '';
  return readFileSync('/etc/resolv.conf', 'utf8')
    .split('\n')
    .filter((line) => !/^\s*nameserver\s+(127\.|::1)/.test(line))
    .join('\n');
}
