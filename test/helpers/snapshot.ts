/**
 * All that minict could change on a host, as lines that are easy to compare: read from the kernel and the disk, never from
 * minict. Two equal snapshots mean that nothing was left behind, and nothing of others was touched. What the kernel does
 * in its own time (IPv6 link-local addresses, whether a port has carrier) is left out.
 */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

export interface Snapshot {
  /** Interfaces with flag UP, bridge, alias and addresses; then routes. */
  readonly network: readonly string[];
  /** Where, type, root, source and propagation. A persisted namespace shows as `nsfs` with its number as the root. */
  readonly mounts: readonly string[];
  /** All tables of nftables, and the kernel's switches for NAT that are on. */
  readonly firewall: readonly string[];
  /** The folders of persisted namespaces, and minict's run dir. */
  readonly run: readonly string[];
  /** This instance's groups, with the number of processes in each. */
  readonly cgroups: readonly string[];
  /** The state folder, without what is in images and root file systems, and what is told of the past; networks with their contents. */
  readonly state: readonly string[];
  /** Programs that run in the host's mount namespace. */
  readonly programs: readonly string[];
}

interface Address {
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly address: string;
  readonly mtu: number;
  readonly master?: string;
  readonly ifalias?: string;
  readonly addr_info: readonly { local: string; prefixlen: number; scope: string }[];
}

interface Route {
  readonly dst: string;
  readonly dev: string;
  readonly gateway?: string;
}

/** Names below `dir`, `depth` folders deep; folders end with a slash. */
function walk(dir: string, depth: number, skip: (path: string) => boolean = () => false, prefix = ''): string[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const path = `${prefix}${entry.name}`;
    if (skip(path)) return [];
    if (!entry.isDirectory()) return [path];
    return [`${path}/`, ...(depth > 1 ? walk(join(dir, entry.name), depth - 1, skip, `${path}/`) : [])];
  });
}

function network(addresses: readonly Address[], routes: readonly Route[]): string[] {
  return [
    ...addresses.map(({ ifname, flags, address, mtu, master, ifalias, addr_info }) => {
      const ips = addr_info.filter((ip) => ip.scope !== 'link').map((ip) => `${ip.local}/${ip.prefixlen}`);
      const words = [ifname, address, mtu, flags.includes('UP') ? 'UP' : 'DOWN', master, ifalias, ...ips];
      return words.filter((word) => word !== undefined).join(' ');
    }),
    ...routes.map(({ dst, dev, gateway }) => `route ${dst} ${dev} ${gateway ?? ''}`),
  ];
}

export function mountLines(mountinfo: string): string[] {
  return mountinfo
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const [left = '', right = ''] = line.split(' - ');
      const [, , , root, target, , ...peers] = left.split(' ');
      const [type, source] = right.split(' ');
      // Numbers of peer groups are handed out anew.
      return [target, type, root, source, ...peers.map((peer) => peer.split(':')[0])].join(' ');
    });
}

function cgroups(instance: string): string[] {
  const hierarchies = readdirSync('/sys/fs/cgroup', { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return ['', ...hierarchies.map((entry) => entry.name)].flatMap((hierarchy) => {
    const top = join('/sys/fs/cgroup', hierarchy, `minict-${instance}`);
    if (!existsSync(top)) return [];
    return ['', ...walk(top, 9).flatMap((path) => (path.endsWith('/') ? path.slice(0, -1) : []))].map((path) => {
      const processes = readFileSync(join(top, path, 'cgroup.procs'), 'utf8')
        .split('\n')
        .filter(Boolean);
      return `${join(top, path)} ${processes.length}`;
    });
  });
}

function programs(pid: number): string[] {
  const namespace = readlinkSync(`/proc/${pid}/ns/mnt`);
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        return readlinkSync(`/proc/${name}/ns/mnt`) === namespace ? [readFileSync(`/proc/${name}/comm`, 'utf8')] : [];
      } catch {
        return []; // It has ended meanwhile.
      }
    });
}

/** A line of interfaces, a line of routes, then what filters and translates: by one sh, as there are thousands of snapshots. */
const LOOK = `ip -j -batch - <<END
address
route
END
nft list ruleset
exec grep -sH '^[12]$' /proc/sys/net/ipv4/conf/*/forwarding /proc/sys/net/ipv4/conf/*/route_localnet \
  /proc/sys/net/ipv6/conf/*/*forwarding /proc/sys/net/ipv6/conf/*/accept_ra
`;

/** Of a line that tells of a switch: whether it is on; accept_ra is of its second kind, which a router has. */
function isOn(line: string): boolean {
  return line.endsWith('accept_ra:2') || /(?<!accept_ra):1$/.test(line);
}

/** `pid` is a process of the host, `root` its state folder; `run` gives the output of a command in it. */
export function takeSnapshot(pid: number, root: string, run: (argv: readonly string[]) => string): Snapshot {
  const [addresses = '', routes = '', ...firewall] = run(['sh', '-c', LOOK]).split('\n').filter(Boolean);
  const runDir = `/proc/${pid}/root/run`;
  const instance = join(root, 'instance');
  const leases = join(root, 'networks');
  // The locks of what containers share are made at first use, and stay; so do compiled filters, and what others' rules stop.
  const isLock = (path: string) =>
    /^minict\/\.(networks|images|image-files|image-trees|volumes|firewall|seccomp-[0-9a-f]{64})$/.test(path);
  return {
    network: network(JSON.parse(addresses), JSON.parse(routes)).sort(),
    firewall: firewall.filter((line) => !line.startsWith('/proc/sys/net/') || isOn(line)).sort(),
    mounts: mountLines(readFileSync(`/proc/${pid}/mountinfo`, 'utf8')).sort(),
    run: ['netns', 'utsns', 'mntns', 'minict'].flatMap((dir) => walk(join(runDir, dir), 2, isLock, `${dir}/`)).sort(),
    cgroups: existsSync(instance) ? cgroups(readFileSync(instance, 'utf8').trim()).sort() : [],
    state: [
      ...walk(root, 3, (path) => /\/(rootfs|upper|work|dev)$|^skeleton\/|^events(\.1)?$/.test(path)),
      ...walk(leases, 1).map((name) => `${name}: ${readFileSync(join(leases, name), 'utf8')}`),
    ].sort(),
    programs: programs(pid).sort(),
  };
}
