/** What a main command that nobody is attached to writes: kept within bounds, with times where that is asked for, and read. */
import { appendFileSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { descriptorsOf, inspect, isAlive, memoryOf, programsOf, supervisorsOf } from '../helpers/processes.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
});
afterAll(() => host.destroy());
afterEach(() => {
  host.minict('rm', '-f', 'l1');
});

const done = { status: 0, stdout: 'l1\n', stderr: '' };
const run = (options: readonly string[], script: string) =>
  host.minict('run', '-d', '--no-network', ...options, 'l1', '--', 'sh', '-c', script);
const logs = (...words: string[]) => host.minict('logs', ...words, 'l1');
const SMALL = ['--log-max-size', '64k', '--log-max-files', '3'];
const STAMPED = '--log-timestamps';

/** Bytes of all files in a folder below the container's whose names begin so. */
function sizeOf(folder: string, prefix: string): number {
  const dir = join(inspect(host, 'l1').folder, folder);
  const names = readdirSync(dir).filter((name) => name.startsWith(prefix));
  const stats = names.map((name) => statSync(join(dir, name), { throwIfNoEntry: false }));
  // One was given its next name meanwhile: then these are not the files of any one moment.
  if (stats.includes(undefined)) return sizeOf(folder, prefix);
  return stats.reduce((sum, stat) => sum + (stat?.size ?? 0), 0);
}

/** The numbers are those up to `last`, without a gap, and each line is whole but perhaps the first. */
function expectEndOfCount(text: string, last: number): void {
  const numbers = text.trimEnd().split('\n').slice(1).map(Number);
  expect(numbers.length).toBeGreaterThan(100);
  expect(numbers.at(-1)).toBe(last);
  expect(numbers.every((number, index) => number === last - (numbers.length - 1 - index))).toBe(true);
}

test.each([[[]], [[STAMPED]]])('a program that writes much more than its log may have, with %j', (options) => {
  expect(run([...SMALL, ...options], 'seq 1 300000')).toEqual(done);
  expect(host.minict('wait', 'l1').stdout).toBe('0\n');
  // Stamps come on top of a line of theirs; a start may find a file that is nearly full.
  expect(sizeOf('.', 'log')).toBeLessThanOrEqual(4 * 65536);
  if (options.length > 0) expect(sizeOf('log.d', '')).toBeLessThanOrEqual(4 * 65536);
  const all = logs().stdout;
  expectEndOfCount(all, 300000);
  expect(logs('--tail', '5000').stdout).toBe(`${all.trimEnd().split('\n').slice(-5000).join('\n')}\n`);
  expect(logs('-n1').stdout).toBe('300000\n');
});

test('it is followed over many files, without a gap', async () => {
  const script = 'until [ -e /go ]; do sleep 0.02; done; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo $i; done';
  expect(run(['--log-max-size', '32k', '--log-max-files', '4'], script)).toEqual(done);
  const follower = host.spawn([MINICT, 'logs', '-f', 'l1']);
  host.minict('exec', 'l1', 'touch', '/go');
  expectEndOfCount(await new Response(follower.stdout).text(), 20000);
  expect(await follower.exited).toBe(0);
});

test.each([[[]], [[STAMPED]]])(
  'the last lines, and all, while it is written at full speed, with %j',
  async (options) => {
    expect(run(options, 'i=0; while :; do i=$((i+1)); echo $i; done')).toEqual(done);
    expect(await eventually(() => logs('-n1').stdout.length > 5)).toBe(true);
    expect(logs('-n1').stdout).toMatch(/^\d+\n$/);
    expect(logs('-n3').stdout).toMatch(/^(\d+\n){3}$/);
    expect(logs().stdout).toMatch(/^1\n2\n/);
  },
);

test('one that floods it without a line end is bounded, and its end ends who writes it', async () => {
  expect(run(SMALL, 'cat /dev/zero')).toEqual(done);
  expect(await eventually(() => sizeOf('.', 'log.') > 0)).toBe(true);
  const rotated = () => statSync(join(inspect(host, 'l1').folder, 'log.2'), { throwIfNoEntry: false })?.ino;
  const first = rotated();
  expect(await eventually(() => rotated() !== first)).toBe(true);
  expect(sizeOf('.', 'log')).toBeLessThanOrEqual(4 * 65536);
  const pids = supervisorsOf(host, 'l1');
  expect(pids.length).toBeGreaterThan(1);
  expect(host.minict('stop', '-t', '1', 'l1')).toEqual(done);
  expect(pids.some(isAlive)).toBe(false);
});

