/** Limits: each is run into. On whichever hierarchy the controllers are. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import {
  CPU_STAT,
  hog,
  MEMORY,
  PIDS,
  PIDS_NOW,
  QUOTA,
  READ_BPS,
  readCounter,
  readLimit,
  WRITE_IOPS,
} from '../helpers/cgroups.ts';
import { expectCreated, expectRefused, linksSettle } from '../helpers/expect.ts';
import { eventually, Host } from '../helpers/host.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
});
afterAll(() => host.destroy());
afterEach(() => {
  for (const name of host.minict('ps', '-a', '-q').stdout.split('\n').filter(Boolean)) host.minict('rm', '-f', name);
});

const inside = (name: string, ...argv: string[]) => host.minict('exec', name, ...argv).stdout;
const recorded = (name: string) => JSON.parse(host.minict('inspect', name).stdout)[0];
const done = (stdout: string) => ({ status: 0, stdout, stderr: '' });

/** A whole disk, and its number. */
const disk = (() => {
  const name = readdirSync('/sys/block').find((each) => existsSync(`/dev/${each}`)) as string;
  return { path: `/dev/${name}`, number: readFileSync(`/sys/block/${name}/dev`, 'utf8').trim() };
})();

test('a program that takes too much memory is killed; ps and inspect count it until the next start', () => {
  expectCreated(host, 'calm');
  const before = host.minict('ps', '-a').stdout;
  const full = host.minict('run', 'hog', '-m', '16m', '--', ...hog(64 << 20));
  expect(full.status).toBe(137);
  expect(recorded('hog').status).toMatchObject({ state: 'ready', exitCode: 137, oomKills: 1 });
  expect(host.minict('ps').stdout).toMatch(/^hog +ready, exited \(137\) \d+ \w+ ago \(OOM kills: 1\) /m);
  expect(JSON.parse(host.minict('ps', '--format', 'json', '-f', 'name=hog').stdout)[0].oomKills).toBe(1);
  const told = host.minict('events', '--no-stream', '--filter', 'container=hog').stdout;
  expect(told).toMatch(/ container oom hog \(oomKills=1\)\n\S+ container die hog \(exitCode=137\)\n$/);
  expect(recorded('calm').status).not.toHaveProperty('oomKills');
  host.minict('stop', '-t', '0', 'hog');
  expect(recorded('hog').status).toMatchObject({ state: 'stopped', oomKills: 1 });
  expect(host.minict('start', 'hog').status).toBe(0);
  expect(host.minict('wait', 'hog').stdout).toBe('137\n');
  expect(recorded('hog').status.oomKills).toBe(1);
  host.minict('rm', '-f', 'hog');
  expect(host.minict('ps', '-a').stdout).toBe(before);
});

test('without a main command ps counts at once, and events at the stop', () => {
  expectCreated(host, 'served', '-m', '16m');
  expect(host.minict('exec', 'served', ...hog(64 << 20)).status).toBe(137);
  expect(host.minict('ps').stdout).toMatch(/^served +ready \(OOM kills: 1\) /m);
  host.minict('stop', 'served');
  const told = host.minict('events', '--no-stream', '--filter', 'container=served').stdout;
  expect(told).toMatch(/ container oom served \(oomKills=1\)\n\S+ container stop served\n$/);
});

test('of 10,000 forks as many succeed as there may be processes; another container answers meanwhile', async () => {
  expectCreated(host, 'other');
  const forks =
    'for (1..10000) { $p = fork; $no++ if !defined $p; if (defined $p && !$p) { sleep 1000; exit } } print "$no refused\\n"; $|=1; print ""; sleep 1000';
  const bomb = ['-v', '/:/host:ro', '--', 'chroot', '/host', 'perl', '-e', forks];
  expect(host.minict('run', 'bomb', '-d', '--pids-limit', '50', ...bomb)).toEqual(done('bomb\n'));
  expect(inside('other', 'echo', 'here')).toBe('here\n');
  expect(await eventually(() => /refused/.test(host.minict('logs', 'bomb').stdout))).toBe(true);
  const refused = Number(/^(\d+) refused/m.exec(host.minict('logs', 'bomb').stdout)?.[1]);
  expect(refused).toBe(9951);
  expect(Number(readLimit(host, 'bomb', PIDS_NOW))).toBe(50);
  expect(inside('other', 'echo', 'here')).toBe('here\n');
  // Who enters may; what it starts may not.
  expect(host.minict('exec', 'bomb', 'sh', '-c', '/bin/true; echo on').status).not.toBe(0);
  expect(host.minict('rm', '-f', 'bomb')).toEqual(done('bomb\n'));
});

