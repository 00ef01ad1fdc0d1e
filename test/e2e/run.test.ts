import { existsSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { linksSettle } from '../helpers/expect.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { imageTree } from '../helpers/images.ts';
import { descriptorsOf, inspect, programsOf, supervisorsOf } from '../helpers/processes.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
});
afterAll(() => host.destroy());
afterEach(async () => {
  for (const name of host.minict('ps', '-a', '-q').stdout.split('\n').filter(Boolean)) host.minict('rm', '-f', name);
  await host.linksGone(/r\d-eth0/);
});

/** Says `up`, then ends with 4 at the first signal of `names`. */
const endsAt = (names: string) => `trap 'echo caught; exit 4' ${names}; echo up; while :; do sleep 0.05; done`;

/** A `run` under way, whose program has said `up`. */
async function running(words: readonly string[], script: string, wrapper: readonly string[] = []) {
  const child = host.spawn([...wrapper, MINICT, 'run', ...words, 'r1', '--', 'sh', '-c', script]);
  const reader = child.stdout.getReader();
  expect(new TextDecoder().decode((await reader.read()).value)).toBe('up\n');
  return child;
}

test('run --rm gives output and status of the program, and leaves nothing', async () => {
  host.minict('create', 'keep');
  const before = host.snapshot();
  const script = 'echo out; echo err >&2; umask; ulimit -Sn; ls /proc/self/fd; exit 5';
  const result = host.run([
    'sh',
    '-c',
    'umask 077; exec "$0" "$@"',
    MINICT,
    'run',
    '--rm',
    'r1',
    '--',
    'sh',
    '-c',
    script,
  ]);
  // Descriptor 3 is the listing's own.
  expect(result).toEqual({ status: 5, stdout: 'out\n0022\n1024\n0\n1\n2\n3\n', stderr: 'err\n' });
  expect(await host.settled(before)).toEqual(before);
});

test.each([
  [['sh', '-c', 'kill -TERM $$'], 143],
  [['sh', '-c', 'kill -KILL $$'], 137],
  [['sh', '-c', 'exit 127'], 127],
])('run %j ends with %i, which stays recorded', (argv, status) => {
  expect(host.minict('run', 'r1', '--', ...argv).status).toBe(status);
  expect(inspect(host, 'r1').status).toMatchObject({ state: 'ready', exitCode: status });
  expect(host.minict('wait', 'r1').stdout).toBe(`${status}\n`);
  host.minict('rm', 'r1');
  expect(host.minict('run', '-d', 'r1', '--', ...argv)).toEqual({ status: 0, stdout: 'r1\n', stderr: '' });
  expect(host.minict('wait', 'r1').stdout).toBe(`${status}\n`);
  expect(inspect(host, 'r1').status).toMatchObject({ state: 'ready', exitCode: status });
});

test.each([
  [['nope'], 127, 'no such program'],
  [['/nope', '-x'], 127, 'no such program'],
  [['/srv/no-interpreter'], 127, 'no such program'],
  [['/etc/hosts'], 126, 'not executable'],
  [['/etc'], 126, 'not executable'],
])('run %j, which cannot be run, ends with %i, and so do run -d and start', (argv, status, cause) => {
  const image = join(host.dir, 'no-interpreter');
  host.run([
    'sh',
    '-c',
    'cp -a "$0" "$1"; printf "#!/nope\n" >"$1/srv/no-interpreter"',
    imageTree(host, 'base'),
    image,
  ]);
  host.run(['chmod', '+x', join(image, 'srv/no-interpreter')]);
  const run = (...words: string[]) => host.minict('run', 'r1', '--image', image, ...words, '--', ...argv);
  expect(run()).toMatchObject({ status, stdout: '' });
  expect(inspect(host, 'r1').status).toMatchObject({ state: 'ready', exitCode: status });
  host.minict('rm', 'r1');
  const refused = {
    status,
    stdout: '',
    stderr: `minict: cannot run ${argv[0]} in r1: ${cause}\nhint: minict logs r1; minict rm r1\n`,
  };
  expect(run('-d')).toEqual(refused);
  expect(inspect(host, 'r1').status).toMatchObject({ state: 'ready', exitCode: status });
  expect(host.minict('start', 'r1')).toEqual(refused);
});

test.each([
  [['--rm', 'r1', 'echo', '-e', '--rm', '-i', '-x'], '--rm -i -x\n'],
  [['r1', '--rm', 'echo', '--', '-d'], '-- -d\n'],
  [['--rm', 'r1', '--', 'echo', '--', '-d'], '-- -d\n'],
  [['-ie', 'A=b', '--rm', 'r1', '-eC=d', 'sh', '-c', 'echo $A $C $0', '-e'], 'b d -e\n'],
  [['r1', '--env=A=b', '--rm', '--hostname', 'its', 'sh', '-c', 'echo $A $(hostname)'], 'b its\n'],
])('run %j: from the first word of the command on, all is its own', (words, wanted) => {
  expect(host.minict('run', ...words)).toEqual({ status: 0, stdout: wanted, stderr: '' });
});

