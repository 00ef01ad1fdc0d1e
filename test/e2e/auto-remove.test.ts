/** run -d --rm: the container goes with its main command, however that ends, and nobody else's does. */
import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefused } from '../helpers/expect.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { descriptorsOf, inspect, isAlive, programsOf, supervisorsOf } from '../helpers/processes.ts';
import type { Snapshot } from '../helpers/snapshot.ts';

let host: Host;
let clean: Snapshot;
beforeAll(async () => {
  host = await Host.create();
  expectCreated(host, 'keep');
  clean = host.snapshot();
});
afterAll(() => host.destroy());

const done = { status: 0, stdout: 'a1\n', stderr: '' };
const run = (...words: string[]) => host.minict('run', '-d', '--rm', 'a1', ...words);
const sh = (script: string) => ['--', 'sh', '-c', script];
const isThere = () => host.minict('ps', '-aq').stdout.includes('a1');
const isGone = () => eventually(() => !isThere());
const GO = 'until [ -e /go ]; do sleep 0.02; done';

test('it ends: its status and output come, and nothing stays', async () => {
  const hostile = ['-e', 'LD_PRELOAD=/nope', '-e', 'MINICT_ROOT=/nope'];
  const from = new Date().toISOString();
  expect(run(...hostile, ...sh(`${GO}; echo said; exit 5`))).toEqual(done);
  const followed = host.spawn([MINICT, 'logs', '-f', 'a1']);
  const waiter = host.spawn([MINICT, 'wait', 'a1']);
  const { folder } = inspect(host, 'a1');
  const hasOpen = (pid: number, file: string) => descriptorsOf(pid).includes(join(folder, file));
  expect(await eventually(() => hasOpen(waiter.pid, 'exit') && hasOpen(followed.pid, 'log'))).toBe(true);
  host.minict('exec', 'a1', 'touch', '/go');
  expect(await new Response(waiter.stdout).text()).toBe('5\n');
  expect(await new Response(followed.stdout).text()).toBe('said\n');
  expect(await isGone()).toBe(true);
  expect(await host.settled(clean)).toEqual(clean);
  const events = host.minict('events', '--since', from, '--no-stream', '--filter', 'container=a1').stdout;
  expect(events.match(/ (die|rm) /g)).toEqual([' die ', ' rm ']);
});

test('what it left ends; kill, stop, rm -f: it is gone, and so it is where it cannot be run', async () => {
  expect(run(...sh(`sleep 300 & ${GO}`))).toEqual(done);
  const programs = programsOf(host, 'a1');
  expect(programs.length).toBeGreaterThan(1);
  host.minict('exec', 'a1', 'touch', '/go');
  expect(await isGone()).toBe(true);
  expect(programs.some(isAlive)).toBe(false);
  expect(run('--', 'sleep', '300')).toEqual(done);
  host.minict('kill', 'a1');
  expect(await isGone()).toBe(true);
  for (const words of [
    ['stop', '-t', '0'],
    ['rm', '-f'],
  ]) {
    expect(run('--', 'sleep', '300')).toEqual(done);
    expect(host.minict(...words, 'a1')).toEqual(done);
    expect(isThere()).toBe(false);
  }
  expect(run('--', '/nope')).toEqual({
    status: 127,
    stdout: '',
    stderr: 'minict: cannot run /nope in a1: no such program\n',
  });
  expect(isThere()).toBe(false);
  expect(run('--service', 'exit 3', '--', 'sleep', '300')).toMatchObject({ status: 125 });
  expect(isThere()).toBe(false);
  expect(await host.settled(clean)).toEqual(clean);
});

test('a restart and a rollback keep it; a later end removes it', async () => {
  expect(run(...sh(`rm -f /go; ${GO}`))).toEqual(done);
  host.minict('snapshot', 'create', 'a1', 's');
  expect(host.minict('restart', '-t', '0', 'a1')).toEqual(done);
  expect(host.minict('snapshot', 'rollback', '-t', '0', 'a1', 's')).toMatchObject({ status: 0, stderr: '' });
  expect(inspect(host, 'a1').status.state).toBe('running');
  expect(await eventually(() => supervisorsOf(host, 'a1').length > 0)).toBe(true);
  expect(host.minict('clone', 'a1', 'copy').status).toBe(0);
  expect(inspect(host, 'copy')).not.toHaveProperty('autoRemove');
  host.minict('exec', 'a1', 'touch', '/go');
  expect(await isGone()).toBe(true);
  host.minict('rm', '-f', 'copy');
  expect(await host.settled(clean)).toEqual(clean);
});

