/** User namespaces: whose ids programs have outside and files inside, and that nobody's are the same or left on a disk. */
import { chownSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefused } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';
import { inspect } from '../helpers/processes.ts';
import { killAtCommands, MANY_POINTS } from '../helpers/recovery.ts';
import type { Snapshot } from '../helpers/snapshot.ts';

const USERNS = ['--runtime', 'crun', '--userns', 'auto'];

let host: Host;
let clean: Snapshot;
let shared: string;
beforeAll(async () => {
  host = await Host.create();
  shared = join(host.dir, 'shared');
  mkdirSync(shared);
  writeFileSync(join(shared, 'file'), 'of 5\n');
  chownSync(join(shared, 'file'), 5, 7);
  expectCreated(host, 'plain', '-v', 'named:/vol', '--ipc', 'private');
  clean = host.snapshot();
  expectCreated(host, 'u1', '--profile', 'hardened', '--userns', 'auto', '-v', `${shared}:/ro:ro`);
  const volumes = ['-v', `${shared}:/shared`, '-v', 'named:/vol', '-v', '/own', '--tmpfs', '/mem'];
  expectCreated(host, 'u2', '--runtime', 'runc', '--userns', 'auto', ...volumes, '-w', '/job');
});
afterAll(() => host.destroy());

const sh = (name: string, line: string) => host.minict('exec', name, 'sh', '-c', line);
const owners = (name: string, ...paths: string[]) => sh(name, `stat -c %u:%g ${paths.join(' ')}`).stdout.split('\n');
const ok = (...words: string[]) => {
  const result = host.minict(...words);
  expect(result, words.join(' ')).toMatchObject({ status: 0, stderr: '' });
  return result.stdout;
};
/** Of PID 1, as the host sees it. */
const mapOf = (name: string) => {
  const group = join(dirname(inspect(host, name).cgroup), 'init');
  const pid = readFileSync(join(group, 'cgroup.procs'), 'utf8').split('\n')[0];
  const [inside, outside, count] = readFileSync(`/proc/${pid}/uid_map`, 'utf8').trim().split(/\s+/).map(Number);
  const uid = Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  return { inside, outside, count, uid };
};

test('root inside is an id of its own outside, and no other container has it', () => {
  const [one, two] = [mapOf('u1'), mapOf('u2')];
  for (const map of [one, two]) expect(map).toMatchObject({ inside: 0, count: 65536, uid: map.outside });
  expect(one.uid).toBeGreaterThanOrEqual(1_000_000);
  expect(Math.abs(one.uid - two.uid)).toBeGreaterThanOrEqual(65536);
  expect(readFileSync(join(host.root, 'containers', 'u1', 'container.json'), 'utf8')).toContain(`${one.uid}`);
});

test('root inside cannot write what others have as /etc/hosts, and has their names there all the same', () => {
  const long = 'echo 192.0.2.1 forged >>/etc/hosts; truncate -s 4000G /etc/hosts';
  expect(sh('u1', long)).toMatchObject({ status: 0, stderr: '' });
  expectCreated(host, 'late');
  expect(sh('u1', 'cat /etc/hosts').stdout).toMatch(/^127.*\n(.*\n)*.*\tlate\n$/);
  ok('rm', 'late');
  // As an earlier minict recorded it.
  const record = join(host.root, 'networks', 'minict0.json');
  const before = readFileSync(record, 'utf8');
  const whole = JSON.parse(before) as { members: { u1: { networks?: string[] } } };
  delete whole.members.u1.networks;
  writeFileSync(record, JSON.stringify(whole));
  ok('start', 'u1');
  expectCreated(host, 'late');
  expect(sh('u1', 'cat /etc/hosts').stdout).toContain('\tlate\n');
  ok('rm', 'late');
  writeFileSync(record, before);
  for (const name of ['plain', 'u2']) {
    const { stdout } = host.minict('exec', name, 'cat', '/etc/hosts');
    expect(stdout).toContain('\tplain\n');
    expect(stdout).toContain('\tu1\n');
    expect(stdout).not.toContain('forged');
  }
});

test("files have the ids inside that they have on the disk: the image's, new ones, a volume's, a directory's of the host", () => {
  expect(
    sh('u2', 'echo x >/new; chown 33:34 /new; for at in vol own shared mem job; do echo x >/$at/new; done'),
  ).toEqual({
    status: 0,
    stdout: '',
    stderr: '',
  });
  const inside = owners(
    'u2',
    '/bin',
    '/etc/hosts',
    '/new',
    '/vol/new',
    '/own/new',
    '/mem/new',
    '/job/new',
    '/shared/file',
  );
  expect(inside).toEqual(['0:0', '0:0', '33:34', '0:0', '0:0', '0:0', '0:0', '5:7', '']);
  const ids = (path: string) => [lstatSync(path).uid, lstatSync(path).gid];
  expect(ids(join(host.root, 'containers', 'u2', 'upper', 'new'))).toEqual([33, 34]);
  expect(ids(join(shared, 'new'))).toEqual([0, 0]);
  expect(owners('plain', '/vol/new')).toEqual(['0:0', '']);
  expect(sh('u1', 'cat /ro/file; echo x >/ro/new').stderr).toContain('Read-only');
});

test('its network is its own, and nothing of the host can be reached with all capabilities', () => {
  expect(sh('u2', 'ip link set lo down && ip link set lo up && ls /sys/class/net').stdout).toBe('eth0\nlo\n');
  expect(host.minict('exec', 'u1', 'ping', '-c1', '-W5', 'plain').status).toBe(0);
  for (const line of [
    'mknod /disk b 254 0',
    'mkdir -p /cg && mount -t cgroup -o pids x /cg',
    'echo x >/proc/sys/kernel/core_pattern',
    'echo x >/sys/kernel/profiling',
    'hostname other',
    'date -s 00:00',
  ]) {
    expect(sh('u2', line).stderr, line).toMatch(/not permitted|denied|are you root/);
  }
});

