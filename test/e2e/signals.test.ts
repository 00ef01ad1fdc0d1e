/** kill, pause and unpause: what they do to a container's processes, by what the kernel says of these. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { eventually, Host } from '../helpers/host.ts';
import { inspect, isAlive, programsOf, supervisorsOf } from '../helpers/processes.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
  expect(host.minict('create', 'idle', '--no-network').status).toBe(0);
});
afterAll(() => host.destroy());
afterEach(() => {
  host.minict('rm', '-f', 'p1');
});

const done = { status: 0, stdout: 'p1\n', stderr: '' };
const TICK = 'trap "echo hup >>/said" HUP; while :; do echo x >>/growing; sleep 0.01; done';
const run = (...words: string[]) => host.minict('run', '-d', '--no-network', 'p1', ...words);
const upper = (path: string) => join(host.root, 'containers/p1/upper', path);
const size = (path: string) => statSync(upper(path), { throwIfNoEntry: false })?.size ?? 0;
const grows = () => {
  const before = size('growing');
  return eventually(() => size('growing') > before);
};
const ps = () => host.minict('ps', '-a', '--filter', 'name=p1', '--format', 'json');
const state = () => JSON.parse(ps().stdout)[0].state;

test('kill ends the main command alone, and its status is recorded', async () => {
  expect(run('--', 'sleep', '300')).toEqual(done);
  expect(host.minict('exec', '-d', 'p1', 'sleep', '301').status).toBe(0);
  expect(programsOf(host, 'p1')).toHaveLength(2);
  expect(host.minict('kill', 'p1')).toEqual(done);
  expect(host.minict('wait', 'p1').stdout).toBe('137\n');
  const [left, ...others] = programsOf(host, 'p1');
  expect(others).toEqual([]);
  expect(readFileSync(`/proc/${left}/cmdline`, 'utf8')).toBe('sleep\x00301\x00');
  // Nobody is main any more: now it is for all.
  expect(host.minict('kill', 'p1')).toEqual(done);
  expect(await eventually(() => !isAlive(left as number))).toBe(true);
  expectRefused(host.minict('kill', 'p1'), /^minict: cannot kill p1: no process runs in it\nhint: minict start p1\n$/);
});

test.each([['-s', 'HUP'], ['--signal', 'sighup'], ['-s1']])('kill %j', async (...words) => {
  expect(run('--', 'sh', '-c', TICK)).toEqual(done);
  expect(await grows()).toBe(true);
  expect(host.minict('kill', ...words, 'p1')).toEqual(done);
  expect(await eventually(() => size('said') > 0)).toBe(true);
  expect(state()).toBe('running');
});

test('kill of services, which have no main command, is for all processes', async () => {
  const service = 'sleep 300 & sleep 301 & :';
  expect(host.minict('create', 'p1', '--no-network', '--service', service).status).toBe(0);
  host.minict('start', 'p1');
  const pids = programsOf(host, 'p1');
  expect(pids).toHaveLength(2);
  expect(host.minict('kill', '-s', 'TERM', 'p1')).toEqual(done);
  expect(await eventually(() => !pids.some(isAlive))).toBe(true);
});

test('pause holds all processes still, stays so while files are copied, and unpause lets them go on', async () => {
  expect(run('--', 'sh', '-c', TICK)).toEqual(done);
  expect(await grows()).toBe(true);
  expect(host.minict('pause', 'p1')).toEqual(done);
  const held = size('growing');
  expect(state()).toBe('paused');
  expect(host.minict('ps', '--filter', 'status=paused', '-q').stdout).toBe('p1\n');
  expect(host.minict('commit', 'p1', 'lab:1').status).toBe(0);
  expect(host.minict('snapshot', 'create', 'p1', 's1').status).toBe(0);
  await Bun.sleep(50);
  expect(size('growing')).toBe(held);
  expect(host.minict('unpause', 'p1')).toEqual(done);
  expect(state()).toBe('running');
  expect(await grows()).toBe(true);
  expect(host.minict('exec', 'p1', 'true').status).toBe(0);
});

test.each([
  ['exec', ['exec', 'p1', 'true'], 'exec in'],
  ['exec -d', ['exec', '-d', 'p1', 'true'], 'exec in'],
  ['start', ['start', 'p1'], 'start'],
  ['kill', ['kill', 'p1'], 'kill'],
])('%s of a paused one is refused', (_title, words, verb) => {
  run('--', 'sleep', '300');
  host.minict('pause', 'p1');
  expectRefused(
    host.minict(...words),
    new RegExp(`^minict: cannot ${verb} p1: it is paused\nhint: minict unpause p1\n$`),
  );
});

test.each([
  ['stop', ['stop', 'p1']],
  ['restart', ['restart', 'p1']],
  ['rm -f', ['rm', '-f', 'p1']],
])('%s of a paused one lets its program end as it would', async (_title, words) => {
  const script = 'trap "echo bye >>/said; exit 3" TERM; while :; do sleep 0.01; done';
  const stopCommand = ['--stop-cmd', 'echo stopping >>/said'];
  expect(run(...stopCommand, '--', 'sh', '-c', script)).toEqual(done);
  const [program] = programsOf(host, 'p1');
  const supervisors = supervisorsOf(host, 'p1');
  expect(host.minict('pause', 'p1')).toEqual(done);
  expect(host.minict(...words)).toEqual(done);
  expect([program, ...supervisors].some((pid) => isAlive(pid as number))).toBe(false);
  if (words[0] === 'rm') return;
  expect(readFileSync(upper('said'), 'utf8')).toBe('stopping\nbye\n');
  if (words[0] === 'stop') expect(inspect(host, 'p1').status).toMatchObject({ state: 'stopped', exitCode: 3 });
  else expect(state()).toBe('running');
  expect(host.minict('start', 'p1').status).toBe(0);
  expect(host.minict('exec', 'p1', 'true').status).toBe(0);
});

test('what a killed pause leaves is for unpause, and what somebody thawed by hand runs', async () => {
  run('--', 'sh', '-c', TICK);
  expect(host.minict('pause', 'p1')).toEqual(done);
  const { cgroup } = inspect(host, 'p1');
  const thaw =
    '[ ! -e $0/freezer.state ] || echo THAWED >$0/freezer.state; [ -e $0/freezer.state ] || echo 0 >$0/cgroup.freeze';
  expect(host.run(['sh', '-c', thaw, cgroup]).status).toBe(0);
  expect(state()).toBe('running');
  expect(host.minict('unpause', 'p1')).toEqual(done);
  expect(host.minict('exec', 'p1', 'true').status).toBe(0);
});

test.each([
  [['kill', '-s', 'NOPE', 'p1'], /^minict: cannot use signal "NOPE": no such signal\n/],
  [['kill', '-s', '0', 'p1'], /^minict: cannot use signal "0": no such signal\n/],
  [['kill'], /missing required argument 'name'/],
  [['kill', 'nobody'], /^minict: cannot find container nobody: no such container\n/],
  [['kill', 'idle'], /^minict: cannot kill idle: no process runs in it\n/],
  [['pause', 'nobody'], /^minict: cannot find container nobody: no such container\n/],
  [['pause', 'idle'], /^minict: cannot pause idle: no process runs in it\nhint: minict start idle\n$/],
  [['pause', '../idle'], /^minict: cannot use container name "\.\.\/idle"/],
  [['unpause', 'idle'], /^minict: cannot unpause idle: it is not paused\n$/],
  [['unpause', 'nobody'], /^minict: cannot find container nobody: no such container\n/],
])('%j is refused', (words, message) => {
  expectRefused(host.minict(...words), message);
});

test('pause of a paused one is refused; several names: goes on after a failure', () => {
  run('--', 'sleep', '300');
  expect(host.minict('pause', 'idle', 'p1')).toMatchObject({ status: 125, stdout: 'p1\n' });
  expectRefused(host.minict('pause', 'p1'), /^minict: cannot pause p1: it is paused\n$/);
  expect(state()).toBe('paused');
});
