/** What a host may lack or refuse: root, space, a writable disk, tools, cgroups; and state files that are damaged. */
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefused, expectRefusedThere, linksSettle } from '../helpers/expect.ts';
import { Host, MINICT, type Result } from '../helpers/host.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
  expectCreated(host, 'c1');
});
afterAll(() => host.destroy());

/** minict with a state folder of its own on a tmpfs of 4 MiB, which holds the image `tiny`. */
function onSmallDisk(name: string): { disk: string; minict: (...words: string[]) => Result; image: string } {
  const disk = join('/run', name);
  const image = join(disk, 'tiny');
  expect(
    host.run(['sh', '-ec', `mkdir ${disk}; mount -t tmpfs -o size=4m tmpfs ${disk}; mkdir ${image}`]),
  ).toMatchObject({ status: 0 });
  host.run(['sh', '-c', `echo x >${image}/file`]);
  const options = ['--root', join(disk, 'root'), '--run-dir', join('/run', `${name}-run`)];
  return { disk, image, minict: (...words) => host.minict(...options, ...words) };
}
const fill = (disk: string) => host.run(['sh', '-c', `cat /dev/zero >${disk}/fill`]);
const files = (dir: string) =>
  host.run(['find', dir, '-not', '-name', 'fill', '-not', '-name', '.network*']).stdout.split('\n').sort();

test.each([['ps'], ['create', 'c2'], ['rm', 'c1'], ['exec', 'c1', 'true'], ['image', 'ls'], ['system', 'prune']])(
  'without root, %s %s is refused',
  (...words) => {
    const asNobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', MINICT, ...words];
    expectRefused(host.run(asNobody), /cannot [a-z ]+: not root\nhint: sudo minict/);
  },
);

test('a disk that was full before the first create', () => {
  const { disk, image, minict } = onSmallDisk('full');
  fill(disk);
  expectRefused(minict('create', 'c2', '--no-network', '--image', image), /no space left on its disk\nhint: df -h/);
  expect(minict('ps')).toMatchObject({ status: 0 });
  host.run(['rm', join(disk, 'fill')]);
  expect(minict('create', 'c2', '--no-network', '--image', image)).toMatchObject({ status: 0 });
  expect(minict('rm', 'c2').status).toBe(0);
  expect(minict('system', 'prune').status).toBe(0);
});

test('a disk that gets full: create and import leave nothing, ps, stop and rm work', async () => {
  const { disk, image, minict } = onSmallDisk('fills');
  expect(minict('create', 'c2', '--no-network', '--image', image).status).toBe(0);
  expect(minict('image', 'import', image, 'tiny').status).toBe(0);
  fill(disk);
  const before = { files: files('/run/fills'), run: files('/run/fills-run'), host: host.snapshot() };
  const full = /no space left on (device|the disk)[^\n]*\nhint: /i;
  expectRefused(minict('create', 'c3', '--no-network', '--image', image), full);
  expectRefused(minict('image', 'import', '/bin', 'big'), full);
  await linksSettle(host);
  expect({ files: files('/run/fills'), run: files('/run/fills-run'), host: host.snapshot() }).toEqual(before);
  expect(minict('ps').stdout).toMatch(/^c2 +ready/m);
  expect(minict('stop', 'c2').status).toBe(0);
  expect(minict('rm', 'c2')).toEqual({ status: 0, stdout: 'c2\n', stderr: '' });
  expect(minict('system', 'prune').status).toBe(0);
});

test('a state file that fits only in part is not put in place of the whole one', () => {
  const { disk, image, minict } = onSmallDisk('part');
  const long = Array.from({ length: 3 }, (_, i) => ['-e', `K${i}=${'v'.repeat(3000)}`]).flat();
  expect(minict('network', 'create', 'n9', '--subnet', '10.9.9.0/24').status).toBe(0);
  expect(minict('create', 'c2', '--network', 'n9', '--image', image, ...long)).toMatchObject({ status: 0 });
  fill(disk);
  const page = host.run(['sh', '-c', `size=$(stat -c %s "$0"); truncate -s $((size - 4096)) "$0"`, join(disk, 'fill')]);
  expect(page).toMatchObject({ status: 0 });
  expectRefused(minict('link', 'down', 'c2:eth0'), /cannot write \S+container\.json: .*(no space left|ENOSPC)/i);
  expect(minict('inspect', 'c2')).toMatchObject({ status: 0, stderr: '' });
  host.run(['rm', join(disk, 'fill')]);
  expect(minict('rm', '-f', 'c2')).toEqual({ status: 0, stdout: 'c2\n', stderr: '' });
  expect(minict('network', 'rm', 'n9').status).toBe(0);
  expect(minict('system', 'prune').status).toBe(0);
});

