/** Host tools by name: where they are, and which package brings a missing one. */
import { HostError } from '../errors.ts';

const PACKAGES: Readonly<Record<string, string>> = {
  diff: 'diffutils',
  tcpdump: 'tcpdump',
  ethtool: 'ethtool',
  ip: 'iproute2',
  tc: 'iproute2',
  nft: 'nftables',
  sysctl: 'procps',
  find: 'findutils',
  bridge: 'iproute2',
  'ovs-vsctl': 'openvswitch-switch',
  'ovs-appctl': 'openvswitch-switch',
  'ovs-dpctl': 'openvswitch-switch',
  ps: 'procps',
  prlimit: 'util-linux',
  unshare: 'util-linux',
  flock: 'util-linux',
  nsenter: 'util-linux',
  setsid: 'util-linux',
  mount: 'mount',
  umount: 'mount',
  chroot: 'coreutils',
  rm: 'coreutils',
  mv: 'coreutils',
  sh: 'dash',
  split: 'coreutils',
  env: 'coreutils',
  sleep: 'coreutils',
  timeout: 'coreutils',
  svlogd: 'runit',
  tar: 'tar',
  btrfs: 'btrfs-progs',
  skopeo: 'skopeo',
  buildah: 'buildah',
  setpriv: 'util-linux',
  catatonit: 'catatonit',
  crun: 'crun',
  perl: 'perl-base',
  runc: 'runc',
  'systemd-nspawn': 'systemd-container',
  arping: 'iputils-arping',
};

const PLAN_TOOLS = ['ip', 'unshare', 'nsenter', 'mount', 'umount', 'chroot', 'rm', 'sh'];

export function missingTool(tool: string): HostError {
  const name = PACKAGES[tool];
  return new HostError(`cannot run ${tool}: not found in PATH`, name ? { hint: `apt-get install ${name}` } : {});
}

const found = new Map<string, string>();

function find(tool: string): string | null {
  const path = found.get(tool) ?? Bun.which(tool);
  if (path !== null) found.set(tool, path);
  return path;
}

/** Throws HostError where one that plans, or the way back, may need is missing: better none than half. */
export function requireTools(): void {
  const tool = PLAN_TOOLS.find((name) => find(name) === null);
  if (tool !== undefined) throw missingTool(tool);
}

/** Throws HostError. */
export function requireTool(tool: string): void {
  if (find(tool) === null) throw missingTool(tool);
}

/** Absolute, for where the PATH is a container's. Throws HostError. */
export function toolPath(tool: string): string {
  const path = find(tool);
  if (path === null) throw missingTool(tool);
  return path;
}
