/** --restart: a main command that ended is started again, until somebody wants it to end. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { eventually, Host } from '../helpers/host.ts';
import { inspect, isAlive, programsOf, supervisorsOf } from '../helpers/processes.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
});
afterAll(() => host.destroy());
afterEach(() => {
  host.minict('rm', '-f', 'p1');
});

const done = { status: 0, stdout: 'p1\n', stderr: '' };
const run = (policy: string, script: string, ...options: string[]) =>
  host.minict('run', '-d', '--no-network', '--restart', policy, ...options, 'p1', '--', 'sh', '-c', script);
const logs = () => host.minict('logs', 'p1').stdout;
const status = () => inspect(host, 'p1').status as { state: string; exitCode?: number; restarts?: number };
const actions = () =>
  host
    .minict('events', '--no-stream', '--filter', 'container=p1', '--format', 'json')
    .stdout.split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line).action);

test.each([
  ['on-failure:2', 'echo up; exit 3', 'up\nup\nup\n', 3, 2],
  ['on-failure', 'echo up; [ -e /second ] || { : >/second; exit 4; }', 'up\nup\n', 0, 1],
  ['on-failure', 'echo up', 'up\n', 0, undefined],
  ['no', 'echo up; exit 3', 'up\n', 3, undefined],
])('%s: %j', (policy, script, said, exitCode, restarts) => {
  expect(run(policy, script)).toEqual(done);
  expect(host.minict('wait', 'p1').stdout).toBe(`${exitCode}\n`);
  expect(logs()).toBe(said);
  expect(status()).toMatchObject({ state: 'ready', exitCode });
  expect(status().restarts).toBe(restarts);
  const times = Array.from({ length: restarts ?? 0 }, () => ['restart', 'die']).flat();
  expect(actions().slice(-2 - times.length)).toEqual(['start', 'die', ...times]);
});

test.each(['always', 'unless-stopped'])('%s: killed or ended, until a stop; and again with a start', async (policy) => {
  expect(run(policy, 'echo up; exec sleep 300')).toEqual(done);
  expect(await eventually(() => logs() === 'up\n')).toBe(true);
  expect(host.minict('kill', 'p1')).toEqual(done);
  expect(await eventually(() => logs() === 'up\nup\n' && programsOf(host, 'p1').length === 1)).toBe(true);
  expect(status()).toMatchObject({ state: 'running', restarts: 1 });
  const pids = [...programsOf(host, 'p1'), ...supervisorsOf(host, 'p1')];
  expect(host.minict('stop', 'p1')).toEqual(done);
  expect(status()).toMatchObject({ state: 'stopped', exitCode: 143, restarts: 1 });
  expect(pids.some(isAlive)).toBe(false);
  expect(logs()).toBe('up\nup\n');
  expect(host.minict('start', 'p1')).toEqual(done);
  expect(await eventually(() => logs() === 'up\nup\nup\n')).toBe(true);
  expect(host.minict('kill', 'p1')).toEqual(done);
  expect(await eventually(() => logs() === 'up\nup\nup\nup\n')).toBe(true);
  expect(status()).toMatchObject({ restarts: 1 });
});

/** One that waits for as long as the tests take. */
async function waiting(): Promise<number[]> {
  expect(run('always', 'echo up; exit 1')).toEqual(done);
  // 0.1 s, 0.2 s, …: it waits for seconds by then.
  expect(await eventually(() => (status().restarts ?? 0) >= 4 && status().state === 'restarting')).toBe(true);
  return supervisorsOf(host, 'p1');
}

test.each([
  ['stop', ['stop', 'p1']],
  ['rm -f', ['rm', '-f', 'p1']],
])('%s of one that waits for its next start ends it', async (_title, words) => {
  const pids = await waiting();
  expect(host.minict('ps').stdout).toMatch(/^p1 +restarting, exited \(1\) \d+ seconds? ago/m);
  expect(host.minict(...words)).toEqual(done);
  expect(pids.some(isAlive)).toBe(false);
  if (words[0] === 'stop') expect(status()).toMatchObject({ state: 'stopped', exitCode: 1 });
});

