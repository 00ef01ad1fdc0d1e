/** Read-only facts of the host: routes, interfaces, mount points, name servers. No process is started. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { type Subnet, subnetOf } from '../spec/address.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { inMountinfo } from '../spec/octal.ts';

export interface HostRoute {
  readonly subnet: Subnet;
  readonly dev: string;
  /** Where it is not in the main table. */
  readonly table?: number;
}

/** Routes of both families but the default ones: those that the kernel shows in /proc. */
export function readRoutes(): HostRoute[] {
  return [...readIpv4Routes(), ...readIpv6Routes()];
}

/** The main table, from /proc/net/route (hex in host byte order, little-endian). */
function readIpv4Routes(): HostRoute[] {
  const swap = (hex: string) => Buffer.from(hex, 'hex').readUInt32LE();
  return readFileSync('/proc/net/route', 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const field = line.split('\t');
      const mask = swap(field[7] ?? '00000000');
      const prefix = mask === 0 ? 0 : 32 - Math.log2(2 ** 32 - mask);
      const address = { family: 4, value: BigInt(swap(field[1] ?? '')) } as const;
      return prefix === 0 ? [] : [{ subnet: subnetOf(address, prefix), dev: field[0] ?? '' }];
    });
}

/** All tables, from /proc/net/ipv6_route; without what the kernel has for each interface: ff00::/8, fe80::/64, own addresses. */
function readIpv6Routes(): HostRoute[] {
  const path = '/proc/net/ipv6_route';
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .flatMap((line) => {
      const [hex = '0', length = '0', , , , , , , , dev = ''] = line.split(/\s+/);
      const prefix = Number.parseInt(length, 16);
      if (prefix === 0 || prefix === 128 || dev === 'lo' || /^(ff|fe80)/.test(hex)) return [];
      return [{ subnet: subnetOf({ family: 6, value: BigInt(`0x${hex}`) }, prefix), dev }];
    });
}

export interface MountPoint {
  readonly target: string;
  /** Mounts beneath it show in other mount namespaces. */
  readonly shared: boolean;
  /** What is mounted has no name any more: somebody removed it. */
  readonly removed: boolean;
  /** Of this mount, not of its file system: `ro,nosuid`. */
  readonly options: string;
}

/**
 * What is mounted in each of `dirs`: another's files, in a folder that is to be removed. rm(1) sees no border where both
 * are on one disk.
 */
export function mountsIn(dirs: readonly string[]): Map<string, string[]> {
  const mountinfo = dirs.length === 0 ? '' : readFileSync('/proc/self/mountinfo', 'utf8');
  // Mostly there is none: that can be seen without looking at each.
  const some = dirs.some((dir) => mountinfo.includes(inMountinfo(dir)));
  const targets = some ? parseMountPoints(mountinfo).map(({ target }) => target) : [];
  return new Map(dirs.map((dir) => [dir, targets.filter((target) => `${target}/`.startsWith(`${dir}/`))]));
}

/** Mount points that this process can reach. */
export function readMountPoints(): MountPoint[] {
  return parseMountPoints(readFileSync('/proc/self/mountinfo', 'utf8'));
}

interface Mount extends MountPoint {
  readonly id: string;
  readonly parent: string;
}

/** From proc_pid_mountinfo(5): octal escapes undone, without mounts that another one covers. */
export function parseMountPoints(mountinfo: string): MountPoint[] {
  const mounts: Mount[] = mountinfo
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [id = '', parent = '', , root = '', target = '', options = '', ...tags] =
        line.split(' - ')[0]?.split(' ') ?? [];
      const unoctal = (_: string, octal: string) => String.fromCharCode(Number.parseInt(octal, 8));
      const shared = tags.some((tag) => tag.startsWith('shared:'));
      const removed = root.endsWith('//deleted');
      return { id, parent, target: target.replace(/\\(\d{3})/g, unoctal), shared, removed, options };
    });
  const siblings = Map.groupBy(mounts, (mount) => mount.parent);
  const byId = new Map(mounts.map((mount) => [mount.id, mount]));
  const covered = (mount: Mount): boolean => {
    if (siblings.get(mount.parent)?.some((other) => mount.target.startsWith(`${other.target}/`))) return true;
    const parent = byId.get(mount.parent);
    return parent !== undefined && parent !== mount && covered(parent);
  };
  return mounts.filter((mount) => !covered(mount));
}

/** Of `mountinfo` those at one of the `targets`, and those that may cover them: most of a host's are neither. */
export function mountPointsAt(mountinfo: string, targets: readonly string[]): MountPoint[] {
  const wanted = targets.map((target) => `${inMountinfo(target)}/`);
  const lines = mountinfo.split('\n').filter((line) => {
    const target = line.split(' ', 5)[4];
    return target !== undefined && wanted.some((path) => path.startsWith(target === '/' ? target : `${target}/`));
  });
  return parseMountPoints(lines.join('\n'));
}

/** The host's name servers without loopback ones, which mean the host itself (docker does the same), or what is said in their place. */
export function readResolvConf(dns?: ContainerSpec['dns']): string {
  const text = hostResolvConf();
  return dns === undefined ? text : withDns(text, dns);
}

/** What is given stands in the place of the host's lines of that kind; a search domain `.` is none. */
function withDns(text: string, { servers, search, options }: NonNullable<ContainerSpec['dns']>): string {
  const isTaken = (line: string) => {
    const [keyword = ''] = line.trim().split(/\s/);
    if (keyword === 'nameserver') return servers !== undefined;
    if (keyword === 'search' || keyword === 'domain') return search !== undefined;
    return keyword === 'options' && options !== undefined;
  };
  const domains = (search ?? []).filter((domain) => domain !== '.');
  const lines = [
    ...text.split('\n').filter((line) => line !== '' && !isTaken(line)),
    ...(servers ?? []).map((server) => `nameserver ${server}`),
    ...(domains.length === 0 ? [] : [`search ${domains.join(' ')}`]),
    ...(options === undefined ? [] : [`options ${options.join(' ')}`]),
  ];
  return lines.map((line) => `${line}\n`).join('');
}

function hostResolvConf(): string {
  const own = withoutLoopback('/etc/resolv.conf');
  if (/^\s*nameserver\s/m.test(own)) return own;
  // systemd-resolved listens on a loopback address, and has written here whom it asks (systemd-resolved.service(8)).
  const upstream = withoutLoopback('/run/systemd/resolve/resolv.conf');
  return upstream === '' ? own : upstream;
}

function withoutLoopback(path: string): string {
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) return '';
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => !/^\s*nameserver\s+(127\.|::1)/.test(line))
    .join('\n');
}
