/** Root file systems: images as directories, directories in place, and what an image may lack or try. Read from mountinfo. */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { expectCreated, expectRefused, expectRefusedThere } from '../helpers/expect.ts';
import { Host } from '../helpers/host.ts';
import { imageTree } from '../helpers/images.ts';

type Propagation = 'private' | 'shared';
let hosts: Record<Propagation, Host>;
let host: Host;
let dir: string;

/** Which of the two hosts a test is on: their `/` is as the kernel has it, or as systemd makes it. */
function on(propagation: Propagation): void {
  host = hosts[propagation];
  dir = join(host.root, 'here');
}

beforeAll(async () => {
  hosts = { private: await Host.create('private'), shared: await Host.create('shared') };
  for (const propagation of ['private', 'shared'] as const) {
    on(propagation);
    expectCreated(host, 'first');
    mkdirSync(dir);
  }
});
beforeEach(() => on('shared'));
afterAll(async () => {
  for (const each of Object.values(hosts)) await each.destroy();
});

/** A copy of the image `base`. */
function tree(name: string): string {
  const path = join(dir, name);
  expect(host.run(['cp', '-a', imageTree(host, 'base'), path]).status).toBe(0);
  return path;
}

/** The host's mounts without those of namespaces, each with its propagation but not its ids. */
const hostMounts = () =>
  host
    .run(['cat', '/proc/self/mountinfo'])
    .stdout.split('\n')
    .filter((line) => !line.includes(' nsfs '))
    .map((line) => line.split(' ').slice(2).join(' '))
    .sort();
const listing = (path: string) => host.run(['find', path, '-printf', '%p %m %s %T@ %C@ %l\n']).stdout;
const cat = (name: string, path: string) => host.minict('exec', name, 'cat', path).stdout;

const WHERE: readonly [Propagation, string][] = [
  ['private', 'private'],
  ['private', 'host'],
  ['shared', 'private'],
  ['shared', 'host'],
];

test.each(WHERE)(
  'on a host whose / is %s, --mounts %s: an image that is a directory stays as it is',
  (propagation, mounts) => {
    on(propagation);
    const image = tree(`image-${mounts}`);
    const before = { listing: listing(image), mounts: hostMounts() };
    expectCreated(host, 'c1', '--image', image, '--mounts', mounts);
    const script = 'echo new >/etc/new && echo more >>/etc/passwd && rm /var/www/index.html && cat /etc/new';
    expect(host.minict('exec', 'c1', 'sh', '-c', script).stdout).toBe('new\n');
    expect(host.minict('stop', 'c1').status).toBe(0);
    expect(hostMounts()).toEqual(before.mounts);
    expect(host.minict('start', 'c1').status).toBe(0);
    expect(cat('c1', '/etc/new')).toBe('new\n');
    expect(host.minict('rm', 'c1').status).toBe(0);
    expect({ listing: listing(image), mounts: hostMounts() }).toEqual(before);
  },
);

test.each(WHERE)(
  'on a host whose / is %s, --mounts %s: --rootfs is written in place and stays',
  (propagation, mounts) => {
    on(propagation);
    const rootfs = tree(`inplace-${mounts}`);
    const before = hostMounts();
    expectCreated(host, 'c1', '--rootfs', rootfs, '--mounts', mounts);
    host.minict('exec', 'c1', 'sh', '-c', 'echo new >/etc/new; echo gone >/dev/null; hostname >/etc/hostname');
    expect(readFileSync(join(rootfs, 'etc/new'), 'utf8')).toBe('new\n');
    expect(cat('c1', '/etc/hosts')).toContain('\tfirst\n');
    host.minict('stop', 'c1');
    expect(hostMounts()).toEqual(before);
    expect(host.minict('rm', 'c1').status).toBe(0);
    expect(readFileSync(join(rootfs, 'etc/new'), 'utf8')).toBe('new\n');
    // minict's own files were over the tree's, not in it.
    for (const file of ['hosts', 'hostname', 'resolv.conf']) {
      expect(readFileSync(join(rootfs, 'etc', file), 'utf8')).toBe('');
    }
    expect(host.run(['ls', join(rootfs, 'proc'), join(rootfs, 'sys')]).stdout).not.toContain('kernel');
  },
);