test('a stop that its supervisor cannot answer: the last end is for good; the record does not grow', async () => {
  const [supervisor = 0] = await waiting();
  const lines = () =>
    readFileSync(join(inspect(host, 'p1').folder, 'exit'), 'utf8')
      .split('\n')
      .map((line) => line.trim());
  expect(lines()).toEqual([expect.stringMatching(/^started \d+$/), expect.stringMatching(/^failed 1 \d+ [4-9]$/), '']);
  process.kill(supervisor, 'SIGSTOP');
  expect(host.minict('stop', 'p1')).toEqual(done);
  expect(host.minict('wait', 'p1')).toEqual({ status: 0, stdout: '1\n', stderr: '' });
  expect(lines()).toHaveLength(4);
});

test('what cannot be run is told, and not started again', () => {
  const refused = host.minict('run', '-d', '--no-network', '--restart', 'always', 'p1', '--', 'nope');
  expect(refused).toMatchObject({ status: 127, stdout: '' });
  expect(status()).toMatchObject({ state: 'ready', exitCode: 127 });
});

test('rm -f while it ends and begins leaves nothing', async () => {
  for (let round = 0; round < 5; round += 1) {
    expect(run('always', 'exit 1')).toEqual(done);
    const { cgroup } = inspect(host, 'p1');
    expect(host.minict('rm', '-f', 'p1')).toEqual(done);
    expect(host.snapshot().cgroups.filter((line) => line.startsWith(cgroup))).toEqual([]);
  }
});

test('it comes along with clone and save-container, and a script has it', () => {
  host.minict('create', 'p1', '--no-network', '--restart', 'on-failure:7', '--', 'true');
  const restart = { policy: 'on-failure', max: 7 };
  expect(inspect(host, 'p1')).toMatchObject({ restart });
  const tar = join(host.dir, 'p1.tar');
  expect(host.minict('save-container', 'p1', '-o', tar).status).toBe(0);
  expect(host.minict('load-container', '-i', tar, '--name', 'p2').status).toBe(0);
  expect(inspect(host, 'p2')).toMatchObject({ restart });
  host.minict('rm', 'p2');
  host.minict('stop', 'p1');
  expect(host.minict('start', 'p1', '--dry-run').stdout).toContain('on-failure 7 ');
  expect(readFileSync(tar).includes('"policy": "on-failure"')).toBe(true);
});

test.each([
  [
    ['create', 'p1', '--restart', 'sometimes', '--', 'true'],
    /cannot use --restart "sometimes": not a restart policy\n/,
  ],
  [['create', 'p1', '--restart', 'on-failure:0', '--', 'true'], /cannot use --restart "on-failure:0"/],
  [['create', 'p1', '--restart', 'always:3', '--', 'true'], /cannot use --restart "always:3"/],
  [['create', 'p1', '--restart', 'always'], /^minict: cannot use --restart without a main command\n/],
  [['run', 'p1', '--restart', 'always', '--', 'true'], /^minict: cannot use --restart without -d: /],
])('%j is refused', (words, message) => {
  expectRefused(host.minict(...words), message);
});

test('printed scripts: a stop ends it for good, a start begins it again, with its time', async () => {
  const script = (verb: string) => {
    const { stdout } = host.minict(verb, '--dry-run', 'p1');
    // What a start finds gone it says, and goes on.
    expect(host.run(['sh'], {}, stdout), verb).toMatchObject({ status: 0, stdout: '' });
  };
  expect(run('always', 'echo up; exec sleep 300')).toEqual(done);
  expect(await eventually(() => logs() === 'up\n')).toBe(true);
  const pids = [...programsOf(host, 'p1'), ...supervisorsOf(host, 'p1')];
  script('stop');
  expect(pids.some(isAlive)).toBe(false);
  // Its cgroups are gone: nothing was started again in them.
  expect(host.snapshot().cgroups.join('\n')).not.toContain('/p1');
  expect(logs()).toBe('up\n');
  script('start');
  expect(await eventually(() => logs() === 'up\nup\n')).toBe(true);
  expect(typeof (inspect(host, 'p1').status as { startedAt?: string }).startedAt).toBe('string');
  expect(host.minict('kill', 'p1')).toEqual(done);
  expect(await eventually(() => logs() === 'up\nup\nup\n')).toBe(true);
});
