/**
 * What minict needs of a host, one check each. Reads only; what the kernel can do is tried in a namespace that ends
 * with the attempt. A check that fails says what helps; what only some verbs need is a warning.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { dirname, join } from 'node:path';
import { readCgroupHost } from '../cgroup/cgroup.ts';
import { MinictError } from '../errors.ts';
import { formatSubnet, overlap, parseSubnet } from '../spec/address.ts';
import { readNetwork } from '../state/network.ts';
import { NETNS_DIR, type Roots } from '../state/paths.ts';
import { checkUpper } from '../storage/rootfs.ts';
import { bridgedTrafficIsFiltered, readRoutes } from './facts.ts';
import { foreignDrops } from './firewall.ts';
import { readToolOutput } from './tool-output.ts';

/** One line of `system doctor`; the names are the same on every host. */
export interface Check {
  readonly name: string;
  readonly state: 'pass' | 'warn' | 'fail';
  readonly detail: string;
  /** A command, or a sentence, that helps. */
  readonly fix?: string;
}

export interface Examined {
  readonly roots: Roots;
  /** Name of the default network and of its bridge. */
  readonly network: string;
}

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

const TOOLS: readonly Tools[] = [
  {
    name: 'util-linux',
    package: 'util-linux',
    tools: ['unshare', 'nsenter', 'setsid'],
    version: '--version',
    minimum: [2, 36],
  },
  { name: 'mount', package: 'mount', tools: ['mount', 'umount'], version: '--version', minimum: [2, 36] },
  { name: 'iproute2', package: 'iproute2', tools: ['ip', 'bridge'], version: '-V' },
  { name: 'coreutils', package: 'coreutils', tools: ['chroot'], version: '--version' },
  { name: 'hostname', package: 'hostname', tools: ['hostname'] },
  { name: 'tar', package: 'tar', tools: ['tar'], version: '--version' },
  { name: 'busybox', package: 'busybox-static', tools: ['busybox'], without: 'no image base' },
  {
    name: 'nftables',
    package: 'nftables',
    tools: ['nft'],
    version: '--version',
    without: 'firewall rules stay unseen',
  },
  { name: 'xz', package: 'xz-utils', tools: ['xz'], without: 'no .tar.xz images' },
  { name: 'zstd', package: 'zstd', tools: ['zstd'], without: 'no .tar.zst images' },
  {
    name: 'bootstrap',
    package: 'mmdebstrap',
    tools: ['mmdebstrap', 'debootstrap'],
    any: true,
    without: 'no Debian images from packages',
  },
  { name: 'tail', package: 'coreutils', tools: ['tail'], without: 'no minict logs -f' },
];

/** All checks, in the order in which they matter. Starts a handful of processes, side by side. Never throws. */
export async function examine(host: Examined): Promise<Check[]> {
  const checks: readonly (readonly [string, () => Check | Check[] | Promise<Check | Check[]>])[] = [
    ['root', checkRoot],
    ['kernel', checkKernel],
    ...TOOLS.map((tools) => [tools.name, () => checkTools(tools)] as const),
    ['namespaces', checkNamespaces],
    ['overlayfs', () => checkOverlay()],
    ['state folder', () => checkStateFolder(host)],
    ['veth', () => checkLink('veth', ['type', 'veth', 'peer', 'name', 'b'])],
    ['bridge', () => checkLink('bridge', ['type', 'bridge'])],
    ['cgroup', checkCgroup],
    [NETNS_DIR, checkNetnsMount],
    ['ip_forward', checkForwarding],
    ['firewall', () => checkFirewall(host)],
    ['routes', () => checkRoutes(host)],
    ['neighbours', checkNeighbours],
    ['SELinux', checkSelinux],
  ];
  const results = checks.map(async ([name, check]) => {
    try {
      return await check();
    } catch (error) {
      const hint = error instanceof MinictError ? error.hint : undefined;
      return fail(name, (error as Error).message, hint);
    }
  });
  return (await Promise.all(results)).flat();
}

