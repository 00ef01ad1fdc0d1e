/** --dry-run: scripts that write nothing when they are printed, need no minict, and do to the kernel what it would. */
import { existsSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { linksSettle } from '../helpers/expect.ts';
import { eventually, Host } from '../helpers/host.ts';
import { kernelView } from '../helpers/kernel-view.ts';
import { programsOf } from '../helpers/processes.ts';
import { printScript } from '../helpers/script.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
});
afterAll(() => host.destroy());

const scriptOf = (...words: string[]) => printScript(host, ...words);
const runScript = (script: string) => host.run(['sh'], {}, script);

/** A file in a tmpfs, and a volume of its own in a named one. */
const VOLUMES = [
  ...['-v', 'v1:/var/www', '-v', '/own', '-v', '/var/www/in', '-v', '/etc:/bound:ro'],
  ...['--tmpfs', '/tmp:size=1m', '-v', '/etc/passwd:/tmp/deep/passwd', '-v', '/srv:/new/place'],
];

const LIMITS = ['-m', '64m', '--cpus', '0.5', '--cpuset-cpus', '0', '--pids-limit', '30'];

const done = { status: 0, stdout: '', stderr: '' };

test('on a host that never saw minict, a script makes all that a container needs; its undo takes it away', async () => {
  const script = scriptOf('create', 'v1', '--dry-run');
  const undo = scriptOf('create', 'v1', '--dry-run-undo');
  expect(existsSync(join(host.root, 'containers'))).toBe(false);
  expect(runScript(script)).toEqual(done);
  const rootfs = join(host.root, 'containers/v1/rootfs');
  const inside = host.run([
    ...['nsenter', '--mount=/run/mntns/v1', '--net=/run/netns/v1', '--uts=/run/utsns/v1', 'chroot', rootfs],
    ...[
      '/bin/sh',
      '-c',
      'hostname; cat /etc/hostname; ping -c1 -W2 v1 >/dev/null && echo up; ls -d /sys/kernel /dev/null',
    ],
  ]);
  expect(inside.stdout).toBe('v1\nv1\nup\n/dev/null\n/sys/kernel\n');
  expect(runScript(undo)).toEqual(done);
  await host.linksGone(/v1-eth0/);
  expect(readdirSync(join(host.root, 'containers'))).toEqual([]);
  expect(host.snapshot().run.filter((path) => path.includes('v1'))).toEqual([]);
  const group = /^mkdir -p (\S+minict-00000000)$/m.exec(script)?.[1] ?? '';
  expect(readdirSync(group, { withFileTypes: true }).filter((entry) => entry.isDirectory())).toEqual([]);
  rmdirSync(group);
  // The bridge of a script is nobody's, and minict refuses it.
  expect(host.minict('create', 'v1').stderr).toContain("not this minict's");
  host.run(['ip', 'link', 'del', 'minict0']);
});