test.each([[[]], [[STAMPED]]])(
  'a supervisor has 1 MB at most, and with who writes the log half of it that nobody shares; all sleep, with %j',
  async (options) => {
    expect(run(options, 'echo up; exec sleep 300')).toEqual(done);
    expect(await eventually(() => logs().stdout === 'up\n')).toBe(true);
    const pids = supervisorsOf(host, 'l1');
    const { largest, unshared } = memoryOf(pids);
    expect(largest).toBeGreaterThan(0);
    expect(largest).toBeLessThanOrEqual(1024);
    expect(unshared).toBeLessThanOrEqual(512);
    const switches = () =>
      pids.map((pid) => /^voluntary_ctxt_switches:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
    const before = switches();
    await Bun.sleep(300);
    expect(switches()).toEqual(before);
  },
);

test('times: shown, and lines chosen by them', async () => {
  const script = 'echo one; until [ -e /go ]; do sleep 0.02; done; printf two; exit 3';
  const begin = Date.now();
  expect(run([STAMPED], script)).toEqual(done);
  expect(await eventually(() => logs().stdout === 'one\n')).toBe(true);
  const between = new Date(Date.now() + 1).toISOString();
  await Bun.sleep(2);
  host.minict('exec', 'l1', 'touch', '/go');
  expect(host.minict('wait', 'l1').stdout).toBe('3\n');
  const end = Date.now();
  expect(logs().stdout).toMatch(/^one\ntwo$/);
  const times = logs('-t')
    .stdout.split('\n')
    .filter(Boolean)
    .map((line) => line.split(' ') as [string, string]);
  expect(times.map(([, text]) => text)).toEqual(['one', 'two']);
  for (const [time] of times) {
    expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{5}Z$/);
    expect(Date.parse(time)).toBeGreaterThanOrEqual(begin - 1);
    expect(Date.parse(time)).toBeLessThanOrEqual(end + 1);
  }
  expect(logs('--since', between).stdout).toMatch(/^two$/);
  expect(logs('--until', between).stdout).toBe('one\n');
  expect(logs('-n', '1').stdout).toBe('two');
  expect(logs('-n', '1', '--until', between).stdout).toBe('one\n');
  expect(logs('--since', '5m').stdout).toMatch(/^one\ntwo$/);
  expect(logs('--since', String(end / 1000 + 10)).stdout).toBe('');
  expect(logs('--since', '2000-01-01', '--until', '1h').stdout).toBe('');
});

test('a line whose beginning went with an older file has no time to be chosen by', () => {
  const script = "head -c 50000 /dev/zero | tr '\\0' x; echo; echo last";
  expect(run([STAMPED, '--log-max-size', '4k', '--log-max-files', '2'], script)).toEqual(done);
  expect(host.minict('wait', 'l1').stdout).toBe('0\n');
  expect(logs().stdout).toMatch(/^x+\nlast\n$/);
  expect(logs('-n2').stdout).toMatch(/^x+\nlast\n$/);
  expect(logs('--since', '1h').stdout).toBe('last\n');
  expect(logs('-n2', '--since', '1h').stdout).toBe('last\n');
  expect(logs('--until', '2001-01-01').stdout).toBe('');
});

test('nothing of the program’s environment reaches who writes the log', async () => {
  const hostile = [
    '-e',
    'SHELL=/nope',
    '-e',
    'LOG=/nope',
    '-e',
    'FILES=x',
    '-e',
    'FILE=x',
    '-e',
    'LD_PRELOAD=/nope',
    '-e',
    'minict_log=/nope',
  ];
  expect(run([...SMALL, ...hostile], 'seq 1 100000; echo $SHELL $LOG')).toEqual(done);
  expect(host.minict('wait', 'l1').stdout).toBe('0\n');
  expect(logs('-n', '2').stdout).toBe('100000\n/nope /nope\n');
});

test('a restart goes on in the same log, and what a daemon writes when the program has ended comes, too', async () => {
  const script = 'echo $0; (until [ -e /go ]; do sleep 0.02; done; rm /go; echo late) & exit 1';
  expect(run([], script)).toEqual(done);
  expect(host.minict('wait', 'l1').stdout).toBe('1\n');
  expect(programsOf(host, 'l1').length).toBeGreaterThan(0);
  host.minict('exec', 'l1', 'touch', '/go');
  expect(await eventually(() => logs().stdout === 'sh\nlate\n')).toBe(true);
  expect(await eventually(() => supervisorsOf(host, 'l1').length === 0)).toBe(true);
  expect(host.minict('restart', 'l1')).toEqual(done);
  expect(await eventually(() => logs().stdout === 'sh\nlate\nsh\n')).toBe(true);
});