const pass = (name: string, detail: string): Check => ({ name, state: 'pass', detail });
const warn = (name: string, detail: string, fix?: string): Check => ({ name, state: 'warn', detail, ...withFix(fix) });
const fail = (name: string, detail: string, fix?: string): Check => ({ name, state: 'fail', detail, ...withFix(fix) });
const withFix = (fix: string | undefined) => (fix === undefined ? {} : { fix });

/** A one-line file of /proc or /sys; undefined where it is not there. */
function readSetting(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
}

function atLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [, foundMajor, foundMinor] = /(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(foundMajor) > major || (Number(foundMajor) === major && Number(foundMinor) >= minor);
}

const isRoot = () => process.getuid?.() === 0;

function checkRoot(): Check {
  return isRoot() ? pass('root', 'yes') : fail('root', 'no', 'sudo minict system doctor');
}

function checkKernel(): Check {
  return atLeast(release(), [5, 10])
    ? pass('kernel', release())
    : fail('kernel', `${release()} is older than 5.10`, 'boot a newer kernel');
}

async function checkTools(wanted: Tools): Promise<Check> {
  const found = wanted.tools.filter((tool) => Bun.which(tool) !== null);
  const missing = wanted.tools.filter((tool) => !found.includes(tool));
  const bad = wanted.without === undefined ? fail : warn;
  if (wanted.any ? found.length === 0 : missing.length > 0) {
    const lost = wanted.without === undefined ? '' : ` (${wanted.without})`;
    const list = missing.join(wanted.any ? ' or ' : ', ');
    return bad(wanted.name, `${list} not found in PATH${lost}`, `apt-get install ${wanted.package}`);
  }
  if (wanted.version === undefined) return pass(wanted.name, found.join(' '));
  const output = await readToolOutput([found[0] as string, wanted.version]);
  const version = /\d+\.\d+(\.\d+)?/.exec(output?.stdout ?? '')?.[0];
  // busybox's applets of these names know no --version: a version that cannot be read is no fault of its own.
  if (version === undefined) return warn(wanted.name, `${found.join(' ')}: version unknown`);
  return wanted.minimum === undefined || atLeast(version, wanted.minimum)
    ? pass(wanted.name, `${found.join(' ')} ${version}`)
    : bad(wanted.name, `${version} is older than ${wanted.minimum.join('.')}`, `apt-get install ${wanted.package}`);
}

function checkNamespaces(): Check {
  const missing = ['net', 'uts', 'mnt'].filter((kind) => !existsSync(`/proc/self/ns/${kind}`));
  return missing.length === 0
    ? pass('namespaces', 'net uts mnt')
    : fail(
        'namespaces',
        `the kernel lacks ${missing.join(', ')}`,
        'boot a kernel with CONFIG_NET_NS and CONFIG_UTS_NS',
      );
}

async function checkOverlay(): Promise<Check> {
  if (/\toverlay$/m.test(readFileSync('/proc/filesystems', 'utf8'))) return pass('overlayfs', 'yes');
  const dryRun = await readToolOutput(['modprobe', '--dry-run', 'overlay']);
  if (dryRun && dryRun.exitCode === 0) return pass('overlayfs', 'a module, loaded at the first mount');
  return fail('overlayfs', 'the kernel lacks it', 'use --rootfs DIR, which needs no overlay');
}

function checkStateFolder({ roots }: Examined): Check {
  let dir = roots.root;
  while (!existsSync(dir)) dir = dirname(dir);
  checkUpper(dir);
  return pass('state folder', dir === roots.root ? roots.root : `${roots.root} (to be made in ${dir})`);
}