test('copies, a commit, a clone, a stop, and another host: the ids are those inside', async () => {
  const listed = host.run(['sh', '-c', `${MINICT} cp u2:/new - | tar tv --numeric-owner`]);
  expect(listed.stdout).toContain(' 33/34 ');
  ok('cp', shared, 'u2:/in');
  ok('cp', '-a', join(shared, 'file'), 'u2:/kept');
  expect(owners('u2', '/in', '/in/file', '/kept')).toEqual(['0:0', '0:0', '5:7', '']);
  const exported = host.run([
    'sh',
    '-c',
    `${MINICT} export u2 | tar tv --numeric-owner | tr -s " " | cut -d" " -f2 | sort -u`,
  ]);
  expect(exported.stdout).toBe('0/0\n33/34\n5/7\n');
  expect(ok('diff', 'u2')).toContain('A /new\n');
  ok('commit', 'u2', 'of-u2');
  expect(ok('run', '--rm', 'r', '--image', 'of-u2', '--', 'stat', '-c', '%u:%g', '/new', '/in')).toBe('33:34\n0:0\n');
  ok('clone', 'u2', 'u3');
  ok('start', 'u3');
  expect(new Set([mapOf('u1').uid, mapOf('u2').uid, mapOf('u3').uid]).size).toBe(3);
  expect(owners('u3', '/new')).toEqual(['33:34', '']);
  ok('stop', 'u3');
  expect(host.run(['sh', '-c', `${MINICT} cp u3:/new - | tar tv --numeric-owner`]).stdout).toContain(' 33/34 ');
  const tar = join(host.dir, 'u3.tar');
  expect(host.minict('save-container', 'u3', '-o', tar).status).toBe(0);
  ok('rm', 'u3');
  expect(host.minict('load-container', '-i', tar, '--binds', '--start').status).toBe(0);
  expect(owners('u3', '/new', '/in')).toEqual(['33:34', '0:0', '']);
  expect(new Set([mapOf('u1').uid, mapOf('u2').uid, mapOf('u3').uid]).size).toBe(3);
  ok('rm', '-f', 'u3');
  ok('image', 'rm', 'of-u2');
});

test('made at once they have different ids, and nothing is left of them', async () => {
  const made = ['m1', 'm2', 'm3'].map((name) => host.spawn([MINICT, 'create', name, '--no-network', ...USERNS]));
  expect(await Promise.all(made.map((child) => child.exited))).toEqual([0, 0, 0]);
  expect(new Set(['m1', 'm2', 'm3', 'u1'].map((name) => mapOf(name).uid)).size).toBe(4);
  ok('rm', '-f', 'm1', 'm2', 'm3', 'u1', 'u2');
  expect(await host.settled(clean)).toEqual(clean);
});

test.each([
  [['--userns', 'auto'], /cannot use --userns auto with the runtime chroot\nhint: --runtime crun/],
  [[...USERNS, '--rootfs', '/usr'], /cannot use --userns auto and --rootfs together/],
  [[...USERNS, '-v', '/sys/kernel:/k'], /its ids cannot be mapped where \/sys\/kernel is: Invalid argument/],
])('%j is refused, and nothing is left', async (options, message) => {
  expectRefused(host.minict('create', 'bad', ...options), message);
  expect(await host.settled(clean)).toEqual(clean);
});

test('what is killed at a host command of a create leaves nothing', MANY_POINTS, async () => {
  const words = ['create', 'f1', '--no-network', ...USERNS];
  const verb = { title: '', words, options: words.slice(2), before: [], atomic: true, commands: 6, changes: 0 };
  expect(await killAtCommands(host, verb, clean, 'is killed together with minict')).toBeGreaterThanOrEqual(
    verb.commands,
  );
});

test('ids are nobody’s of another root, made before or after, and a start that would share some is refused', async () => {
  const other = { MINICT_ROOT: join(host.dir, 'other'), MINICT_RUN_DIR: '/run/other' };
  const create = ['create', '--no-network', ...USERNS];
  const hostId = (root: string, name: string) =>
    JSON.parse(readFileSync(join(root, 'containers', name, 'container.json'), 'utf8')).userns.hostId as number;
  ok(...create, 'mine');
  expect(host.run([MINICT, ...create, 'theirs'], other)).toMatchObject({ status: 0, stderr: '' });
  expect(hostId(other.MINICT_ROOT, 'theirs')).toBe(hostId(host.root, 'mine') + 65536);
  ok(...create, 'next');
  expect(hostId(host.root, 'next')).toBe(hostId(host.root, 'mine') + 2 * 65536);
  await host.reboot();
  host.run([MINICT, 'rm', 'theirs'], other);
  expect(host.run([MINICT, ...create, 'late'], other)).toMatchObject({ status: 0, stderr: '' });
  expectRefused(
    host.minict('start', 'mine'),
    /^minict: cannot start mine: its ids 1000000 to 1065535 of the host are those of \/run\/userns\/late\nhint: minict clone mine NAME makes one with other ids\n$/,
  );
  ok('clone', 'mine', 'copy');
  ok('start', 'next', 'copy');
  expect(host.run([MINICT, 'rm', '-f', 'late'], other)).toMatchObject({ status: 0, stderr: '' });
  ok('start', 'mine');
  ok('rm', '-f', 'mine', 'next', 'copy');
  expect(host.run([MINICT, 'system', 'prune'], other)).toMatchObject({ status: 0 });
});
