/** --boot: Debian's systemd and another init as PID 1, by systemd-nspawn. */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefused, expectRefusedThere, linksSettle } from '../helpers/expect.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { imageTree } from '../helpers/images.ts';
import { inspect, isAlive, programsOf } from '../helpers/processes.ts';
import { printScript } from '../helpers/script.ts';
import type { Snapshot } from '../helpers/snapshot.ts';
import { Terminal } from '../helpers/terminal.ts';

/** As bin/prepare.sh puts it. */
const DEBIAN = '/usr/local/lib/minict/debian.tar';

const BOOT = ['--runtime', 'nspawn', '--boot'];

/** Answers on port 80, and leaves a line when it is stopped. */
const UNIT = `[Service]
ExecStart=/bin/busybox nc -ll -p 80 -e /bin/busybox echo answered
ExecStop=/bin/busybox sh -c 'echo stopped >>/root/stopped'
[Install]
WantedBy=multi-user.target
`;

const INITTAB = `::sysinit:/bin/hostname -F /etc/hostname
::respawn:/bin/sleep 300
::shutdown:/bin/touch /root/shut-down
`;

let host: Host;
let clean: Snapshot;
const ok = (...words: string[]) => {
  const result = host.minict(...words);
  expect(result, words.join(' ')).toMatchObject({ status: 0, stderr: '' });
  return result.stdout;
};
const sh = (name: string, line: string) => host.minict('exec', name, 'sh', '-c', line);
const answers = (name: string) => {
  const { address } = JSON.parse(ok('inspect', name))[0] as { address: string };
  return host.minict('exec', 'keep', 'nc', address, '80').stdout === 'answered\n';
};
const state = (name: string) => inspect(host, name).status.state;