test('stdin goes in only with -i, byte for byte', () => {
  expect(host.run([MINICT, 'run', '--rm', 'r1', '--', 'cat'], {}, 'x').stdout).toBe('');
  expect(host.run([MINICT, 'run', '--rm', '-i', 'r1', '--', 'cat'], {}, 'x\0y\r\n').stdout).toBe('x\0y\r\n');
});

test("a PATH for the program is not minict's own", () => {
  const result = host.minict('run', '--rm', '-e', 'PATH=/nope', 'r1', '--', '/bin/sh', '-c', 'echo $PATH');
  expect(result).toEqual({ status: 0, stdout: '/nope\n', stderr: '' });
});

test.each(['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT'] as const)('%s to run is for the program', async (signal) => {
  const child = await running(['--rm'], endsAt('TERM HUP INT QUIT'));
  child.kill(signal);
  expect(await child.exited).toBe(4);
  expect(host.minict('ps', '-a', '-q').stdout).toBe('');
});

test('a signal that run was told to ignore does not reach the program', async () => {
  const child = await running(['--rm'], `trap "exit 7" HUP; ${endsAt('TERM')}`, [
    'sh',
    '-c',
    'trap "" HUP; exec "$@"',
    'sh',
  ]);
  child.kill('SIGHUP');
  expect(readFileSync(`/proc/${child.pid}/status`, 'utf8')).toMatch(/^SigIgn:\s*[0-9a-f]*1$/m);
  child.kill('SIGTERM');
  expect(await child.exited).toBe(4);
});

test('signals that the caller has blocked are not blocked in the program', () => {
  const words = ['run', '--rm', '--no-network', 'blocked', '--', 'grep', 'SigBlk', '/proc/self/status'];
  expect(host.run(['env', '--block-signal', MINICT, ...words])).toEqual({
    status: 0,
    stdout: `SigBlk:\t${'0'.repeat(16)}\n`,
    stderr: '',
  });
});

test('the program outlives a killed run, and its status is recorded', async () => {
  const child = await running([], endsAt('TERM'));
  child.kill('SIGKILL');
  await child.exited;
  expect(host.minict('ps').stdout).toMatch(/r1 +running/);
  const waiter = host.spawn([MINICT, 'wait', 'r1']);
  expect(host.minict('stop', 'r1').status).toBe(0);
  expect(await new Response(waiter.stdout).text()).toBe('4\n');
});

test('wait by another, while run --rm removes the container', async () => {
  const child = await running(['--rm'], 'echo up; while [ ! -e /tmp/go ]; do sleep 0.02; done; exit 6');
  const exit = join(inspect(host, 'r1').folder, 'exit');
  const waiter = host.spawn([MINICT, 'wait', 'r1']);
  expect(await eventually(() => descriptorsOf(waiter.pid).includes(exit))).toBe(true);
  host.minict('exec', 'r1', 'touch', '/tmp/go');
  expect(await child.exited).toBe(6);
  expect(await new Response(waiter.stdout).text()).toBe('6\n');
});

test('no unmount writes to the disk for what run --rm throws away; what is to last is not volatile', () => {
  const rootOf = (...words: string[]) =>
    host.minict('run', ...words, '--', 'grep', '^overlay / ', '/proc/mounts').stdout;
  expect(rootOf('--rm', 'v1')).toMatch(/volatile/);
  expect(rootOf('--rm', '--read-only', 'v1')).not.toMatch(/volatile/);
  expect(rootOf('v1')).toMatch(/^overlay \/ .*upperdir=(?!.*volatile)/);
  expect(host.minict('rm', 'v1').status).toBe(0);
});

test('stop by another, while run --rm removes the container', async () => {
  for (let round = 0; round < 10; round += 1) {
    const child = await running(['--rm'], 'echo up; exec sleep 100');
    expect(host.minict('stop', '-t', '5', 'r1')).toEqual({ status: 0, stdout: 'r1\n', stderr: '' });
    expect(await child.exited).toBe(143);
    expect(host.minict('ps', '-a', '-q').stdout).toBe('');
  }
});

test('run -d leaves the program to a small supervisor that holds neither locks nor a terminal', async () => {
  host.minict('run', '-d', 'r1', '--', 'sleep', '300');
  expect(
    await eventually(() => readlinkSync(`/proc/${programsOf(host, 'r1')[0] ?? 'self'}/exe`).includes('busybox')),
  ).toBe(true);
  const [supervisor, writer, ...more] = supervisorsOf(host, 'r1') as [number, number, ...number[]];
  expect(more).toEqual([]);
  expect(readlinkSync(`/proc/${supervisor}/exe`)).not.toBe(MINICT);
  const [program] = programsOf(host, 'r1') as [number];
  const pipe = join(inspect(host, 'r1').folder, 'log.pipe');
  expect(descriptorsOf(program)).toEqual(['/dev/null', pipe, pipe]);
  expect(
    descriptorsOf(writer)
      .filter((path) => path.startsWith('/'))
      .sort(),
  ).toEqual(['/dev/null', '/dev/null', pipe]);
  expect(new Set(descriptorsOf(supervisor))).toEqual(new Set(['/dev/null', pipe]));
  const session = (pid: number) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[3];
  expect([session(program), session(supervisor)]).toEqual([String(supervisor), String(supervisor)]);
});