test('namespaces of its own change nothing: limits, the count, a program that is killed', () => {
  const own = ['--pid', 'private', '--cgroupns', 'private', '--ulimit', 'nofile=70'];
  expect(host.minict('run', 'c1', '-m', '16m', ...own, '--', ...hog(64 << 20)).status).toBe(137);
  expect(recorded('c1').status).toMatchObject({ exitCode: 137, oomKills: 1 });
  expect(inside('c1', 'sh', '-c', 'ulimit -n')).toBe('70\n');
  expect(host.minict('update', 'c1', '--pids-limit', '30', '--ulimit', 'nofile=71')).toEqual(done('c1\n'));
  expect(inside('c1', 'sh', '-c', 'ulimit -n')).toBe('71\n');
  expect(host.minict('top', 'c1').stdout.split('\n')).toHaveLength(2);
});

test('half a CPU is throttled', async () => {
  expect(host.minict('run', 'busy', '-d', '--cpus', '0.5', '--', 'sh', '-c', 'while :; do :; done').status).toBe(0);
  expect(readLimit(host, 'busy', QUOTA)).toMatch(/^50000( 100000)?$/);
  expect(await eventually(() => readCounter(host, 'busy', CPU_STAT, 'nr_throttled') > 0)).toBe(true);
});

test('a set of CPUs, and limits of each process, are what programs see: main command, service, exec', async () => {
  const show = 'echo $(grep Cpus_allowed_list /proc/self/status) $(ulimit -Sn) $(ulimit -Hn)';
  const limits = ['--cpuset-cpus', '0', '--ulimit', 'nofile=100:200', '--ulimit', 'core=0'];
  host.minict('create', 'c1', ...limits, '--service', `${show} >/tmp/service`, '--', 'sh', '-c', `${show} >/tmp/main`);
  expect(host.minict('start', 'c1')).toEqual(done('c1\n'));
  expect(host.minict('wait', 'c1').stdout).toBe('0\n');
  const expected = 'Cpus_allowed_list: 0 100 200\n';
  expect(inside('c1', 'cat', '/tmp/service', '/tmp/main')).toBe(expected + expected);
  expect(inside('c1', 'sh', '-c', show)).toBe(expected);
  expect(host.minict('exec', '-w', '/tmp', '-u', '7:7', 'c1', 'sh', '-c', show).stdout).toBe(expected);
  expect(host.minict('exec', '-d', 'c1', 'sh', '-c', `${show} >/tmp/detached`).status).toBe(0);
  expect(await eventually(() => inside('c1', 'cat', '/tmp/detached') === expected)).toBe(true);
});

test('disks are slowed down, as the kernel has it', () => {
  expectCreated(host, 'c1', '--io-read-bps', `${disk.path}:10mb`, '--io-write-iops', `${disk.path}:100`);
  expect(readLimit(host, 'c1', READ_BPS)).toMatch(new RegExp(`^${disk.number} (rbps=)?10485760\\b`));
  expect(readLimit(host, 'c1', WRITE_IOPS)).toMatch(new RegExp(`^${disk.number} (.*wiops=)?100$`));
});

test('a disk that is gone keeps a start back until its limit is lifted', () => {
  const node = join(host.dir, 'disk');
  const [major = '', minor = ''] = disk.number.split(':');
  expect(host.run(['mknod', node, 'b', major, minor]).status).toBe(0);
  expectCreated(host, 'c1', '--io-read-bps', `${node}:10mb`, '--pids-limit', '9');
  host.minict('stop', 'c1');
  host.run(['rm', node]);
  expectRefused(host.minict('start', 'c1'), /cannot limit .*disk: no such device/);
  expect(host.minict('update', 'c1', '--io-read-bps', `${node}:max`)).toEqual(done('c1\n'));
  expect(host.minict('start', 'c1')).toEqual(done('c1\n'));
  expect(recorded('c1').limits).toEqual({ pids: 9 });
});