test('only what was made then, and has ended, is removed', () => {
  expect(run('--', 'sleep', '300')).toEqual(done);
  const { createdAt } = inspect(host, 'a1') as unknown as { createdAt: string };
  for (const time of [createdAt, '2000-01-01T00:00:00.000Z']) {
    expect(host.minict('rm', '--once-ended', time, 'a1')).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(inspect(host, 'a1').status.state).toBe('running');
  }
  const kept = inspect(host, 'keep') as unknown as { createdAt: string };
  expect(host.minict('rm', '--once-ended', kept.createdAt, 'keep').stdout).toBe('');
  expect(inspect(host, 'keep').status.state).toBe('ready');
  host.minict('rm', '-f', 'a1');
});

test('without minict, or its supervisor, it stays until a stop or an rm', async () => {
  const minict = join(host.dir, 'minict');
  copyFileSync(MINICT, minict);
  expect(host.run([minict, 'run', '-d', '--rm', 'a1', ...sh(`${GO}; exit 6`)])).toEqual(done);
  rmSync(minict);
  host.minict('exec', 'a1', 'touch', '/go');
  expect(host.minict('wait', 'a1').stdout).toBe('6\n');
  expect(await eventually(() => supervisorsOf(host, 'a1').length === 0)).toBe(true);
  expect(inspect(host, 'a1').status).toMatchObject({ state: 'ready', exitCode: 6 });
  expect(host.minict('rm', 'a1')).toEqual(done);
  expect(run('--', 'sleep', '300')).toEqual(done);
  const [supervisor] = supervisorsOf(host, 'a1');
  process.kill(supervisor as number, 'SIGKILL');
  expect(await eventually(() => inspect(host, 'a1').status.state === 'broken')).toBe(true);
  expect(host.minict('stop', '-t', '0', 'a1')).toEqual(done);
  expect(isThere()).toBe(false);
});

test.each([
  [['--dry-run', 'a1', '--', 'true'], /^minict: cannot print a script of run -d --rm: .*\nhint: leave out --rm\n$/],
  [
    ['a1'],
    /^minict: cannot use -d and --rm together without a main command: .*\nhint: minict run -d --rm NAME -- CMD…\n$/,
  ],
  [['--restart', 'always', 'a1', '--', 'true'], /^minict: cannot use --restart and --rm together: /],
])('run -d --rm %j is refused', async (words, message) => {
  expectRefused(host.minict('run', '-d', '--rm', ...words), message);
  expect(await host.settled(clean)).toEqual(clean);
});

test('a reboot leaves it stopped; started again, and after starts that failed, it goes with its main command', async () => {
  expect(run(...sh(`echo said >/written; ${GO}`))).toEqual(done);
  expect(await eventually(() => host.minict('exec', 'a1', 'cat', '/written').stdout === 'said\n')).toBe(true);
  await host.reboot();
  expect(inspect(host, 'a1').status.state).toBe('stopped');
  const written = join(host.root, 'written');
  expect(host.minict('cp', 'a1:/written', written)).toMatchObject({ status: 0 });
  expect(host.minict('start', 'a1')).toEqual(done);
  // After that of its root, a mount fails: the kernel's mark of a volatile overlay is not removed yet.
  const late = join(inspect(host, 'a1').folder, 'rootfs/etc/resolv.conf');
  const fault = ['strace', '-f', '-qq', '-o', '/dev/null', '-P', late, '-e', 'inject=mount:error=EIO', MINICT];
  const failed = /^minict: cannot start a1: minict's own \/etc\/resolv.conf/;
  expectRefused(host.run([...fault, 'restart', '-t', '0', 'a1']), failed);
  expect(host.minict('cp', written, 'a1:/copied')).toEqual({ status: 0, stdout: '', stderr: '' });
  expectRefused(host.run([...fault, 'start', 'a1']), failed);
  expect(host.minict('start', 'a1')).toEqual(done);
  expect(host.minict('exec', 'a1', 'cat', '/copied').stdout).toBe('said\n');
  host.minict('exec', 'a1', 'touch', '/go');
  expect(await isGone()).toBe(true);
});