test('logs: all, the last lines, and as they come until the program ends', async () => {
  const script = 'echo 1; echo 2 >&2; echo 3; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo 4; exit 3';
  host.minict('run', '-d', 'r1', '--', 'sh', '-c', script);
  expect(await eventually(() => host.minict('logs', 'r1').stdout === '1\n2\n3\n')).toBe(true);
  expect(host.minict('logs', '-n', '1', 'r1').stdout).toBe('3\n');
  expect(host.minict('logs', '--tail', '0', 'r1').stdout).toBe('');
  const follower = host.spawn([MINICT, 'logs', '-f', '--tail', '2', 'r1']);
  const reader = follower.stdout.getReader();
  expect(new TextDecoder().decode((await reader.read()).value)).toBe('2\n3\n');
  host.minict('exec', 'r1', 'touch', '/tmp/go');
  expect(new TextDecoder().decode((await reader.read()).value)).toBe('4\n');
  expect(await follower.exited).toBe(0);
  expect(host.minict('wait', 'r1').stdout).toBe('3\n');
  expect(host.minict('logs', '-f', 'r1')).toMatchObject({ status: 0, stdout: '1\n2\n3\n4\n' });
  expect(host.minict('logs', '--tail', 'x', 'r1')).toMatchObject({ status: 125, stdout: '' });
});

test('wait: several names, and those that never ran', () => {
  host.minict('run', '-d', 'r1', '--', 'sh', '-c', 'exit 1');
  host.minict('run', '-d', 'r2', '--', 'sh', '-c', 'sleep 0.2; exit 2');
  host.minict('create', 'r3');
  const result = host.minict('wait', 'r1', 'r3', 'nope', 'r2');
  expect(result).toMatchObject({ status: 125, stdout: '1\n2\n' });
  expect(result.stderr).toContain('cannot wait for r3: no main command has run');
  expect(result.stderr).toContain('cannot find container nope');
});

test.each([
  ['exec sleep 300', 143],
  ['trap "exit 9" TERM; while :; do sleep 0.05; done', 9],
  ['trap "" TERM; while :; do sleep 0.05; done', 137],
])('the status of %j is recorded by stop, and shown', async (script, status) => {
  host.minict('run', '-d', 'r1', '--', 'sh', '-c', `echo up; ${script}`);
  expect(await eventually(() => host.minict('logs', 'r1').stdout === 'up\n')).toBe(true);
  expect(host.minict('stop', '-t', status === 137 ? '0.2' : '30', 'r1').stdout).toBe('r1\n');
  expect(inspect(host, 'r1').status).toMatchObject({ state: 'stopped', exitCode: status });
  expect(host.minict('wait', 'r1').stdout).toBe(`${status}\n`);
});

test('run whose service fails shows why; with --rm nothing stays, without it the container', async () => {
  const words = ['--service', 'echo why >&2; exit 3', 'r1', '--', 'echo', 'ran'];
  await linksSettle(host);
  const before = host.snapshot();
  const failed = host.minict('run', '--rm', ...words);
  expect(failed).toMatchObject({ status: 125, stdout: '' });
  expect(failed.stderr).toBe("minict: cannot start r1: service 'echo why >&2; exit 3' ended with 3\n  why\n");
  expect(await host.settled(before)).toEqual(before);
  expect(host.minict('run', '-d', ...words)).toMatchObject({ status: 125, stdout: '' });
  expect(inspect(host, 'r1').status).toEqual({ state: 'ready', missing: [] });
  expect(existsSync(join(host.root, 'containers/r1/exit'))).toBe(false);
});

test('a stop right after run -d asks the program to end, however long that takes to begin', () => {
  const tools = join(host.dir, 'slow');
  mkdirSync(tools);
  writeFileSync(join(tools, 'sh'), '#!/bin/sh\nsleep 0.3\nexec /bin/sh "$@"\n', { mode: 0o755 });
  const run = [MINICT, 'run', '-d', 'r1', '--no-network', '--', 'sleep', '300'];
  expect(host.run(run, { PATH: `${tools}:${process.env.PATH}` })).toMatchObject({ status: 0, stderr: '' });
  expect(host.minict('stop', 'r1')).toMatchObject({ status: 0, stderr: '' });
  expect(inspect(host, 'r1').status).toMatchObject({ state: 'stopped', exitCode: 143 });
});
