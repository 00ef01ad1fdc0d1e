/** update: other limits for a container that is there, live; all of them or none. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { CPUSET, hog, IN_ITS_GROUP, MEMORY, PIDS, QUOTA, readLimit } from '../helpers/cgroups.ts';
import { expectCreated, expectRefused, linksSettle } from '../helpers/expect.ts';
import { killBefore } from '../helpers/faults.ts';
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

test('limits of what runs are changed, added and lifted, live; a start finds nothing to do', async () => {
  expect(host.minict('run', 'c1', '-d', '--pids-limit', '20', '--', 'sleep', '1000').status).toBe(0);
  const changed = ['-m', '64m', '--cpuset-cpus', '0', '--pids-limit', '30', '--ulimit', 'nofile=70:80'];
  expect(host.minict('update', 'c1', ...changed)).toEqual(done('c1\n'));
  const [pid] = readFileSync(join(recorded('c1').cgroup, 'cgroup.procs'), 'utf8').split('\n');
  expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(/^Cpus_allowed_list:\s0$/m);
  expect([MEMORY, PIDS, CPUSET].map((file) => readLimit(host, 'c1', file))).toEqual([`${64 << 20}`, '30', '0']);
  expect(inside('c1', 'sh', '-c', 'ulimit -n; ulimit -Hn; grep Cpus_allowed_list /proc/self/status')).toMatch(
    /^70\n80\n.*\t0\n$/,
  );
  // A hog that comes later is in the new group.
  expect(host.minict('exec', 'c1', ...hog(128 << 20)).status).toBe(137);
  expect(recorded('c1').status).toMatchObject({ state: 'running', oomKills: 1 });
  expect(recorded('c1')).toMatchObject({
    limits: { memoryBytes: 64 << 20, cpusetCpus: '0', pids: 30 },
    ulimits: { nofile: { soft: 70, hard: 80 } },
  });
  expect(host.minict('update', 'c1', '-m', '256m')).toEqual(done('c1\n'));
  expect(readLimit(host, 'c1', MEMORY)).toBe(`${256 << 20}`);
  const lifted = ['-m', 'max', '--cpuset-cpus', 'max', '--pids-limit', '-1', '--ulimit', 'nofile=max'];
  expect(host.minict('update', 'c1', ...lifted)).toEqual(done('c1\n'));
  expect(readLimit(host, 'c1', PIDS)).toBe('max');
  expect(Number(readLimit(host, 'c1', MEMORY)) || Number.POSITIVE_INFINITY).toBeGreaterThan(2 ** 60);
  expect(recorded('c1')).not.toHaveProperty('limits');
  expect(recorded('c1')).not.toHaveProperty('ulimits');
  expect(host.minict('start', 'c1')).toEqual(done('c1\n'));
  expect(existsSync(`/proc/${pid}`)).toBe(true);
  await linksSettle(host);
  expect(host.minict('rm', '-f', 'c1')).toEqual(done('c1\n'));
});

test('all of it or nothing: memory below what is used, a device that is not there', async () => {
  host.minict('run', 'c1', '-d', '-m', '128m', '--pids-limit', '20', '--', ...hog(48 << 20));
  const used = { controller: 'memory', v1: 'memory.usage_in_bytes', v2: 'memory.current' };
  expect(await eventually(() => Number(readLimit(host, 'c1', used)) > 48 << 20)).toBe(true);
  const before = [recorded('c1').limits, readLimit(host, 'c1', MEMORY)];
  expectRefused(
    host.minict('update', 'c1', '--pids-limit', '7', '--cpus', '0.5', '-m', '20m'),
    /cannot update c1: its processes use more memory than that\nhint: minict stats/,
  );
  expectRefused(host.minict('update', 'c1', '-m', '256m', '--io-read-bps', '/dev/none:1m'), /cannot limit \/dev\/none/);
  expectRefused(host.minict('update', 'c1', '-m', '1k'), /less than 6m/);
  expectRefused(host.minict('update', 'c1'), /cannot update: no limit is named/);
  expectRefused(host.minict('update', 'none', '-m', '1g'), /cannot find container none/);
  expect([recorded('c1').limits, readLimit(host, 'c1', MEMORY)]).toEqual(before);
  expect([readLimit(host, 'c1', PIDS), readLimit(host, 'c1', QUOTA) ?? 'max 100000']).toEqual(['20', 'max 100000']);
  expect(recorded('c1').status).toMatchObject({ state: 'running', missing: [] });
});

// Of v2 no group refuses what is more than the one above it has.
test.skipIf(!existsSync('/sys/fs/cgroup/cpu/tasks'))('what the kernel refuses half-way leaves nothing', async () => {
  expectCreated(host, 'c1', '--cpus', '0.5', '-m', '64m');
  expectCreated(host, 'other', '--pids-limit', '9');
  const top = `/sys/fs/cgroup/cpu/minict-${readFileSync(join(host.root, 'instance'), 'utf8').trim()}`;
  writeFileSync(join(top, 'cpu.cfs_quota_us'), '60000');
  try {
    await linksSettle(host);
    const before = host.snapshot();
    const refused = ['-m', '128m', '--pids-limit', '9', '--cpus', '0.7'];
    expectRefused(host.minict('create', 'c2', ...refused), /cannot create c2: limit of cpu: EINVAL/);
    expectRefused(
      host.minict('update', 'c1', ...refused),
      /kernel refuses cpu.cfs_quota_us 70000: EINVAL\nhint: nothing/,
    );
    expect(await host.settled(before)).toEqual(before);
    expect([MEMORY, QUOTA, PIDS].map((file) => readLimit(host, 'c1', file))).toEqual([
      `${64 << 20}`,
      '50000',
      undefined,
    ]);
    expect(recorded('c1')).toMatchObject({
      limits: { memoryBytes: 64 << 20, cpus: 0.5 },
      status: { state: 'ready' },
    });
  } finally {
    writeFileSync(join(top, 'cpu.cfs_quota_us'), '-1');
  }
  expect(host.minict('update', 'c1', '--cpus', '0.7')).toEqual(done('c1\n'));
  expect(host.minict('start', 'c1')).toEqual(done('c1\n'));
});

test('of one that is held still', () => {
  expect(host.minict('run', 'c1', '-d', '--', 'sleep', '1000').status).toBe(0);
  expect(host.minict('pause', 'c1').status).toBe(0);
  expect(host.minict('update', 'c1', '-m', '64m', '--cpuset-cpus', '0')).toEqual(done('c1\n'));
  expect(recorded('c1').status.state).toBe('paused');
  expect(host.minict('unpause', 'c1').status).toBe(0);
  expect(inside('c1', 'cat', '/proc/self/cgroup')).toMatch(IN_ITS_GROUP);
  expect(recorded('c1').status).toMatchObject({ state: 'running', missing: [] });
});

test('killed half-way, the next start gives it what is recorded; its script does the same, and the way back', () => {
  expect(
    host.minict('run', 'c1', '-d', '--no-network', '-m', '64m', '--pids-limit', '20', '--', 'sleep', '1000').status,
  ).toBe(0);
  const kernel = () => [MEMORY, PIDS].map((file) => readLimit(host, 'c1', file));
  const [before, after] = [
    [`${64 << 20}`, '20'],
    [`${128 << 20}`, 'max'],
  ];
  const words = ['update', 'c1', '-m', '128m', '--pids-limit', 'max', '--cpuset-cpus', '0'];
  const script = (option: string) => host.run(['sh'], {}, host.minict(...words, option).stdout);
  expect(script('--dry-run')).toEqual(done(''));
  expect(kernel()).toEqual(after);
  expect(readLimit(host, 'c1', CPUSET)).toBe('0');
  expect(script('--dry-run-undo')).toEqual(done(''));
  expect(kernel()).toEqual(before);
  let broken = 0;
  const settled = (k: string) => {
    if (recorded('c1').status.state === 'broken') broken += 1;
    expect(host.minict('start', 'c1'), k).toEqual(done('c1\n'));
    const { limits, status } = recorded('c1');
    expect(status, k).toMatchObject({ state: 'running', missing: [] });
    expect(kernel(), k).toEqual(limits.pids === undefined ? after : before);
    expect(host.minict('update', 'c1', '-m', '64m', '--pids-limit', '20', '--cpuset-cpus', 'max'), k).toEqual(
      done('c1\n'),
    );
  };
  for (let k = 3; killBefore(host, words, 'write', k); k += 3) settled(`write ${k}`);
  for (let k = 2; killBefore(host, words, 'rename', k); k += 1) settled(`rename ${k}`);
  expect(broken).toBeGreaterThanOrEqual(4);
});

test('of one that is stopped, from its next start on; of several, those that there are', () => {
  expectCreated(host, 'c1');
  host.minict('stop', 'c1');
  expect(host.minict('update', 'c1', 'none', '-m', '64m')).toMatchObject({ status: 125, stdout: 'c1\n' });
  expect(readLimit(host, 'c1', MEMORY)).toBeUndefined();
  const events = host.minict('events', '--no-stream', '--since', '1h', '--filter', 'container=c1').stdout;
  expect(events.trimEnd().split('\n').at(-1)).toMatch(/ update\b.* c1/);
  expect(host.minict('start', 'c1')).toEqual(done('c1\n'));
  expect(readLimit(host, 'c1', MEMORY)).toBe(`${64 << 20}`);
  expect(inside('c1', 'cat', '/proc/self/cgroup')).toMatch(IN_ITS_GROUP);
});