test('a state folder that became read-only', async () => {
  const { disk, image, minict } = onSmallDisk('ro');
  expect(minict('create', 'c2', '--no-network', '--image', image).status).toBe(0);
  expect(minict('image', 'import', image, 'tiny').status).toBe(0);
  host.run(['mount', '-o', 'remount,ro', disk]);
  const before = { host: host.snapshot(), run: files('/run/ro-run') };
  const readOnly = /cannot [^\n]+: .*read-only file system.*\nhint: /i;
  for (const words of [
    ['create', 'c3', '--no-network', '--image', image],
    ['rm', 'c2'],
    ['image', 'import', '/bin', 'x'],
  ]) {
    expectRefused(minict(...words), readOnly);
  }
  expect({ host: host.snapshot(), run: files('/run/ro-run') }).toEqual(before);
  expect(minict('exec', 'c2', '/nope').status).toBe(127);
  expect(minict('ps').stdout).toMatch(/^c2 +ready/m);
  host.run(['mount', '-o', 'remount,rw', disk]);
  expect(minict('rm', 'c2').status).toBe(0);
  expect(minict('system', 'prune').status).toBe(0);
});

const TOOLS = ['ip', 'unshare', 'mount', 'umount', 'nsenter', 'chroot', 'rm', 'sh'];

test.each(TOOLS)('without %s in PATH', (tool) => {
  const bin = join(host.root, `without-${tool}`);
  mkdirSync(bin);
  for (const other of TOOLS.filter((name) => name !== tool)) symlinkSync(Bun.which(other) as string, join(bin, other));
  const before = host.snapshot();
  const missing = new RegExp(`cannot run ${tool}: not found in PATH\nhint: apt-get install [a-z0-9-]+\n`);
  for (const words of [
    ['create', 'c2'],
    ['stop', 'c1'],
    ['start', 'c1'],
    ['rm', 'c1'],
  ]) {
    expectRefused(host.run(['env', `PATH=${bin}`, MINICT, ...words]), missing);
  }
  expect(host.snapshot()).toEqual(before);
  expect(host.minict('ps').stdout).toMatch(/^c1 +ready/m);
});

test('a host with nothing but cgroup v2', () => {
  const hybrid = existsSync('/sys/fs/cgroup/unified');
  if (hybrid) host.run(['mount', '--bind', '/sys/fs/cgroup/unified', '/sys/fs/cgroup']);
  expectCreated(host, 'v2');
  host.minict('exec', '-d', 'v2', 'sh', '-c', "trap '' TERM; sleep 300 & sleep 300; sleep 300");
  const payload = host.minict('inspect', 'v2').stdout.match(/"cgroup": "(.+)"/)?.[1] ?? '';
  expect(payload).toMatch(/^\/sys\/fs\/cgroup\/minict-[0-9a-f]{8}\/v2\/payload$/);
  expect(host.run(['cat', join(payload, 'cgroup.events')]).stdout).toContain('populated 1');
  expect(host.minict('stop', '-t', '0', 'v2').status).toBe(0);
  expect(host.run(['test', '-e', payload]).status).toBe(1);
  host.minict('start', 'v2');
  host.minict('exec', '-d', 'v2', 'sleep', '300');
  expect(host.minict('rm', '-f', 'v2').stdout).toBe('v2\n');
  if (!hybrid) return;
  // Prune looks for it in the hierarchy that is the host's from here on.
  expect(host.run(['rmdir', dirname(dirname(payload))]).status).toBe(0);
  host.run(['umount', '/sys/fs/cgroup']);
});

test('a host without a cgroup hierarchy, and the next create with one', async () => {
  host.run(['mount', '-t', 'tmpfs', 'none', '/sys/fs/cgroup']);
  await expectRefusedThere(host, ['create', 'c2'], /cannot find a cgroup hierarchy: [^\n]+\nhint: mount -t cgroup2/);
  host.run(['umount', '/sys/fs/cgroup']);
  expectCreated(host, 'c2');
  expect(host.minict('exec', 'c2', 'ping', '-c1', '-W2', 'c1').status).toBe(0);
  host.minict('rm', 'c2');
});

