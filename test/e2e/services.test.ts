import { readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { descriptorsOf, inspect, isAlive, programsOf } from '../helpers/processes.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
});
afterAll(() => host.destroy());
afterEach(() => {
  for (const name of host.minict('ps', '-a', '-q').stdout.split('\n').filter(Boolean)) host.minict('rm', '-f', name);
});

const services = (...lines: string[]) => lines.flatMap((line) => ['--service', line]);
const inside = (name: string, ...argv: string[]) => host.minict('exec', name, ...argv).stdout;

test('services start in order, once; restart runs them again', () => {
  host.minict('create', 's1', ...services('echo 1 >>/tmp/order', 'echo 2 >>/tmp/order; sleep 300 &'));
  expect(host.minict('start', 's1')).toEqual({ status: 0, stdout: 's1\n', stderr: '' });
  expect(host.minict('start', 's1')).toEqual({ status: 0, stdout: 's1\n', stderr: '' });
  expect(inside('s1', 'cat', '/tmp/order')).toBe('1\n2\n');
  const before = programsOf(host, 's1');
  expect(before).toHaveLength(1);
  expect(host.minict('restart', 's1')).toEqual({ status: 0, stdout: 's1\n', stderr: '' });
  expect(inside('s1', 'cat', '/tmp/order')).toBe('1\n2\n1\n2\n');
  expect(before.some(isAlive)).toBe(false);
  expect(programsOf(host, 's1')).toHaveLength(1);
});

test('--verbose prints services, stop commands and the main command, so that a shell can repeat them', async () => {
  const options = [...services(`echo "it's on" >>/tmp/said`), '--stop-cmd', "echo 'and off' >>/tmp/said"];
  host.minict('create', 's1', ...options, '--', 'sh', '-c', 'echo "in  main" >>/tmp/said; exec sleep 300');
  const start = host.minict('--verbose', 'start', 's1');
  const stop = host.minict('--verbose', 'stop', '-t', '0', 's1');
  const said = join(host.root, 'containers/s1/upper/tmp/said');
  const lines = ["it's on", 'in  main', 'and off'];
  expect(readFileSync(said, 'utf8').trim().split('\n')).toEqual(lines);
  expect([start, stop].map(({ status, stdout }) => [status, stdout])).toEqual(Array(2).fill([0, 's1\n']));
  const commands = `${start.stderr}${stop.stderr}`.replace(/^\+ /gm, '').replace(/exec sleep 300/, 'exit 0');
  expect(host.minict('start', 's1').status).toBe(0);
  expect(await eventually(() => readFileSync(said, 'utf8').split('\n').length === 6)).toBe(true);
  expect(host.minict('exec', 's1', 'rm', '/tmp/said').status).toBe(0);
  expect(host.run(['sh'], {}, commands)).toEqual({ status: 0, stdout: '', stderr: '' });
  expect(readFileSync(said, 'utf8').trim().split('\n')).toEqual(lines);
});

test('a service that fails stops the start and shows why; its output is in the logs', () => {
  host.minict(
    'create',
    's1',
    ...services('echo one', 'echo two; printf "a\\033[mb\\n" >&2; exit 3', 'touch /tmp/three'),
  );
  const failed = host.minict('start', 's1');
  expect(failed).toMatchObject({ status: 125, stdout: '' });
  expect(failed.stderr.split('\n').slice(1)).toEqual(['  two', '  a\\x1b[mb', '']);
  expect(failed.stderr).toMatch(/^minict: cannot start s1: service '.*' ended with 3\n/);
  expect(host.minict('logs', 's1').stdout).toBe('one\ntwo\na\x1b[mb\n');
  expect(inside('s1', 'ls', '/tmp')).toBe('');
  expect(host.minict('ps').stdout).toMatch(/s1 +ready/);
});

test.each([
  ['stop', '-t', '0'],
  ['rm', '-f'],
])('a service that does not end keeps neither exec waiting nor %s %s', async (...words) => {
  host.minict('create', 's1', ...services('sleep 300'));
  const start = host.spawn([MINICT, 'start', 's1']);
  expect(await eventually(() => programsOf(host, 's1').length === 1)).toBe(true);
  expect(inside('s1', 'hostname')).toBe('s1\n');
  expect(host.minict(...words, 's1')).toEqual({ status: 0, stdout: 's1\n', stderr: '' });
  expect(await start.exited).toBe(125);
  expect(await new Response(start.stderr).text()).toMatch(
    /^minict: cannot start s1: service 'sleep 300' ended with 1(37|43)\n/,
  );
});

