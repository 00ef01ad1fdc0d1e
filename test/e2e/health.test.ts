/** --health-cmd: asked again and again beside the main command, and nothing is left of that. */
import { appendFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { inspect, isAlive, memoryOf, programsOf, supervisorsOf } from '../helpers/processes.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
});
afterAll(() => host.destroy());
afterEach(() => {
  host.minict('rm', '-f', 'h1');
});

const done = { status: 0, stdout: 'h1\n', stderr: '' };
const QUICK = ['--health-interval', '100ms', '--health-timeout', '2s', '--health-retries', '2'];
const run = (check: string, ...options: string[]) =>
  host.minict(
    'run',
    '-d',
    '--no-network',
    ...QUICK,
    '--health-cmd',
    check,
    ...options,
    'h1',
    '--',
    'sh',
    '-c',
    'echo up; exec sleep 300',
  );
const health = () =>
  (inspect(host, 'h1').status as unknown as { health?: { status: string; failures: number } }).health;
const becomes = (status: string) => eventually(() => health()?.status === status);
const cmdlineOf = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, 'utf8');
const commOf = (pid: number) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
const told = () =>
  host
    .minict('events', '--no-stream', '--filter', 'event=health_status', '--format', 'json')
    .stdout.split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line).health);

test('starting, healthy, unhealthy after so many failures, and healthy again', async () => {
  expect(run('[ -e /well ]', '--health-interval', '1d')).toEqual(done);
  expect(health()).toMatchObject({ status: 'starting', failures: 0 });
  expect(host.minict('ps').stdout).toMatch(/^h1 +running \d+ seconds? \(starting\)/m);
  host.minict('rm', '-f', 'h1');
  expect(run('[ -e /well ]')).toEqual(done);
  expect(await becomes('unhealthy')).toBe(true);
  expect(health()?.failures).toBeGreaterThanOrEqual(2);
  host.minict('exec', 'h1', 'touch', '/well');
  expect(await becomes('healthy')).toBe(true);
  expect(health()?.failures).toBe(0);
  expect(host.minict('ps', '--filter', 'health=healthy', '-q').stdout).toBe('h1\n');
  expect(told()).toEqual(['unhealthy', 'healthy']);
  // What is main is not mistaken for a check, nor the other way round; and what goes on without it has no health.
  host.minict('exec', '-d', 'h1', 'sleep', '303');
  expect(host.minict('kill', 'h1')).toEqual(done);
  expect(host.minict('wait', 'h1').stdout).toBe('137\n');
  expect(host.minict('ps').stdout).toMatch(/^h1 +running, exited \(137\) \d+ seconds? ago +base$/m);
  expect(health()).toBeUndefined();
});

test('it runs inside, as the user and with the environment of the main command; its output is nowhere', async () => {
  const check = 'echo said; [ "$(id -u) $A" = "7 b" ] && [ "$(hostname)" = h1 ] && [ ! -e /proc/self/fd/5 ]';
  expect(run(check, '-u', '7:7', '-e', 'A=b')).toEqual(done);
  expect(await becomes('healthy')).toBe(true);
  expect(host.minict('logs', 'h1').stdout).toBe('up\n');
});

test('a check that hangs fails, and is ended with what it started', async () => {
  expect(run('sleep 301 & sleep 302; :', '--health-timeout', '200ms')).toEqual(done);
  expect(await becomes('unhealthy')).toBe(true);
  expect(await eventually(() => programsOf(host, 'h1').length <= 4)).toBe(true);
  expect(host.minict('stop', '-t', '2', 'h1')).toEqual(done);
});

test('nobody checks a paused one; all are small, and end with the program', async () => {
  expect(run('true')).toEqual(done);
  expect(await becomes('healthy')).toBe(true);
  expect(host.minict('pause', 'h1')).toEqual(done);
  const record = () => readFileSync(join(inspect(host, 'h1').folder, 'health'), 'utf8');
  const before = record();
  await Bun.sleep(400);
  expect(record().split(' ').slice(0, 2)).toEqual(['healthy', '0']);
  expect(inspect(host, 'h1').status.state).toBe('paused');
  expect(host.minict('unpause', 'h1')).toEqual(done);
  expect(await eventually(() => record() !== before)).toBe(true);
  expect(health()?.status).toBe('healthy');
  const pids = supervisorsOf(host, 'h1');
  expect(pids.length).toBeGreaterThan(2);
  expect(host.minict('stop', 'h1')).toEqual(done);
  expect(pids.some(isAlive)).toBe(false);
});