test.each([
  ['split', []],
  ['svlogd', [STAMPED]],
])('the last line of a program that leaves a daemon is there at its end, however late %s is', async (comm, options) => {
  expect(run(options, 'sleep 300 & echo up; until [ -e /go ]; do sleep 0.02; done; echo last')).toEqual(done);
  expect(await eventually(() => logs().stdout === 'up\n')).toBe(true);
  const follower = host.spawn([MINICT, 'logs', '-f', 'l1']);
  const writer = supervisorsOf(host, 'l1').find((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8') === `${comm}\n`);
  process.kill(writer as number, 'SIGSTOP');
  host.minict('exec', 'l1', 'touch', '/go');
  expect(await eventually(() => programsOf(host, 'l1').length === 1)).toBe(true);
  // One that ends too early has the time for it.
  await Bun.sleep(300);
  process.kill(writer as number, 'SIGCONT');
  expect(await new Response(follower.stdout).text()).toBe('up\nlast\n');
  expect(programsOf(host, 'l1')).toHaveLength(1);
});

test('a file is followed to its end, even where others have replaced it meanwhile', async () => {
  expect(run([], 'echo one; until [ -e /go ]; do sleep 0.02; done')).toEqual(done);
  expect(await eventually(() => logs().stdout === 'one\n')).toBe(true);
  const follower = host.spawn([MINICT, 'logs', '-f', 'l1']);
  const log = join(inspect(host, 'l1').folder, 'log');
  const isOpen = () => descriptorsOf(follower.pid).includes(log);
  expect(await eventually(isOpen)).toBe(true);
  await Bun.sleep(300);
  process.kill(follower.pid, 'SIGSTOP');
  appendFileSync(log, 'two\n');
  renameSync(log, `${log}.old`);
  rmSync(`${log}.old`);
  writeFileSync(log, 'three\n');
  process.kill(follower.pid, 'SIGCONT');
  host.minict('exec', 'l1', 'touch', '/go');
  expect(await new Response(follower.stdout).text()).toBe('one\ntwo\nthree\n');
});

test('who writes the log is killed by hand: the program goes on until it writes', async () => {
  expect(run([], 'echo up; exec sleep 300')).toEqual(done);
  expect(await eventually(() => logs().stdout === 'up\n')).toBe(true);
  const [program] = programsOf(host, 'l1') as [number];
  const [supervisor, ...writers] = supervisorsOf(host, 'l1');
  // What it started ends with it.
  const split = writers.find((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'split\n');
  process.kill(split as number, 'SIGKILL');
  expect(await eventually(() => writers.every((pid) => !isAlive(pid)))).toBe(true);
  expect([program, supervisor].every((pid) => isAlive(pid as number))).toBe(true);
  expect(host.minict('stop', '-t', '1', 'l1')).toEqual(done);
  expect(host.minict('start', 'l1')).toEqual(done);
  expect(await eventually(() => logs().stdout === 'up\nup\n')).toBe(true);
});

test.each([
  [['--log-max-size', '1k'], /^minict: .*--log-max-size "1k": not a size of 4k or more\n/],
  [['--log-max-size', '-5m'], /^minict: .*--log-max-size "-5m"/],
  [['--log-max-size', 'much'], /^minict: .*--log-max-size "much"/],
  [['--log-max-size', ''], /^minict: .*--log-max-size ""/],
  [['--log-max-size', '99999999999999g'], /^minict: .*--log-max-size "99999999999999g"/],
  [['--log-max-files', '1'], /^minict: .*--log-max-files "1": not a number from 2 to 100\n$/],
  [['--log-max-files', '101'], /^minict: .*--log-max-files "101"/],
  [['--log-max-files', '2.5'], /^minict: .*--log-max-files "2.5"/],
  [[STAMPED, '--service', 'true'], /^minict: cannot use --log-timestamps and --service together/],
])('create %j is refused', (options, message) => {
  expectRefused(host.minict('create', 'l1', '--no-network', ...options), message);
});

test('a log without times has none to choose by; what is no time is refused; without svlogd there are none', () => {
  expect(run([], 'echo up')).toEqual(done);
  for (const [words, option] of [
    [['--since', '5m'], 'since'],
    [['--until', '5m'], 'until'],
    [['-t'], 'timestamps'],
  ] as const) {
    expectRefused(
      logs(...words),
      new RegExp(
        `^minict: cannot use --${option}: the log of l1 has no times\nhint: make the container with --log-timestamps\n$`,
      ),
    );
  }
  expectRefused(logs('--since', 'yesterday'), /^minict: cannot use --since "yesterday": not a time\n/);
  expectRefused(logs('--until', '5x'), /^minict: cannot use --until "5x": not a time\n/);
  const without = join(host.dir, 'without');
  host.run(['sh', '-c', 'mkdir "$0"; ln -s /usr/bin/* "$0"; ln -s /usr/sbin/* "$0"; rm "$0/svlogd"', without]);
  const refused = host.run([MINICT, 'create', 'l2', '--no-network', STAMPED], { PATH: without });
  expectRefused(refused, /^minict: cannot run svlogd: not found in PATH\nhint: apt-get install runit\n$/);
});

test('its settings come along with clone and save-container', () => {
  expect(run([...SMALL, STAMPED], 'echo up')).toEqual(done);
  const log = { maxBytes: 65536, maxFiles: 3, timestamps: true };
  expect(inspect(host, 'l1')).toMatchObject({ log });
  expect(host.minict('clone', 'l1', 'l2').status).toBe(0);
  expect(inspect(host, 'l2')).toMatchObject({ log });
  host.minict('rm', '-f', 'l2');
  const tar = join(host.dir, 'l1.tar');
  expect(host.minict('save-container', 'l1', '-o', tar).status).toBe(0);
  expect(host.minict('load-container', '-i', tar, '--name', 'l2').status).toBe(0);
  expect(inspect(host, 'l2')).toMatchObject({ log });
  host.minict('rm', '-f', 'l2');
});

/** The files that its log is in. */
const filesOf = () => readdirSync(inspect(host, 'l1').folder).filter((name) => /^log(\.\d+)?$/.test(name));

test('what a service writes is bounded while it is started, and what a daemon writes after that; then nobody is left', async () => {
  const service = 'seq 1 100000; (until [ -e /go ]; do sleep 0.02; done; exec seq 100001 300000) &';
  expect(host.minict('create', 'l1', '--no-network', ...SMALL, '--service', service).status).toBe(0);
  for (let round = 0; round < 2; round += 1) {
    expect(host.minict('start', 'l1')).toEqual(done);
    expectEndOfCount(logs().stdout, 100000);
    expect(sizeOf('.', 'log')).toBeLessThanOrEqual(4 * 65536);
    expect(supervisorsOf(host, 'l1')).toHaveLength(1);
    expect(memoryOf(supervisorsOf(host, 'l1')).largest).toBeLessThanOrEqual(1024);
    host.minict('exec', 'l1', 'touch', '/go');
    expect(await eventually(() => supervisorsOf(host, 'l1').length === 0)).toBe(true);
    expectEndOfCount(logs().stdout, 300000);
    expect(sizeOf('.', 'log')).toBeLessThanOrEqual(4 * 65536);
    expect(filesOf().sort()).toEqual(['log', 'log.1', 'log.2']);
    expect(host.minict('exec', 'l1', 'rm', '/go').status).toBe(0);
    expect(host.minict('stop', 'l1')).toEqual(done);
  }
});

test('one writer is for services and the main command; a service that ends leaves none', async () => {
  const service = '(until [ -e /go ]; do sleep 0.02; done; echo late) & echo early';
  const main = ['sh', '-c', 'seq 1 100000; exec sleep 300'];
  host.minict('create', 'l1', '--no-network', ...SMALL, '--service', service, '--', ...main);
  expect(host.minict('start', 'l1')).toEqual(done);
  expect(await eventually(() => logs('-n', '1').stdout === '100000\n')).toBe(true);
  const writers = supervisorsOf(host, 'l1').filter((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'split\n');
  expect(writers).toHaveLength(1);
  host.minict('exec', 'l1', 'touch', '/go');
  expect(await eventually(() => logs('-n', '1').stdout === 'late\n')).toBe(true);
  host.minict('rm', '-f', 'l1');
  host.minict('create', 'l1', '--no-network', '--service', 'echo up; (setsid sleep 300 >/dev/null 2>&1 &)');
  expect(host.minict('start', 'l1')).toEqual(done);
  expect(supervisorsOf(host, 'l1')).toEqual([]);
  expect(logs().stdout).toBe('up\n');
});

test('a start that is killed leaves a writer for the daemons of its services', async () => {
  const service = '(until [ -e /go ]; do sleep 0.02; done; echo late; exec sleep 300) & echo early';
  host.minict('create', 'l1', '--no-network', '--service', service, '--service', 'exec sleep 300');
  const start = host.spawn([MINICT, 'start', 'l1']);
  expect(await eventually(() => logs().stdout === 'early\n')).toBe(true);
  start.kill('SIGKILL');
  await start.exited;
  host.minict('exec', 'l1', 'touch', '/go');
  expect(await eventually(() => logs().stdout === 'early\nlate\n')).toBe(true);
});

test('-f goes on while a service runs, of a container without a main command', async () => {
  host.minict('create', 'l9', '--no-network', '--service', '(echo one; sleep 1; echo two) &');
  host.minict('start', 'l9');
  const followed = host.minict('logs', '-f', 'l9');
  expect(followed).toEqual({ status: 0, stdout: 'one\ntwo\n', stderr: '' });
  host.minict('rm', '-f', 'l9');
});