test('an image may lack proc, sys, dev and etc; nothing is made in it', () => {
  const image = tree('bare');
  for (const folder of ['proc', 'sys', 'dev', 'etc']) rmSync(join(image, folder), { recursive: true });
  const before = listing(image);
  expectCreated(host, 'c1', '--image', image);
  const seen = host.minict(
    'exec',
    'c1',
    'sh',
    '-c',
    'cat /etc/hostname /proc/sys/kernel/hostname; ls /sys/kernel >/dev/null',
  );
  expect(seen).toEqual({ status: 0, stdout: 'c1\nc1\n', stderr: '' });
  host.minict('rm', 'c1');
  expect(listing(image)).toBe(before);
});

test.each(['an image', 'b:c', 'd,e', 'f\\g', "h'i", '#j', 'k\\040l', 'm\nn', '$(id)'])('a path may be %j', (name) => {
  const image = tree(name);
  for (const option of ['--image', '--rootfs']) {
    expectCreated(host, 'c1', option, image);
    expect(cat('c1', '/etc/hostname')).toBe('c1\n');
    expect(host.minict('ps').stdout).toMatch(/^c1 +ready/m);
    expect(host.minict('rm', 'c1').status).toBe(0);
  }
});

test('a resolv.conf that is a symlink to nothing yet gets the host’s name servers', () => {
  const image = tree('systemd');
  rmSync(join(image, 'etc/resolv.conf'));
  symlinkSync('../run/systemd/resolve/stub-resolv.conf', join(image, 'etc/resolv.conf'));
  expectCreated(host, 'c1', '--image', image);
  const own = readFileSync(join(host.root, 'containers/c1/resolv.conf'), 'utf8');
  expect(cat('c1', '/etc/resolv.conf')).toBe(own);
  host.minict('stop', 'c1');
  host.minict('start', 'c1');
  expect(cat('c1', '/run/systemd/resolve/stub-resolv.conf')).toBe(own);
  host.minict('rm', 'c1');
  expect(existsSync(join(image, 'run/systemd'))).toBe(false);
});

test('a mount point of the image in a directory that was made anew is none', () => {
  const image = tree('anew');
  mkdirSync(join(image, 'data'));
  renameSync(join(image, 'etc/passwd'), join(image, 'data/hosts'));
  rmSync(join(image, 'etc/hosts'), { force: true });
  symlinkSync('/data/hosts', join(image, 'etc/hosts'));
  expectCreated(host, 'c1', '--image', image);
  expect(cat('c1', '/etc/hosts')).toContain('c1');
  host.run(['nsenter', '--mount=/run/mntns/c1', 'umount', join(host.root, 'containers/c1/rootfs/data/hosts')]);
  expect(host.minict('exec', 'c1', 'sh', '-c', 'rm -r /data && mkdir /data').status).toBe(0);
  expect(host.minict('stop', 'c1').status).toBe(0);
  expect(host.minict('start', 'c1')).toEqual({ status: 0, stdout: 'c1\n', stderr: '' });
  expect(host.minict('exec', 'c1', 'ls', '-A', '/data').stdout).toBe('');
  expect(host.minict('rm', 'c1').status).toBe(0);
});