test('a check that was held by a pause does not count', async () => {
  const before = told().length;
  const slowOnce = '[ -e /asked ] || { touch /asked; exec sleep 60; }';
  expect(run(slowOnce, '--health-timeout', '6s', '--health-retries', '1')).toEqual(done);
  const asked = () => host.minict('exec', 'h1', 'test', '-e', '/asked').status === 0;
  expect(await eventually(asked)).toBe(true);
  expect(host.minict('pause', 'h1')).toEqual(done);
  const isHeld = () => programsOf(host, 'h1').filter((pid) => commOf(pid) === 'sleep').length === 2;
  expect(isHeld()).toBe(true);
  // Past its time it was told to end, which it does once it is let go.
  await Bun.sleep(6500);
  expect(isHeld()).toBe(true);
  expect(host.minict('unpause', 'h1')).toEqual(done);
  expect(await becomes('healthy')).toBe(true);
  expect(isHeld()).toBe(false);
  expect(told().slice(before)).toEqual(['healthy']);
  expect(health()).toMatchObject({ failures: 0 });
});

test('a killed supervisor is noticed at once; a printed start has a health record', async () => {
  expect(run('true', '--health-interval', '1d')).toEqual(done);
  const supervisor = Math.min(...supervisorsOf(host, 'h1'));
  expect(await eventually(() => supervisorsOf(host, 'h1').some((pid) => commOf(pid) === 'minict-health'))).toBe(true);
  process.kill(supervisor, 'SIGKILL');
  expect(await eventually(() => !isAlive(supervisor))).toBe(true);
  expect(inspect(host, 'h1').status.state).toBe('broken');
  host.minict('rm', '-f', 'h1');
  host.minict('create', 'h1', '--no-network', '--health-cmd', 'true', '--', 'sleep', '300');
  const script = host.minict('start', 'h1', '--dry-run').stdout;
  expect(host.run(['sh'], {}, script)).toMatchObject({ status: 0 });
  expect(health()).toMatchObject({ status: 'starting', failures: 0 });
});

test('a check that comes and goes does not fill the disk with events, nor is one of them lost to a reader', async () => {
  const path = join(host.root, 'events');
  const filler = JSON.stringify({ time: 1, type: 'container', action: 'create', name: 'x'.repeat(60) });
  const words = ['--since', String(Date.now() / 1000), '--format', 'json'];
  const filters = ['event=health_status', 'event=rm'].flatMap((filter) => ['--filter', filter]);
  const stream = host.spawn([MINICT, 'events', ...words, ...filters]);
  writeFileSync(path, `${filler}\n`.repeat(11000));
  expect(run('[ ! -e /well ] || ! rm /well && touch /well', '--health-retries', '1')).toEqual(done);
  // What the verb wrote has begun a new file; that one is full again.
  appendFileSync(path, `${filler}\n`.repeat(11000));
  expect(
    await eventually(() => (statSync(path, { throwIfNoEntry: false })?.size ?? Number.POSITIVE_INFINITY) < 1024 ** 2),
  ).toBe(true);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(host.minict('rm', '-f', 'h1')).toEqual(done);
  let seen = '';
  for await (const bytes of stream.stdout) {
    seen += new TextDecoder().decode(bytes);
    if (seen.includes('"rm"')) break;
  }
  stream.kill();
  const lines = seen.trimEnd().split('\n').slice(0, -1);
  const statuses = lines.map((line) => JSON.parse(line).health);
  expect(statuses.length).toBeGreaterThanOrEqual(32);
  expect(statuses).toEqual(statuses.map((_, index) => (index % 2 === 0 ? 'healthy' : 'unhealthy')));
});

test('the memory of all that looks after a program with a health check', async () => {
  expect(run('true', '--health-interval', '1d')).toEqual(done);
  expect(await eventually(() => host.minict('logs', 'h1').stdout === 'up\n')).toBe(true);
  const { largest, unshared } = memoryOf(supervisorsOf(host, 'h1'));
  expect(largest).toBeGreaterThan(0);
  expect(largest).toBeLessThanOrEqual(1024);
  // A subshell and its sleep more than without.
  expect(unshared).toBeLessThanOrEqual(768);
});