function importDebian(): void {
  const tree = join(host.dir, 'debian');
  mkdirSync(tree);
  expect(host.run(['tar', 'xf', DEBIAN, '-C', tree, '--exclude=./dev/*']).status).toBe(0);
  writeFileSync(join(tree, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
  writeFileSync(join(tree, 'etc/group'), 'root:x:0:\n');
  // As mmdebstrap leaves it: a first boot, which would ask for passwords and more.
  writeFileSync(join(tree, 'etc/machine-id'), 'uninitialized\n');
  writeFileSync(join(tree, 'etc/systemd/system/answer.service'), UNIT);
  mkdirSync(join(tree, 'etc/systemd/system/multi-user.target.wants'));
  symlinkSync(
    '/etc/systemd/system/answer.service',
    join(tree, 'etc/systemd/system/multi-user.target.wants/answer.service'),
  );
  // Its program is in another package.
  symlinkSync('/dev/null', join(tree, 'etc/systemd/system/console-getty.service'));
  for (const applet of ['sh', 'cat', 'id', 'hostname', 'sleep']) {
    rmSync(join(tree, 'bin', applet), { force: true });
    symlinkSync('busybox', join(tree, 'bin', applet));
  }
  ok('image', 'import', tree, 'debian');
  rmSync(tree, { recursive: true });
}

function importOther(): void {
  const tree = join(host.dir, 'other');
  expect(host.run(['cp', '-a', imageTree(host, 'base'), tree]).status).toBe(0);
  writeFileSync(join(tree, 'etc/os-release'), 'ID=other\n');
  writeFileSync(join(tree, 'etc/inittab'), INITTAB);
  ok('image', 'import', tree, 'other');
}

beforeAll(async () => {
  host = await Host.create();
  ok('create', 'keep', '--ipc', 'private', '--pids-limit', '1000');
  importDebian();
  importOther();
  // Groups of all containers come to stay with the first.
  ok('create', 'first', '--runtime', 'nspawn');
  ok('rm', 'first');
  await linksSettle(host);
  clean = host.snapshot();
});
afterAll(() => host.destroy());

test('systemd is PID 1, its units answer, and are stopped in good order', async () => {
  expectCreated(host, 's', '--image', 'debian', ...BOOT, '--hostname', 'its', '--pids-limit', '200', '-e', 'OF=all');
  expect(state('s')).toBe('ready');
  expectRefused(host.minict('exec', 's', 'true'), /cannot exec in s: it is not booted\nhint: minict start s\n/);
  expectRefused(host.minict('check', 's', '--escape'), /cannot check s: it is not booted\n/);
  ok('start', 's');
  expect(state('s')).toBe('running');
  expect(sh('s', 'systemctl is-system-running; cat /proc/1/comm; hostname').stdout).toBe('running\nsystemd\nits\n');
  expect(sh('s', 'tr "\\0" "\\n" </proc/1/environ').stdout).toContain('\nOF=all\n');
  expect(await eventually(() => answers('s'))).toBe(true);
  expect(ok('logs', 's')).toContain('Welcome to');
  expect(
    host.run(
      [MINICT, 'exec', '-i', '-u', '1000:1234', '-w', '/usr', 's', 'sh', '-c', 'cat; id; pwd; exit 7'],
      {},
      'in\n',
    ),
  ).toEqual({
    status: 7,
    stdout: 'in\nuid=1000 gid=1234\n/usr\n',
    stderr: '',
  });
  const boot = sh('s', 'cat /proc/sys/kernel/random/boot_id').stdout;
  // It has no bus, as which it is told.
  host.minict('exec', 's', 'systemctl', 'reboot');
  expect(await eventually(() => ![boot, ''].includes(sh('s', 'cat /proc/sys/kernel/random/boot_id').stdout))).toBe(
    true,
  );
  expect(await eventually(() => answers('s'))).toBe(true);
  // It would hold up the end: its parent is outside.
  const exec = host.spawn([MINICT, 'exec', 's', 'sh', '-c', 'trap "" TERM; echo ready; while :; do sleep 1; done']);
  await (exec.stdout as ReadableStream<Uint8Array>).getReader().read();
  const programs = programsOf(host, 's');
  ok('stop', 's');
  expect(programs.some(isAlive)).toBe(false);
  expect(await exec.exited).toBe(137);
  expect(inspect(host, 's').status).toMatchObject({ state: 'stopped', exitCode: 0 });
  // One for the reboot.
  expect(host.run(['cat', join(inspect(host, 's').folder, 'upper/root/stopped')]).stdout).toBe('stopped\nstopped\n');
});

test('its end by itself, by kill, without grace, by rm -f', async () => {
  ok('start', 's');
  host.minict('exec', 's', 'systemctl', 'exit', '9');
  expect(ok('wait', 's')).toBe('9\n');
  expect(state('s')).toBe('ready');
  ok('restart', 's');
  ok('kill', 's');
  ok('wait', 's');
  expectRefused(host.minict('exec', 's', 'true'), /cannot exec in s: it is not booted/);
  ok('start', 's');
  const programs = programsOf(host, 's');
  const isNspawn = (pid: number) => host.run(['cat', `/proc/${pid}/comm`]).stdout === 'systemd-nspawn\n';
  process.kill(programs.find(isNspawn) as number, 'SIGKILL');
  expect(ok('wait', 's')).toBe('137\n');
  expect(programs.some(isAlive)).toBe(false);
  ok('start', 's');
  ok('stop', '-t', '0', 's');
  expect(state('s')).toBe('stopped');
  ok('start', 's');
  ok('rm', '-f', 's');
  expect(await host.settled(clean)).toEqual(clean);
});

test('a clone, a saved one, another name: they boot, as it does; by a printed script, too', async () => {
  const tar = join(host.dir, 's.tar');
  expectCreated(host, 's', '--image', 'debian', ...BOOT);
  ok('clone', 's', 's2');
  ok('save-container', 's', '-o', tar);
  ok('rm', 's');
  host.minict('load-container', '-i', tar, '--name', 's3');
  ok('rename', 's3', 's4');
  const undo = printScript(host, 'start', 's2', '--dry-run-undo');
  expect(host.run(['sh'], {}, printScript(host, 'start', 's2', '--dry-run'))).toMatchObject({ status: 0, stderr: '' });
  expect(await eventually(() => answers('s2'))).toBe(true);
  expect(host.run(['sh'], {}, undo).status).toBe(0);
  ok('start', 's2', 's4');
  expect(sh('s4', 'hostname; systemctl is-system-running').stdout).toBe('s4\nrunning\n');
  expect(host.run(['sh'], {}, ok('stop', 's4', '--dry-run')).status).toBe(0);
  expect(host.run(['cat', join(inspect(host, 's4').folder, 'upper/root/stopped')]).stdout).toBe('stopped\n');
  ok('rm', '-f', 's2', 's4');
  expect(await host.settled(clean)).toEqual(clean);
});

test('on a terminal: what it writes is seen, and its status comes back', async () => {
  const terminal = new Terminal(host, [MINICT, 'run', '--rm', '-it', 's', '--image', 'debian', ...BOOT]);
  await terminal.shows(/Reached target .*multi-user/);
  host.minict('exec', 's', 'systemctl', 'exit', '5');
  expect(await terminal.status()).toBe(5);
  terminal.close();
  expect(await host.settled(clean)).toEqual(clean);
});

test('another init: up as soon as it is there, and shut down by its own poweroff', async () => {
  ok('run', '-d', 'b', '--image', 'other', ...BOOT);
  expect(await eventually(() => sh('b', 'ps').stdout.includes('sleep 300'))).toBe(true);
  expect(sh('b', 'readlink /proc/1/exe').stdout).toBe('/bin/busybox\n');
  ok('stop', 'b');
  expect(inspect(host, 'b').status).toMatchObject({ state: 'stopped', exitCode: 0 });
  expect(ok('diff', 'b')).toContain('A /root/shut-down\n');
  ok('rm', 'b');
  expect(await host.settled(clean)).toEqual(clean);
});

test('an init that says it is systemd, and a systemctl that leaves something behind: a start does not wait for that', () => {
  const folder = join(host.dir, 'systemd');
  mkdirSync(folder);
  host.run(['cp', join(imageTree(host, 'other'), 'bin/busybox'), join(folder, 'systemd')]);
  writeFileSync(join(folder, 'systemctl'), '#!/bin/sh\nsleep 300 &\necho running\n', { mode: 0o755 });
  ok('create', 's', '--image', 'other', '-v', `${folder}:/opt`, ...BOOT);
  ok('cp', join(folder, 'systemctl'), 's:/bin/systemctl');
  symlinkSync('/opt/systemd', join(folder, 'init'));
  ok('cp', join(folder, 'init'), 's:/sbin/init');
  ok('start', 's');
  expect(sh('s', 'readlink /proc/1/exe').stdout).toBe('/opt/systemd\n');
  expect(sh('s', 'ps').stdout.match(/sleep 300/g)).toHaveLength(2);
  ok('rm', '-f', 's');
});

test('what has no init, or no os-release, cannot boot: create says so, or start where it is gone by then', async () => {
  const hint = 'hint: an image with an init of its own, as images/debian-systemd, or leave out --boot\n$';
  const refused = async (what: string, ...words: string[]) =>
    expectRefusedThere(
      host,
      ['create', 'n', ...words],
      new RegExp(`its image has no ${what}, and cannot boot\n${hint}`),
    );
  await refused('/etc/os-release', ...BOOT);
  const root = join(host.dir, 'in-place');
  expect(host.run(['cp', '-a', imageTree(host, 'other'), root]).status).toBe(0);
  rmSync(join(root, 'sbin/init'));
  await refused('init', '--rootfs', root, ...BOOT);
  // What leads to the host is none.
  symlinkSync('/usr/bin/python3', join(root, 'sbin/init'));
  await refused('init', '--rootfs', root, ...BOOT);
  rmSync(join(root, 'sbin/init'));
  symlinkSync('/bin/busybox', join(root, 'sbin/init'));
  ok('create', 'n', '--rootfs', root, ...BOOT);
  rmSync(join(root, 'etc/os-release'));
  expectRefused(host.minict('start', 'n'), /cannot boot n: its image has no \/etc\/os-release\nhint: minict rm n, /);
  expect(ok('logs', 'n')).toContain('os-release file is missing');
  ok('rm', '-f', 'n');
  writeFileSync(join(root, 'etc/os-release'), 'ID=other\n');
  ok('create', 'n', '--rootfs', root, ...BOOT, '--restart', 'always');
  rmSync(join(root, 'etc/os-release'));
  expectRefused(host.minict('start', 'n'), /cannot boot n: its image has no \/etc\/os-release/);
  ok('rm', '-f', 'n');
  ok('create', 'n', '-v', `${root}:/etc`, ...BOOT);
  ok('rm', 'n');
});

test.each([
  [['--boot'], /cannot use --boot with the runtime chroot\nhint: --runtime nspawn/],
  [['--boot', '--profile', 'hardened'], /cannot use --boot with the runtime crun/],
  [[...BOOT, '--', 'sleep', '9'], /cannot use --boot and a main command together/],
  [[...BOOT, '--entrypoint', '/bin/sh'], /cannot use --boot and a main command together/],
  [[...BOOT, '--service', 'true'], /cannot use --boot and --service together/],
  [['--runtime', 'nspawn', '--mounts', 'host'], /cannot use --runtime nspawn and --mounts host together/],
  [['--runtime', 'nspawn', '--pid', 'host'], /cannot use --pid host with the runtime nspawn/],
  [['--runtime', 'nspawn', '--cap-add', 'ALL'], /cannot use --cap-add with the runtime nspawn/],
  [['--runtime', 'nspawn', '--tmpfs', '/run/x'], /cannot mount at \/run\/x with the runtime nspawn: it has a \/run/],
])('create %j is refused', async (words, message) => {
  await expectRefusedThere(host, ['create', 'bad', ...words], message);
});

test('without systemd-nspawn one error names its package; without PID 1 nothing is left', async () => {
  const bin = join(host.dir, 'bin');
  mkdirSync(bin);
  for (const tool of ['ip', 'unshare', 'nsenter', 'mount', 'umount', 'chroot', 'rm', 'sh', 'catatonit']) {
    symlinkSync(Bun.which(tool) as string, join(bin, tool));
  }
  const create = (path: string) => host.run(['env', `PATH=${path}`, MINICT, 'create', 'bad', '--runtime', 'nspawn']);
  expectRefused(
    create(bin),
    /^minict: cannot run systemd-nspawn: not found in PATH\nhint: apt-get install systemd-container\n$/,
  );
  symlinkSync('/bin/false', join(bin, 'systemd-nspawn'));
  expectRefused(create(`${bin}:${process.env.PATH}`), /^minict: cannot create bad/);
  expect(await host.settled(clean)).toEqual(clean);
});

test('without a hierarchy of cgroups that systemd-nspawn needs one error says so', () => {
  const at = '/sys/fs/cgroup/systemd';
  expect(host.run(['umount', at]).status).toBe(0);
  const { status, stderr } = host.minict('create', 'bad', '--runtime', 'nspawn');
  const [, hint = ''] = /^hint: (.*)$/m.exec(stderr) ?? [];
  expect([status, stderr]).toEqual([125, expect.stringContaining(`is not mounted at ${at}\n`)]);
  expect(host.run(['sh', '-c', hint]).status).toBe(0);
  ok('create', 'good', '--runtime', 'nspawn');
  ok('rm', 'good');
});

test('after a reboot of the host it boots again', async () => {
  const health = ['--health-cmd', 'systemctl is-active answer', '--health-interval', '100ms'];
  expectCreated(host, 's', '--image', 'debian', ...BOOT, ...health);
  ok('start', 's');
  expect(await eventually(() => ok('ps', '--filter', 'health=healthy').includes('s'))).toBe(true);
  // As if the host had lost its power: what systemd still has to do it does not.
  ok('kill', 's');
  ok('wait', 's');
  await host.reboot();
  ok('start', 's', 'keep');
  expect(await eventually(() => answers('s'))).toBe(true);
});