test.each<[string, string, string?]>([
  ['proc', '/etc'],
  ['sys', '../../../../../..'],
  ['dev', '/'],
  ['dev', '/nowhere'],
  ['dev', '/sys/kernel', 'sys/kernel/'],
  ['sys', '/proc'],
  ['etc', '/etc'],
  ['etc/hosts', '/etc/passwd'],
  ['etc/hosts', '../../../../../../../../etc/passwd'],
  ['etc/hosts', '/tmp'],
  ['etc/hosts', '/proc/1/root/etc/passwd', 'proc/1/root/etc/passwd'],
  ['etc/resolv.conf', '/proc/1/root/etc/shadow'],
  ['etc/hostname', '/sys/kernel/notes', 'sys/kernel/notes'],
])('an image whose %s is a symlink to %s does not reach the host', (path, target, planted) => {
  const before = {
    mounts: hostMounts(),
    passwd: lstatSync('/etc/passwd'),
    hosts: readFileSync('/etc/hosts', 'utf8'),
  };
  for (const options of [['--rootfs'], ['--rootfs', '--mounts', 'host'], ['--image', '--mounts', 'host']]) {
    const image = tree('hostile');
    rmSync(join(image, path), { recursive: true });
    symlinkSync(target, join(image, path));
    if (planted !== undefined) {
      mkdirSync(join(image, planted.endsWith('/') ? planted : dirname(planted)), { recursive: true });
      if (!planted.endsWith('/')) writeFileSync(join(image, planted), 'planted\n');
    }
    const [option = '', ...more] = options;
    const created = host.minict('create', 'evil', option, image, ...more);
    if (created.status === 0) {
      // Every mount of minict's is inside the image: nothing is mounted below a mounted proc or sys.
      const inside = host.minict('exec', 'evil', 'cat', '/proc/mounts').stdout;
      expect(inside).not.toMatch(/ \/(proc|sys\/kernel)\/\S+ (?!cgroup|securityfs|debugfs|tracefs|bpf|pstore)/);
      host.minict('stop', '-t', '0', 'evil');
      expect(hostMounts()).toEqual(before.mounts);
      host.minict('start', 'evil');
      expect(host.minict('rm', '-f', 'evil').status).toBe(0);
    } else expectRefused(created, /its \/(proc|sys|dev) (is no directory|and \/\w+ lead into each other)\nhint: /);
    expect(hostMounts()).toEqual(before.mounts);
    rmSync(image, { recursive: true });
  }
  expect(lstatSync('/etc/passwd')).toEqual(before.passwd);
  expect(readFileSync('/etc/hosts', 'utf8')).toBe(before.hosts);
});

test('directories that are the host’s, minict’s or another container’s are refused', async () => {
  const rootfs = tree('mine');
  const refused = (words: string[], message: RegExp) => expectRefusedThere(host, ['create', 'c2', ...words], message);
  await refused(['--rootfs', '/'], /the host's own root\nhint: /);
  await refused(['--image', dirname(host.root)], /image \/\S+: minict's state folder .* is in it\nhint: .*--root/);
  await refused(['--rootfs', '/srv/../proc'], /its \/proc is no directory/);
  for (const own of ['images/layers', 'containers', 'containers/first/rootfs', 'networks', '']) {
    await refused(['--rootfs', join(host.root, own)], /it is in minict's state folder\nhint: /);
  }
  await refused(['--image', imageTree(host, 'base')], /it is in minict's state folder/);
  expectCreated(host, 'c1', '--rootfs', rootfs);
  await refused(['--rootfs', rootfs], /container c1 has it\nhint: /);
  await refused(['--image', rootfs], /container c1 has it/);
  host.minict('rm', 'c1');
  expectCreated(host, 'c1', '--image', rootfs);
  await refused(['--rootfs', rootfs], /container c1 has it/);
  expectCreated(host, 'c3', '--image', rootfs);
  host.minict('rm', 'c1', 'c3');
});

test('what is no root file system is refused, or has no such program', async () => {
  const refused = (words: string[], message: RegExp) => expectRefusedThere(host, ['create', 'c2', ...words], message);
  mkdirSync(join(dir, 'empty'));
  symlinkSync('loop', join(dir, 'loop'));
  host.run(['mkfifo', join(dir, 'pipe')]);
  await refused(['--image', join(dir, 'empty')], /the directory is empty/);
  await refused(['--rootfs', join(dir, 'empty')], /its \/proc is no directory\nhint: /);
  for (const option of ['--image', '--rootfs']) await refused([option, join(dir, 'loop')], /too many symbolic links/);
  await refused(['--image', join(dir, 'pipe')], /neither file nor directory/);
  await refused(['--image', '/dev/zero'], /neither file nor directory/);
  await refused(['--image', tree('quo"ted')], /no double quote in a path\nhint: rename/);
  mkdirSync(join(dir, 'almost'));
  writeFileSync(join(dir, 'almost/file'), '');
  expectCreated(host, 'c1', '--image', join(dir, 'almost'));
  expect(host.minict('exec', 'c1', 'sh')).toMatchObject({ status: 127 });
  expect(host.minict('exec', 'c1', '/file')).toMatchObject({ status: 126 });
  renameSync(join(dir, 'almost'), join(dir, 'moved'));
  host.minict('stop', 'c1');
  expectRefused(host.minict('start', 'c1'), /image .*almost: it is not there any more\nhint: put /);
  expect(host.minict('rm', 'c1').stdout).toBe('c1\n');
});
