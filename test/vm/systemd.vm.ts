/** A real systemd and nothing but cgroup v2: limits beside systemd's own groups, units, and what is to come back at a boot. */
import { readFileSync, statfsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { eventually } from '../helpers/host.ts';
import { groupFile, keepRows, minict, rows, run, unitIs } from './machine.ts';

const done = (name: string) => ({ status: 0, stdout: `${name}\n`, stderr: '' });
const sleep = ['--', 'sleep', '100000'];
const LIMITS = [
  '-m',
  '64m',
  '--pids-limit',
  '20',
  '--cpus',
  '0.5',
  '--cpuset-cpus',
  '1',
  '--io-read-bps',
  '/dev/vda:1mb',
];

test('systemd is PID 1, cgroup v2 is the only one, and / is shared', () => {
  expect(readFileSync('/proc/1/comm', 'utf8')).toBe('systemd\n');
  expect(statfsSync('/sys/fs/cgroup').type).toBe(0x63677270);
  expect(readFileSync('/proc/mounts', 'utf8')).not.toMatch(/ cgroup /);
  expect(run('findmnt', '-n', '-o', 'PROPAGATION', '/').stdout).toBe('shared\n');
  const checks = JSON.parse(minict('system', 'doctor', '--format', 'json').stdout);
  expect(checks.filter(({ state }: { state: string }) => state === 'fail')).toEqual([]);
  const [limits] = checks.filter(({ name }: { name: string }) => name === 'limits');
  expect(limits.detail).toMatch(/^memory \(v2\), cpu \(v2\), cpuset \(v2\), pids \(v2\), io \(v2\)/);
});

test('limits hold, and go on holding when systemd reads its units anew and has others come and go', () => {
  expect(minict('run', '-d', 'web', '--restart', 'always', ...LIMITS, ...sleep)).toEqual(done('web'));
  const files = ['memory.max', 'pids.max', 'cpu.max', 'cpuset.cpus', 'io.max'];
  const limits = () => files.map((file) => groupFile('web', file));
  const set = [`${64 << 20}`, '20', '50000 100000', '1', expect.stringMatching(/^\d+:\d+ rbps=1048576 /)];
  expect(limits()).toEqual(set);
  expect(run('systemctl', 'daemon-reload').status).toBe(0);
  const beside = ['-p', 'MemoryMax=1G', '-p', 'CPUWeight=200', '-p', 'IOWeight=50', '-p', 'AllowedCPUs=0'];
  expect(run('systemd-run', '--quiet', '--wait', ...beside, 'true')).toMatchObject({ status: 0, stderr: '' });
  expect(run('systemctl', 'daemon-reexec').status).toBe(0);
  expect(limits()).toEqual(set);

  const hog = ['dd', 'if=/dev/zero', 'of=/dev/null', 'bs=96M', 'count=1'];
  expect(minict('exec', 'web', ...hog).status).toBe(137);
  expect(groupFile('web', 'memory.events')).toMatch(/^oom_kill 1$/m);
  expect(JSON.parse(minict('inspect', 'web').stdout)[0].status).toMatchObject({ state: 'running', oomKills: 1 });

  const many = 'for i in $(seq 40); do sleep 5 & done; wait';
  expect(minict('exec', 'web', 'sh', '-c', many).stderr).toMatch(/can't fork/);
  expect(Number(/^max (\d+)$/m.exec(groupFile('web', 'pids.events'))?.[1])).toBeGreaterThan(0);

  expect(minict('exec', 'web', 'sh', '-c', 'i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done').status).toBe(0);
  expect(Number(/^nr_throttled (\d+)$/m.exec(groupFile('web', 'cpu.stat'))?.[1])).toBeGreaterThan(0);
  expect(minict('exec', 'web', 'grep', 'Cpus_allowed_list', '/proc/self/status').stdout).toBe(
    'Cpus_allowed_list:\t1\n',
  );

  // 6 MiB at 1 MiB a second, past the page cache.
  const begin = performance.now();
  const copy = ['dd', 'if=/dev/vda', 'of=/dev/null', 'bs=64k', 'count=96', 'iflag=direct'];
  expect(minict('exec', 'web', ...copy)).toMatchObject({ status: 0 });
  expect(performance.now() - begin).toBeGreaterThan(4000);
});

test('what a unit of systemd starts outlasts that unit', () => {
  const words = ['--quiet', '--wait', '--pipe', 'minict', 'run', '-d', 'plain', ...sleep];
  expect(run('systemd-run', ...words)).toEqual(done('plain'));
  expect(rows().plain?.state).toBe('running');
  const supervisor = groupFile('plain', '../supervisor@plain/cgroup.procs');
  expect(supervisor).toMatch(/^\d+/);
  expect(run('systemctl', 'daemon-reload').status).toBe(0);
  expect(groupFile('plain', '../supervisor@plain/cgroup.procs')).toBe(supervisor);
});

test('held still, and what ends meanwhile is killed by one write', () => {
  expect(minict('pause', 'plain')).toEqual(done('plain'));
  expect(groupFile('plain', 'payload/cgroup.events')).toMatch(/^frozen 1$/m);
  expect(rows().plain?.state).toBe('paused');
  expect(minict('unpause', 'plain')).toEqual(done('plain'));
  expect(groupFile('plain', 'payload/cgroup.events')).toMatch(/^frozen 0$/m);
  expect(minict('pause', 'plain')).toEqual(done('plain'));
  expect(minict('rm', '-f', 'plain')).toEqual(done('plain'));
  expect(minict('run', '-d', 'plain', ...sleep)).toEqual(done('plain'));
});

test('units: systemd starts and stops containers, and has them enabled', async () => {
  expect(minict('run', '-d', 'shy', '--restart', 'unless-stopped', ...sleep)).toEqual(done('shy'));
  expect(minict('system', 'install-units')).toEqual({
    status: 0,
    stdout: 'minict@shy.service\nminict@web.service\n',
    stderr: '',
  });
  expect(run('systemctl', 'is-enabled', 'minict@web.service').stdout).toBe('enabled\n');
  for (const state of ['running', 'stopped', 'running']) {
    const verb = state === 'running' ? 'start' : 'stop';
    expect(run('systemctl', verb, 'minict@web.service')).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(rows().web?.state).toBe(state);
    expect(unitIs('minict@web.service', 'ActiveState')).toBe(state === 'running' ? 'active' : 'inactive');
  }
  // Nothing of the container is in the unit's group, which would end it with that.
  expect(unitIs('minict@web.service', 'TasksCurrent')).toMatch(/^(\[not set\]|0)$/);
  // The policy is the supervisor's, whoever started it.
  expect(minict('kill', 'web')).toEqual(done('web'));
  expect(await eventually(() => JSON.parse(minict('inspect', 'web').stdout)[0].status.restarts === 1)).toBe(true);
  expect(unitIs('minict@web.service', 'ActiveState')).toBe('active');
  expect(run('systemctl', 'start', 'minict@nobody.service').status).toBe(0);
  expect(unitIs('minict@nobody.service', 'ConditionResult')).toBe('no');
});

test('left for the reboot: one that runs, one that was stopped by hand, one without a policy', () => {
  expect(minict('exec', 'web', 'sh', '-c', 'echo kept >/root/file').status).toBe(0);
  expect(minict('stop', 'shy')).toEqual(done('shy'));
  const states = Object.values(rows()).map(({ name, state }) => `${name} ${state}`);
  expect(states.sort()).toEqual(['plain running', 'shy stopped', 'web running']);
  keepRows();
});
