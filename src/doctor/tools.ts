/** The host's tools: whether they are there, and new enough. */
import { HostError } from '../errors.ts';
import { readToolOutput } from '../host/tool-output.ts';
import { findBusybox } from '../image/base.ts';
import { atLeast, type Check, fail, isRoot, pass, warn } from './check.ts';

interface Tools {
  readonly name: string;
  readonly package: string;
  readonly tools: readonly string[];
  /** Asks the first tool for its version. */
  readonly version?: string;
  readonly minimum?: readonly [number, number];
  /** One of the tools is enough. */
  readonly any?: boolean;
  /** What is lost without it; absent where nothing works without it. */
  readonly without?: string;
}

export const TOOLS: readonly Tools[] = [
  {
    name: 'util-linux',
    package: 'util-linux',
    tools: ['unshare', 'nsenter', 'setsid'],
    version: '--version',
    minimum: [2, 36],
  },
  { name: 'mount', package: 'mount', tools: ['mount', 'umount'], version: '--version', minimum: [2, 36] },
  { name: 'iproute2', package: 'iproute2', tools: ['ip'], version: '-V' },
  { name: 'coreutils', package: 'coreutils', tools: ['chroot', 'rm', 'cat'], version: '--version' },
  { name: 'hostname', package: 'hostname', tools: ['hostname'] },
  { name: 'tar', package: 'tar', tools: ['tar'], version: '--version', without: 'no images from tarballs' },
  { name: 'gzip', package: 'gzip', tools: ['gzip'], without: 'no .tar.gz images' },
  { name: 'xz', package: 'xz-utils', tools: ['xz'], without: 'no .tar.xz images' },
  { name: 'zstd', package: 'zstd', tools: ['zstd'], without: 'no .tar.zst images' },
  {
    name: 'bootstrap',
    package: 'mmdebstrap',
    tools: ['mmdebstrap', 'debootstrap'],
    any: true,
    without: 'no Debian images from packages',
  },
  { name: 'buildah', package: 'buildah', tools: ['buildah'], without: 'no images by a Dockerfile' },
  { name: 'btrfs', package: 'btrfs-progs', tools: ['btrfs'], without: 'no --storage btrfs' },
  {
    name: 'openvswitch',
    package: 'openvswitch-switch',
    tools: ['ovs-vsctl', 'ovs-dpctl'],
    without: 'no networks with --driver ovs',
  },
  { name: 'nftables', package: 'nftables', tools: ['nft'], without: 'no --nat, no published ports' },
  {
    name: 'arping',
    package: 'iputils-arping',
    tools: ['arping'],
    without: 'no IPv4 addresses in networks with an uplink',
  },
  { name: 'tcpdump', package: 'tcpdump', tools: ['tcpdump'], without: 'no minict capture' },
  { name: 'skopeo', package: 'skopeo', tools: ['skopeo'], without: 'no images from registries' },
  { name: 'ethtool', package: 'ethtool', tools: ['ethtool'], without: 'no --driver ovs in user space' },
  { name: 'crun', package: 'crun', tools: ['crun'], without: 'no --profile hardened but by runc' },
  { name: 'runc', package: 'runc', tools: ['runc'], without: 'no --runtime runc' },
  { name: 'perl', package: 'perl-base', tools: ['perl'], without: 'no --userns auto' },
  {
    name: 'catatonit',
    package: 'catatonit',
    tools: ['catatonit'],
    without: 'no PID namespaces, no --runtime but chroot',
  },
  {
    name: 'systemd-nspawn',
    package: 'systemd-container',
    tools: ['systemd-nspawn'],
    version: '--version',
    without: 'no --runtime nspawn',
  },
  { name: 'svlogd', package: 'runit', tools: ['svlogd'], without: 'no --log-timestamps' },
  { name: 'ps', package: 'procps', tools: ['ps'], without: 'no minict top' },
  { name: 'tail', package: 'coreutils', tools: ['tail'], without: 'no minict logs -f' },
];

/** As root finds it: a user's PATH may lack the folders of sbin. */
function locate(tool: string): string | null {
  const path = process.env.PATH ?? '';
  return Bun.which(tool, { PATH: isRoot() ? path : `${path}:/usr/sbin:/sbin` });
}

export async function checkTools(wanted: Tools): Promise<Check> {
  const { name, minimum } = wanted;
  const install = `apt-get install ${wanted.package}`;
  const bad = wanted.without === undefined ? fail : warn;
  const found = wanted.tools.filter((tool) => locate(tool) !== null);
  const missing = wanted.tools.filter((tool) => !found.includes(tool));
  if (wanted.any ? found.length === 0 : missing.length > 0) {
    const lost = wanted.without === undefined ? '' : ` (${wanted.without})`;
    return bad(name, `${missing.join(wanted.any ? ' or ' : ', ')} not found in PATH${lost}`, install);
  }
  if (wanted.version === undefined) return pass(name, found.join(' '));
  const output = await readToolOutput([locate(found[0] as string) as string, wanted.version]);
  const version = /\d+\.\d+(\.\d+)?/.exec(output?.stdout ?? '')?.[0];
  // busybox's applets of these names know no --version, and not all that minict asks of them.
  if (version === undefined) return bad(name, `${found.join(' ')}: version unknown`, install);
  return minimum === undefined || atLeast(version, minimum)
    ? pass(name, `${found.join(' ')} ${version}`)
    : bad(name, `${version} is older than ${minimum.join('.')}`, install);
}

/** Not by PATH: the image `base` is made of a static one. */
export function checkBusybox(): Check {
  try {
    return pass('busybox', findBusybox());
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return warn('busybox', error.message, error.hint);
  }
}
