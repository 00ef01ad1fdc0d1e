/** `attach`: the output of a main command that runs, its signals, and its end. */
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { heldAfter } from '../helpers/faults.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { descriptorsOf, inspect, programsOf } from '../helpers/processes.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
});
afterAll(() => host.destroy());
afterEach(() => {
  host.minict('rm', '-f', 'l1');
});

const done = { status: 0, stdout: 'l1\n', stderr: '' };
const run = (script: string, ...options: string[]) =>
  host.minict('run', '-d', '--no-network', ...options, 'l1', '--', 'sh', '-c', script);
const logged = () => host.minict('logs', 'l1').stdout;

/** Of an attach that is under way. */
async function attached(...words: string[]) {
  const child = host.spawn([MINICT, 'attach', ...words, 'l1']);
  const log = join(inspect(host, 'l1').folder, 'log');
  expect(await eventually(() => descriptorsOf(child.pid).includes(log))).toBe(true);
  return child;
}

const ends =
  'echo before; trap "echo caught; exit 7" TERM HUP INT QUIT; while [ ! -e /go ]; do sleep 0.02; done; echo after; exit 5';

test('what comes from now on, and the exit status', async () => {
  expect(run(ends)).toEqual(done);
  expect(await eventually(() => logged() === 'before\n')).toBe(true);
  const child = await attached();
  host.minict('exec', 'l1', 'touch', '/go');
  expect(await new Response(child.stdout).text()).toBe('after\n');
  expect(await child.exited).toBe(5);
  expectRefused(
    host.minict('attach', 'l1'),
    /^minict: cannot attach to l1: its main command does not run\nhint: minict start -a l1\n$/,
  );
});

test.each(['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT'] as const)('%s to attach is for the program', async (signal) => {
  expect(run(ends)).toEqual(done);
  expect(await eventually(() => logged() === 'before\n')).toBe(true);
  const child = await attached();
  child.kill(signal);
  expect(await new Response(child.stdout).text()).toBe('caught\n');
  expect(await child.exited).toBe(7);
});

test('--sig-proxy=false ends by itself, and the program goes on', async () => {
  expect(run(ends)).toEqual(done);
  const child = await attached('--sig-proxy=false');
  child.kill('SIGTERM');
  await child.exited;
  expect(child.signalCode).toBe('SIGTERM');
  expect(programsOf(host, 'l1').length).toBeGreaterThan(0);
});

test('attach that cannot write says so, and is gone', () => {
  expect(run('while :; do echo more; sleep 0.05; done')).toEqual(done);
  const { status, stderr } = host.run(['sh', '-c', 'exec "$0" attach l1 >/dev/full', MINICT]);
  expect([status, stderr]).toEqual([
    125,
    'minict: cannot write: ENOSPC: no space left on device\nhint: a disk is full: df -h\n',
  ]);
  expect(inspect(host, 'l1').status.state).toBe('running');
});

test.each([[['attach']], [['start', '-a']]])(
  '%j ends where nobody reads it any more, and the program goes on',
  (verb) => {
    expect(run('while :; do echo more; sleep 0.05; done', '--restart', 'always')).toEqual(done);
    const piped = ['bash', '-c', '"$@" l1 | head -n 1; echo "$PIPESTATUS"', 'bash', MINICT, ...verb];
    expect(host.run(piped)).toEqual({ status: 0, stdout: 'more\n0\n', stderr: '' });
    expect(inspect(host, 'l1').status.state).toBe('running');
  },
);

test('attach, wait and logs -f while it is being started: they stay with what comes', async () => {
  expect(run(ends)).toEqual(done);
  host.minict('kill', 'l1');
  expect(host.minict('wait', 'l1').stdout).toBe('137\n');
  // Its last end is forgotten, and there is no supervisor yet.
  const exit = join(inspect(host, 'l1').folder, 'exit');
  const goOn = await heldAfter(host, ['start', 'l1'], 'write', exit);
  const stays = [['wait'], ['attach'], ['logs', '-f', '-n', '1']].map((verb) => host.spawn([MINICT, ...verb, 'l1']));
  const files = [exit, exit, join(inspect(host, 'l1').folder, 'log')];
  const hasLooked = () => stays.every(({ pid }, index) => descriptorsOf(pid).includes(files[index] as string));
  expect(await eventually(hasLooked)).toBe(true);
  expect(await goOn()).toEqual({ status: 0, stdout: 'l1\n', stderr: '' });
  host.minict('exec', 'l1', 'touch', '/go');
  const said = await Promise.all(
    stays.map(async (child) => [await new Response(child.stdout).text(), await child.exited]),
  );
  expect(said).toEqual([
    ['5\n', 0],
    [expect.stringMatching(/after\n$/), 5],
    [expect.stringMatching(/after\n$/), 0],
  ]);
});

test.each([
  [['attach', 'nobody'], /^minict: cannot find container nobody: no such container\n/],
  [['attach', '--sig-proxy=maybe', 'l1'], /^minict: cannot attach: .*'maybe'/],
])('%j is refused', (words, message) => {
  expectRefused(host.minict(...words), message);
});

test('one with services and no main command is refused', () => {
  host.minict('create', 'l1', '--no-network', '--service', 'sleep 300 &');
  host.minict('start', 'l1');
  expectRefused(
    host.minict('attach', 'l1'),
    /^minict: cannot attach to l1: it has no main command\nhint: minict logs -f l1; minict exec -it l1 sh\n$/,
  );
});