test('what the host cannot do, or makes no sense, is refused before anything is made', async () => {
  expectCreated(host, 'other');
  await linksSettle(host);
  const before = host.snapshot();
  writeFileSync(join(host.dir, 'file'), '');
  const refused: readonly (readonly [string[], RegExp])[] = [
    [['-m', 'abc'], /cannot use -m "abc": not a size\nhint: for example 256m/],
    [['-m', ''], /cannot use -m "": not a size/],
    [['-m', '-5m'], /not a size/],
    [['-m', '0'], /cannot use -m: 0, -1 and max are no limit\nhint: leave it out/],
    [['-m', '1m'], /cannot use -m "1m": less than 6m/],
    [['-m', '99999999p'], /cannot use -m .*: more than/],
    [['--memory-swap', '1g'], /cannot use --memory-swap without -m/],
    [['-m', '64m', '--memory-swap', '63m'], /cannot use --memory-swap "63m": less than -m 64m/],
    [['--cpus', '0'], /cannot use --cpus: 0, -1 and max are no limit/],
    [['--cpus', '0.001'], /cannot use --cpus "0.001": less than 0.01/],
    [['--cpus', '1e3'], /cannot use --cpus "1e3": not a number/],
    [['--cpus', '4000'], /cannot use --cpus 4000: the host has \d+/],
    [['--cpu-shares', '1'], /cannot use --cpu-shares "1": less than 2/],
    [['--cpuset-cpus', '9999'], /cannot use --cpuset-cpus 9999: there is no CPU 9999\nhint: the host has 0/],
    [['--cpuset-cpus', '1-0'], /cannot use --cpuset-cpus "1-0": not a list of CPUs/],
    [['--cpuset-cpus', 'max'], /cannot use --cpuset-cpus: /],
    [['--pids-limit', '-1'], /cannot use --pids-limit: 0, -1 and max are no limit/],
    [['--pids-limit', '1.5'], /cannot use --pids-limit "1.5": not a whole number/],
    [['--pids-limit', '5000000'], /cannot use --pids-limit "5000000": more than 4194304/],
    [['--io-read-bps', '10mb'], /cannot use --io-read-bps "10mb": not a device and its limit/],
    [['--io-read-bps', '/dev/none:10mb'], /cannot limit \/dev\/none: no such device\nhint: lsblk/],
    [['--io-write-bps', `${host.dir}/file:10mb`], /cannot limit .*file: not a block device/],
    [['--io-read-iops', `${disk.path}:10mb`], /cannot use --io-read-iops "10mb": not a whole number/],
    [['--io-write-iops', `${disk.path}:5000000000`], /cannot use --io-write-iops "5000000000": more than 4294967295/],
    [['--io-write-iops', `${disk.path}:0`], /cannot use --io-write-iops: 0, -1 and max/],
    [['--ulimit', 'nofile'], /cannot use --ulimit "nofile": not a name and its limits/],
    [['--ulimit', 'files=3'], /cannot use --ulimit "files": no limit of that name\nhint: as, core/],
    [['--ulimit', 'nofile=3:2'], /cannot use --ulimit "nofile": the soft limit is above the hard one/],
    [['--ulimit', 'nofile=few'], /cannot use --ulimit "nofile=few": "few" is no number/],
    [['--ulimit', 'nofile=99999999999'], /cannot use --ulimit nofile: the host allows \d+ at most/],
  ];
  for (const [options, message] of refused) {
    const result = host.minict('create', 'c1', ...options);
    expectRefused(result, message);
    expect(host.minict('run', 'c1', ...options, '--dry-run')).toEqual(result);
  }
  expect(host.snapshot()).toEqual(before);
});

test('a host without controllers, or with one that is not handed down, refuses their limits, and says so in doctor', () => {
  const dir = '/sys/fs/cgroup';
  const lines = () =>
    JSON.parse(host.minict('system', 'doctor', '--format', 'json').stdout)
      .filter(({ name }: { name: string }) => name === 'limits')
      .map(({ state, detail }: { state: string; detail: string }) => `${state} ${detail}`);
  expect(lines()[0]).toMatch(/^pass memory \(v\d\), cpu \(v\d\), cpuset \(v\d\), pids \(v\d\), io \(v\d\); swap is /);
  try {
    expect(
      host.run(['sh', '-ec', `mount -t tmpfs none ${dir}; mkdir ${dir}/freezer; touch ${dir}/freezer/tasks`]).status,
    ).toBe(0);
    expectRefused(
      host.minict('create', 'c1', '-m', '64m'),
      /cannot limit memory: the kernel's cgroups have no such controller here\nhint: minict system doctor/,
    );
    expect(lines()[0]).toBe('warn no controller memory, for -m');
    expect(lines()).toHaveLength(5);
  } finally {
    host.run(['umount', dir]);
  }
});

test('limits outlast a reboot, and go with a clone and a saved container', async () => {
  expectCreated(host, 'c1', '-m', '64m', '--pids-limit', '20', '--ulimit', 'nofile=70');
  await host.reboot();
  expect(host.minict('start', 'c1')).toEqual(done('c1\n'));
  const limits = (name: string) => [MEMORY, PIDS].map((file) => readLimit(host, name, file));
  expect(limits('c1')).toEqual([`${64 << 20}`, '20']);
  expect(host.minict('clone', 'c1', 'c2').status).toBe(0);
  expect(limits('c2')).toEqual(limits('c1'));
  expect(inside('c2', 'sh', '-c', 'ulimit -n')).toBe('70\n');
  expect(host.minict('save-container', 'c1', '-o', join(host.dir, 'c1.tar')).status).toBe(0);
  expect(host.minict('load-container', '-i', join(host.dir, 'c1.tar'), '--name', 'c3', '--start')).toMatchObject({
    status: 0,
  });
  expect(limits('c3')).toEqual(limits('c1'));
  expect(recorded('c3').ulimits).toEqual({ nofile: { soft: 70, hard: 70 } });
});