describe('a script leaves the kernel as the verb does', () => {
  beforeAll(() => {
    // With groups of all containers in each hierarchy.
    expect(host.minict('create', 'other', ...LIMITS).stderr).toBe('');
    expect(host.minict('volume', 'create', 'v1').stderr).toBe('');
  });

  beforeEach(() => linksSettle(host));

  test.each([
    [[]],
    [['--mounts', 'host', '--mtu', '1400', '--hostname', 'its']],
    [['--no-network']],
    [LIMITS],
    [[...VOLUMES, '--mounts', 'host']],
    [[...VOLUMES, '--read-only']],
    [['--ip', '192.168.0.77/24', '--gateway', '192.168.0.78', '--mac-address', '02:00:00:00:00:07']],
  ])('create %j, and its undo', async (options) => {
    const before = host.snapshot();
    const undo = scriptOf('create', 'd1', ...options, '--dry-run-undo');
    expect(runScript(scriptOf('create', 'd1', ...options, '--dry-run'))).toEqual(done);
    expect(scriptOf('create', 'd1', ...options, '--dry-run-undo')).toBe(undo);
    const made = kernelView(host, 'd1');
    expect(runScript(undo)).toEqual(done);
    const hosts = join(host.root, 'networks/minict0.hosts');
    writeFileSync(hosts, readFileSync(hosts, 'utf8').replace(/^.* d1\n/gm, ''));
    expect(await host.settled(before)).toEqual(before);
    expect(host.minict('create', 'd1', ...options)).toMatchObject({ status: 0 });
    expect(made).toEqual(kernelView(host, 'd1'));
    expect(runScript(scriptOf('rm', 'd1', '--dry-run'))).toEqual(done);
    expect(host.minict('ps', '-a', '-q').stdout).toBe('other\n');
    const { network, mounts, cgroups, programs } = await host.settled(before);
    expect({ ...before, network, mounts, cgroups, programs }).toEqual(before);
    // The address of a container that a script removed is free again.
    expect(host.minict('create', 'd1', ...options).status).toBe(0);
    expect(host.minict('rm', 'd1').status).toBe(0);
    expect(await host.settled(before)).toEqual(before);
  });

  test('start and stop, with services, stop commands and a main command', async () => {
    const options = ['--service', 'echo "$HOSTNAME" >/srv/service', '--stop-cmd', 'echo bye >/srv/stop'];
    expect(host.minict('create', 's1', ...options, '--', 'sleep', '1000').status).toBe(0);
    const file = (name: string) => readFileSync(join(host.root, 'containers/s1/upper/srv', name), 'utf8');
    const state = () => JSON.parse(host.minict('inspect', 's1').stdout)[0].status.state;

    expect(runScript(scriptOf('start', 's1', '--dry-run'))).toEqual(done);
    expect(file('service')).toBe('s1\n');
    // The supervisor and who writes the log; a script's own shell may still be in their group.
    const has = (end: string) => host.snapshot().cgroups.some((line) => line.endsWith(end));
    const isUp = () => ['s1/payload 1', 'supervisor@s1 2'].every(has);
    expect(await eventually(isUp)).toBe(true);
    expect(state()).toBe('running');
    const ready = kernelView(host, 's1');
    const again = scriptOf('stop', 's1', '--dry-run-undo');
    expect(runScript(scriptOf('stop', '-t', '1', 's1', '--dry-run'))).toEqual(done);
    expect(file('stop')).toBe('bye\n');
    const stopped = kernelView(host, 's1');
    // minict finds what the script took down, and brings it up.
    expect(host.minict('start', 's1').status).toBe(0);
    expect(state()).toBe('running');
    expect(host.minict('stop', '-t', '1', 's1').status).toBe(0);
    expect(kernelView(host, 's1')).toEqual(stopped);

    const start = scriptOf('start', 's1', '--dry-run');
    const back = scriptOf('start', 's1', '--dry-run-undo');
    for (const script of [start, again]) {
      expect(runScript(script)).toEqual(done);
      expect(await eventually(isUp)).toBe(true);
      expect(kernelView(host, 's1')).toEqual(ready);
      expect(runScript(back)).toEqual(done);
      expect(kernelView(host, 's1')).toEqual(stopped);
    }
    expect(runScript(start)).toEqual(done);
    expect(host.minict('rm', '-f', 's1').stderr).toContain('cannot remove /run/mntns/s1: not made by minict');
    expect(host.run(['umount', '/run/mntns/s1']).status).toBe(0);
    expect(host.run(['rm', '/run/mntns/s1']).status).toBe(0);
  });

  test('a new volume, made and filled by a script, is one that minict knows', async () => {
    const before = host.snapshot();
    const options = ['-v', 'new:/var/www', '--no-network'];
    const undo = scriptOf('create', 'd2', ...options, '--dry-run-undo');
    expect(runScript(scriptOf('create', 'd2', ...options, '--dry-run'))).toEqual(done);
    expect(readFileSync(join(host.root, 'volumes/new/data/index.html'), 'utf8')).toBe('minict\n');
    expect(host.minict('volume', 'ls', '-q').stdout).toBe('new\nv1\n');
    expect(runScript(undo)).toEqual(done);
    expect(host.minict('volume', 'rm', 'new')).toEqual({ ...done, stdout: 'new\n' });
    expect(await host.settled(before)).toEqual(before);
  });

  test('restart, of one that runs, of one that is broken, and of a stopped one', async () => {
    host.minict('create', 't1', '--stop-cmd', 'echo bye >>/srv/stop', '--', 'sleep', '1000');
    const program = () => programsOf(host, 't1')[0];
    const runs = (before: number | undefined) => eventually(() => (program() ?? before) !== before);
    expect(host.minict('start', 't1').status).toBe(0);
    const ready = kernelView(host, 't1');
    let before = program();
    const back = scriptOf('restart', 't1', '--dry-run-undo');
    expect(runScript(scriptOf('restart', '-t', '1', 't1', '--dry-run'))).toEqual(done);
    expect(await runs(before)).toBe(true);
    expect(kernelView(host, 't1')).toEqual(ready);
    expect(readFileSync(join(host.root, 'containers/t1/upper/srv/stop'), 'utf8')).toBe('bye\n');

    expect(runScript(back)).toEqual(done);
    const stopped = kernelView(host, 't1');

    expect(host.minict('start', 't1').status).toBe(0);
    expect(kernelView(host, 't1')).toEqual(ready);
    host.run(['ip', 'link', 'del', 't1-eth0']);
    before = program();
    const gone = { ...done, stderr: expect.stringMatching(/^(Cannot find device "t1-eth0"\n){2}$/) };
    expect(runScript(scriptOf('restart', '-t', '0', 't1', '--dry-run'))).toEqual(gone);
    expect(await runs(before)).toBe(true);
    expect(kernelView(host, 't1')).toEqual(ready);
    expect(runScript(back)).toEqual(done);

    host.run(['ip', 'link', 'del', 't1-eth0']);
    expect(host.minict('start', 't1').status).toBe(0);
    expect(host.minict('stop', '-t', '0', 't1').status).toBe(0);
    // That a new pair has a carrier is told by the kernel's own worker.
    await eventually(() => Bun.deepEquals(kernelView(host, 't1'), stopped));
    expect(kernelView(host, 't1')).toEqual(stopped);
    expect(runScript(scriptOf('restart', 't1', '--dry-run'))).toEqual(done);
    expect(await runs(undefined)).toBe(true);
    expect(kernelView(host, 't1')).toEqual(ready);
    expect(runScript(back)).toEqual(done);
    expect(kernelView(host, 't1')).toEqual(stopped);
    expect(host.minict('rm', '-f', 't1')).toMatchObject({ status: 0, stderr: '' });
  });

  test('rm of what somebody took a piece of: the script removes the rest', async () => {
    const before = host.snapshot();
    host.minict('create', 'g1');
    host.run(['umount', '/run/utsns/g1']);
    host.run(['rm', '/run/utsns/g1']);
    expect(runScript(scriptOf('rm', 'g1', '--dry-run')).stderr).toContain('utsns/g1');
    expect(host.minict('system', 'prune').status).toBe(0);
    const { network, mounts, run, cgroups } = await host.settled(before);
    expect({ ...before, network, mounts, run, cgroups }).toEqual(before);
  });

  test('run, attached and detached, and the end of both', async () => {
    const before = host.snapshot();
    const undo = scriptOf('run', 'r1', '--dry-run-undo');
    const attached = runScript(scriptOf('run', 'r1', '--dry-run', '--', 'sh', '-c', 'hostname; cat'));
    expect(attached).toEqual({ ...done, stdout: 'r1\n' });
    expect(runScript(undo)).toEqual(done);
    await host.linksGone(/r1-eth0/);
    expect(runScript(scriptOf('run', '-d', 'r1', '--dry-run', '--', 'sleep', '1000'))).toEqual(done);
    const busy = () => host.snapshot().cgroups.some((line) => /r1\/payload 1$/.test(line));
    expect(await eventually(busy)).toBe(true);
    expect(runScript(undo)).toEqual(done);
    const hosts = join(host.root, 'networks/minict0.hosts');
    writeFileSync(hosts, readFileSync(hosts, 'utf8').replaceAll(/^.*r1 r1\n/gm, ''));
    expect(await host.settled(before)).toEqual(before);
  });

  test('what is refused is refused, and what is not there has no plan', () => {
    expect(host.minict('create', 'other', '--dry-run')).toMatchObject({ status: 125, stdout: '' });
    expect(host.minict('stop', 'nobody', '--dry-run').stderr).toContain('no such container');
    host.minict('exec', '-d', 'other', 'sleep', '1000');
    expect(host.minict('rm', 'other', '--dry-run').stderr).toContain('processes run in it');
    expect(host.minict('rm', '-f', 'other', '--dry-run').status).toBe(0);
  });
});