test('a failed first create leaves a network that the next one can use', async () => {
  const other = await Host.create();
  other.run(['mount', '-t', 'tmpfs', 'none', '/sys/fs/cgroup']);
  expectRefused(other.minict('create', 'c1'), /cgroup hierarchy/);
  other.run(['umount', '/sys/fs/cgroup']);
  expectCreated(other, 'c1');
  expect(other.minict('exec', 'c1', 'ping', '-c1', '-W2', '192.168.0.1').status).toBe(0);
  await other.destroy();
});

test('no /etc/resolv.conf, none that is a file, one that names the host itself alone', () => {
  host.run(['sh', '-ec', 'cp -a /etc /run/etc; rm -f /run/etc/resolv.conf; mount --bind /run/etc /etc']);
  for (const make of ['true', 'mkdir /etc/resolv.conf']) {
    host.run(['sh', '-c', make]);
    expectCreated(host, 'c2');
    expect(host.minict('exec', 'c2', 'cat', '/etc/resolv.conf')).toEqual({ status: 0, stdout: '', stderr: '' });
    host.minict('rm', 'c2');
  }
  // As systemd-resolved has it: a loopback address in the one file, and in the other whom it asks.
  const listens = 'nameserver 127.0.0.53\noptions edns0\n';
  const script =
    'rmdir /etc/resolv.conf; mkdir -p /run/systemd/resolve; printf "$0" >/etc/resolv.conf; printf "$1" >"$2"';
  const upstream = 'nameserver 192.0.2.53\n';
  host.run(['sh', '-ec', script, listens, upstream, '/run/systemd/resolve/resolv.conf']);
  expectCreated(host, 'c2');
  expect(host.minict('exec', 'c2', 'cat', '/etc/resolv.conf').stdout).toBe(upstream);
  host.minict('rm', 'c2');
  host.run(['sh', '-ec', 'rm -r /run/systemd/resolve; umount /etc']);
});

test('a state folder on an overlay', () => {
  host.run([
    'sh',
    '-ec',
    'mkdir -p /run/o/l /run/o/u /run/o/w /run/o/m; cd /run/o; mount -t overlay -o lowerdir=l,upperdir=u,workdir=w o m',
  ]);
  const result = host.minict('--root', '/run/o/m', '--run-dir', '/run/o/run', 'create', 'c2', '--no-network');
  expectRefused(result, /upper directory does not work on overlayfs\nhint: .*--root DIR/);
  expect(host.run(['ls', '/run/o/m/containers']).stdout).toBe('');
});

test.each<[string, string[][]]>([
  [
    'containers/c1/container.json',
    [
      ['start', 'c1'],
      ['stop', 'c1'],
      ['rm', 'c1'],
      ['create', 'c1'],
      ['image', 'rm', 'base'],
    ],
  ],
  [
    'networks/minict0.json',
    [
      ['create', 'c2'],
      ['start', 'c1'],
      ['rm', '-f', 'c1'],
      ['system', 'prune'],
    ],
  ],
  [
    'images/index.json',
    [
      ['create', 'c2'],
      ['image', 'ls', '-q'],
      ['image', 'rm', 'base'],
    ],
  ],
  ['instance', [['create', 'c2'], ['start', 'c1'], ['rm', '-f', 'c1'], ['ps'], ['system', 'prune']]],
])('a damaged %s is named and not overwritten', async (file, verbs) => {
  const path = join(host.root, file);
  copyFileSync(path, `${path}.good`);
  for (const content of ['', '{', 'null', '{"version":1}', '{"version":2}']) {
    writeFileSync(path, content);
    for (const words of verbs) {
      await expectRefusedThere(host, words, /cannot read [^\n]+ (it )?(is damaged|was written by a newer minict)/);
    }
    expect(readFileSync(path, 'utf8')).toBe(content);
  }
  copyFileSync(`${path}.good`, path);
  host.run(['rm', `${path}.good`]);
  expect(host.minict('ps').stdout).toMatch(/^c1 +ready/m);
});