/** The kernel's word: makes such an interface in a network namespace that ends with the attempt. */
async function checkLink(kind: string, words: readonly string[]): Promise<Check> {
  if (!isRoot()) return warn(kind, 'not tried: not root');
  const output = await readToolOutput(['unshare', '--net', 'ip', 'link', 'add', 'name', 'a', ...words]);
  if (output?.exitCode === 0) return pass(kind, 'yes');
  return fail(kind, output?.stderr.trim().split('\n')[0] ?? '', `modprobe ${kind}`);
}

function checkCgroup(): Check {
  const { version, mountPoint } = readCgroupHost();
  if (version === 1) return pass('cgroup', 'v1, freezer');
  const mode = mountPoint.endsWith('unified') ? 'hybrid, v2 in use' : 'v2';
  // The root group has no cgroup.kill, every other one has it, since 5.14.
  const groups = readdirSync(mountPoint, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const kill =
    groups.length === 0
      ? atLeast(release(), [5, 14])
      : groups.some((group) => existsSync(join(mountPoint, group.name, 'cgroup.kill')));
  return pass('cgroup', `${mode}, ${kill ? 'cgroup.kill' : 'no cgroup.kill: freeze and kill instead'}`);
}

/** `ip netns` makes it a shared mount of its own, so that namespaces bound there show in other mount namespaces. */
function checkNetnsMount(): Check {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((entry) => entry.split(' ')[4] === NETNS_DIR);
  if (line === undefined) return pass(NETNS_DIR, 'no mount yet; the first create makes it one');
  return / shared:\d/.test(line)
    ? pass(NETNS_DIR, 'a shared mount')
    : warn(NETNS_DIR, 'a mount, but not shared', `mount --make-shared ${NETNS_DIR}`);
}

function checkForwarding(): Check {
  return readSetting('/proc/sys/net/ipv4/ip_forward') === '1'
    ? pass('ip_forward', '1')
    : warn(
        'ip_forward',
        '0: containers reach one another and the host, and nothing beyond',
        'sysctl -w net.ipv4.ip_forward=1',
      );
}

async function checkFirewall({ network }: Examined): Promise<Check | Check[]> {
  if (!bridgedTrafficIsFiltered()) return pass('firewall', 'does not see bridged traffic');
  const drops = await foreignDrops(network);
  if (drops.length === 0) return pass('firewall', 'sees bridged traffic (br_netfilter); no rule known to drop it');
  return drops.map(({ rule, fix }) => warn('firewall', `drops traffic between containers: ${rule}`, fix));
}

async function checkRoutes({ roots, network }: Examined): Promise<Check> {
  const record = await readNetwork(roots, network);
  if (record === undefined) return pass('routes', 'the first create takes a subnet that no route has');
  const subnet = parseSubnet(record.subnet);
  const other = readRoutes().find((route) => route.dev !== record.bridge && overlap(route.subnet, subnet));
  if (other === undefined) return pass('routes', `none overlaps ${record.subnet}`);
  return warn(
    'routes',
    `${formatSubnet(other.subnet)} on ${other.dev} overlaps network ${network}, ${record.subnet}`,
    'remove the containers, then minict system prune: the next create takes another subnet',
  );
}

/** The table is the whole kernel's, and only the first network namespace shows its limits. */
function checkNeighbours(): Check {
  const limit = readSetting('/proc/sys/net/ipv4/neigh/default/gc_thresh3');
  if (limit === undefined) return pass('neighbours', 'limit not shown in this network namespace');
  return Number(limit) >= 4096
    ? pass('neighbours', `gc_thresh3 ${limit}`)
    : warn(
        'neighbours',
        `gc_thresh3 ${limit}: labs of many containers overflow the neighbour table`,
        'sysctl -w net.ipv4.neigh.default.gc_thresh2=4096 net.ipv4.neigh.default.gc_thresh3=8192',
      );
}

function checkSelinux(): Check {
  return readSetting('/sys/fs/selinux/enforce') === '1'
    ? warn('SELinux', "enforcing: it may deny programs the container's files", 'ausearch -m avc -ts recent')
    : pass('SELinux', 'not enforcing');
}