test('with a restart policy, a PID namespace, and a killed supervisor', async () => {
  expect(run('true', '--restart', 'always', '--pid', 'private')).toEqual(done);
  expect(await eventually(() => host.minict('logs', 'h1').stdout === 'up\n')).toBe(true);
  expect(host.minict('kill', 'h1')).toEqual(done);
  expect(await eventually(() => host.minict('logs', 'h1').stdout === 'up\nup\n')).toBe(true);
  expect(await becomes('healthy')).toBe(true);
  // A check that is through may be among them no more.
  const supervisor = Math.min(...supervisorsOf(host, 'h1'));
  expect(commOf(supervisor)).toBe('sh');
  process.kill(supervisor, 'SIGKILL');
  expect(await eventually(() => inspect(host, 'h1').status.state === 'broken')).toBe(true);
  expect(host.minict('restart', '-t', '1', 'h1')).toEqual(done);
  expect(await becomes('healthy')).toBe(true);
});

test('it comes along with save-container', () => {
  expect(run('true')).toEqual(done);
  const tar = join(host.dir, 'h1.tar');
  expect(host.minict('save-container', 'h1', '-o', tar).status).toBe(0);
  expect(host.minict('load-container', '-i', tar, '--name', 'h2').status).toBe(0);
  const wanted = { command: 'true', intervalMs: 100, timeoutMs: 2000, retries: 2 };
  expect(inspect(host, 'h2')).toMatchObject({ health: wanted });
  host.minict('rm', 'h2');
});

const CHECK = ['--health-cmd', 'true'];
test.each([
  [[...CHECK, '--health-interval', '10ms'], /--health-interval "10ms": not a time from 100ms to 1d\n/],
  [[...CHECK, '--health-timeout', '-1s'], /--health-timeout "-1s"/],
  [[...CHECK, '--health-timeout', '30'], /--health-timeout "30"/],
  [[...CHECK, '--health-retries', '0'], /--health-retries "0": not a number from 1 to 1000\n$/],
  [['--health-cmd', ' '], /cannot use --health-cmd '': no command\n$/],
  [['--health-retries', '2'], /cannot check its health: no --health-cmd\nhint: --health-cmd 'CMD'\n$/],
])('create %j is refused', (options, message) => {
  expectRefused(host.minict('create', 'h1', '--no-network', ...options, '--', 'true'), message);
});

test('it needs a main command', () => {
  expectRefused(
    host.minict('create', 'h1', '--no-network', ...CHECK),
    /^minict: cannot use --health-cmd without a main command\n/,
  );
});

test('what the environment calls as the checker does its own is not signalled', async () => {
  const victim = host.spawn(['sleep', '100']);
  const words = Array.from({ length: 3000 }, (_, i) => String(i));
  const { status } = host.minict(
    ...['run', '--rm', '--no-network', '-e', `minict_waiting=${victim.pid}`, '--health-cmd', 'true', 'h9'],
    ...['--', '/bin/true', ...words],
  );
  expect(status).toBe(0);
  expect(victim.exitCode).toBeNull();
  victim.kill('SIGKILL');
  await victim.exited;
});

test.each([
  ['crun', ['--profile', 'hardened']],
  ['runc', ['--userns', 'auto']],
])('with %s: the user and environment of the main command, a check that hangs, restarts', async (runtime, options) => {
  const check = '[ "$(id -u) $A $(hostname)" = "7 b h1" ] && [ ! -e /dev/shm/bad ] || { sleep 301 & sleep 302; }';
  const words = ['--runtime', runtime, ...options, '-u', '7:7', '-e', 'A=b', '--restart', 'always'];
  expect(run(check, ...words, '--health-timeout', '500ms')).toEqual(done);
  expect(await becomes('healthy')).toBe(true);
  expect(host.minict('exec', 'h1', 'touch', '/dev/shm/bad').status).toBe(0);
  expect(await becomes('unhealthy')).toBe(true);
  expect(host.minict('exec', 'h1', 'rm', '/dev/shm/bad').status).toBe(0);
  expect(await becomes('healthy')).toBe(true);
  const commands = () => programsOf(host, 'h1').filter(isAlive).map(cmdlineOf);
  expect(await eventually(() => !commands().some((line) => /^sleep\0(301|302)\0/.test(line)))).toBe(true);
  expect(host.minict('kill', 'h1')).toEqual(done);
  expect(await eventually(() => inspect(host, 'h1').status.state === 'running')).toBe(true);
  expect(host.minict('logs', 'h1').stdout).toMatch(/^up\n(up\n)?$/);
  expect(host.minict('stop', '-t', '2', 'h1')).toEqual(done);
});