test('a daemon stays in the container, without descriptors of the caller or a lock', () => {
  // Where it kept the caller's pipe, this would not return.
  host.minict('create', 's1', ...services("(setsid sh -c 'exec sleep 300' &) ; exit 0"));
  expect(host.minict('start', 's1').status).toBe(0);
  const [daemon] = programsOf(host, 's1') as [number];
  const pipe = join(inspect(host, 's1').folder, 'log.pipe');
  expect(descriptorsOf(daemon)).toEqual([expect.stringMatching(/\/dev\/null$/), pipe, pipe]);
  const status = readFileSync(`/proc/${daemon}/status`, 'utf8');
  expect(status).toMatch(/^Umask:\s*0022$/m);
  // The shell's & ignores INT and QUIT; minict ignores nothing.
  expect(status).toMatch(/^SigIgn:\s*0+6$/m);
  expect(host.minict('rm', 's1')).toMatchObject({ status: 125, stdout: '' });
  expect(isAlive(daemon)).toBe(true);
  expect(host.minict('rm', '-f', 's1').stdout).toBe('s1\n');
  expect(isAlive(daemon)).toBe(false);
});

test('stop runs the stop commands before it sends TERM, and goes on where one fails', async () => {
  const main = 'trap "ls /tmp; exit 0" TERM; echo up; while :; do sleep 0.05; done';
  const stops = ['--stop-cmd', 'touch /tmp/first; echo no; exit 1', '--stop-cmd', 'touch /tmp/second'];
  host.minict('create', 's1', ...stops, '--', 'sh', '-c', main);
  host.minict('start', 's1');
  expect(await eventually(() => host.minict('logs', 's1').stdout === 'up\n')).toBe(true);
  const stopped = host.minict('stop', 's1');
  expect(stopped).toMatchObject({ status: 0, stdout: 's1\n' });
  expect(stopped.stderr).toBe(
    "minict: warning: stop command 'touch /tmp/first; echo no; exit 1' of s1 ended with 1\n  no\n",
  );
  // Its shell may say that TERM ended the sleep.
  expect(host.minict('logs', 's1').stdout).toMatch(/^up\nno\n(Terminated\n)?first\nsecond\n$/);
  expect(inspect(host, 's1').status).toMatchObject({ state: 'stopped', exitCode: 0 });
});

test('stop ends a process that ignores TERM, daemons that double-forked too', async () => {
  host.minict('create', 's1');
  host.minict('exec', '-d', 's1', 'sh', '-c', "trap '' TERM; (setsid sleep 300 &); while :; do sleep 1; done");
  expect(await eventually(() => programsOf(host, 's1').length === 3)).toBe(true);
  const programs = programsOf(host, 's1');
  expect(host.minict('stop', '-t', '0.3', 's1')).toMatchObject({ status: 0, stdout: 's1\n' });
  expect(programs.some(isAlive)).toBe(false);
  expect(host.minict('ps', '-a').stdout).toMatch(/s1 +stopped/);
  expect(host.minict('exec', 's1', 'true')).toMatchObject({ status: 125 });
  expect(host.minict('start', 's1').stdout).toBe('s1\n');
  expect(host.minict('exec', 's1', 'true').status).toBe(0);
});

describe.each([
  ['stop', ['stop', 'many']],
  ['stop -t 0', ['stop', '-t', '0', 'many']],
  ['rm -f', ['rm', '-f', 'many']],
])('%s of 200 processes', (_, words) => {
  test('ends them all, and none of the host or of another container', async () => {
    const sentinel = host.spawn(['busybox', 'sleep', '300']);
    host.minict('run', '-d', 'other', '--', 'sleep', '300');
    // They fork on while they are being ended.
    const many = 'i=0; while [ $i -lt 198 ]; do sleep 300 & i=$((i + 1)); done; while :; do sleep 0.01; done';
    host.minict('run', '-d', 'many', '--', 'sh', '-c', many);
    expect(await eventually(() => programsOf(host, 'many').length >= 200)).toBe(true);
    const programs = programsOf(host, 'many');
    const [bystander] = programsOf(host, 'other') as [number];
    const name = (pid: number) => readlinkSync(`/proc/${pid}/exe`).split('/').pop();
    expect(new Set([sentinel.pid, bystander, programs[5] as number].map(name)).size).toBe(1);
    expect(host.minict(...words)).toEqual({ status: 0, stdout: 'many\n', stderr: '' });
    expect(programs.filter(isAlive)).toEqual([]);
    expect([sentinel.pid, bystander].map(isAlive)).toEqual([true, true]);
    sentinel.kill();
    await sentinel.exited;
  });
});

test('rm during exec: refused, and with -f the program ends', async () => {
  host.minict('create', 's1');
  const exec = host.spawn([MINICT, 'exec', 's1', 'sh', '-c', 'echo up; exec sleep 300']);
  expect(new TextDecoder().decode((await exec.stdout.getReader().read()).value)).toBe('up\n');
  const refused = host.minict('rm', 's1');
  expect(refused).toEqual({
    status: 125,
    stdout: '',
    stderr: 'minict: cannot remove s1: processes run in it\nhint: minict rm -f s1\n',
  });
  expect(inside('s1', 'hostname')).toBe('s1\n');
  expect(host.minict('rm', '-f', 's1').stdout).toBe('s1\n');
  expect(await exec.exited).toBe(137);
});
