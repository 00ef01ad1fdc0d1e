/** What is told of the past: events, when a main command began and ended, and who waits for it. */
import { appendFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { inspect, isAlive, programsOf, supervisorsOf } from '../helpers/processes.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
});
afterAll(() => host.destroy());
afterEach(() => {
  host.minict('rm', '-f', 'e1');
});

const done = { status: 0, stdout: 'e1\n', stderr: '' };
const run = (...words: string[]) => host.minict('run', '-d', '--no-network', 'e1', '--', ...words);
const events = (...words: string[]) => host.minict('events', '--no-stream', '--format', 'json', ...words);
const parsed = (text: string) =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
/** Without their times, which never go back. */
function since(begin: number, ...words: string[]) {
  const all = parsed(events('--since', String(begin / 1000), ...words).stdout);
  const times = all.map(({ time }) => Date.parse(time));
  for (const time of times) expect(time).toBeGreaterThanOrEqual(begin);
  return all.map(({ time: _, ...rest }) => rest);
}
const container = (action: string, more = {}) => ({ type: 'container', action, name: 'e1', ...more });

test('each verb says what it did, and the supervisor how the program ended', () => {
  const begin = Date.now();
  expect(run('sleep', '300')).toEqual(done);
  for (const verb of ['pause', 'unpause', 'kill']) expect(host.minict(verb, 'e1')).toEqual(done);
  expect(host.minict('wait', 'e1').stdout).toBe('137\n');
  host.minict('network', 'create', 'lan');
  host.minict('network', 'connect', 'lan', 'e1');
  host.minict('network', 'disconnect', 'lan', 'e1');
  host.minict('network', 'rm', 'lan');
  expect(host.minict('stop', 'e1')).toEqual(done);
  host.minict('rename', 'e1', 'e2');
  host.minict('rename', 'e2', 'e1');
  expect(host.minict('rm', 'e1')).toEqual(done);
  // A refusal is none.
  host.minict('start', 'e1');
  const network = (action: string, more = {}) => ({ type: 'network', action, name: 'lan', ...more });
  expect(since(begin)).toEqual([
    ...[container('create'), container('start'), container('pause'), container('unpause')],
    ...[container('kill', { signal: 9 }), container('die', { exitCode: 137 })],
    network('create'),
    ...['connect', 'disconnect'].map((action) => network(action, { container: 'e1' })),
    network('rm'),
    container('stop'),
    container('rename', { name: 'e2', oldName: 'e1' }),
    container('rename', { oldName: 'e2' }),
    container('rm'),
  ]);
  const only = (...filters: string[]) => since(begin, ...filters.flatMap((filter) => ['--filter', filter]));
  expect(only('event=die')).toEqual([container('die', { exitCode: 137 })]);
  expect(only('type=network', 'event=rm')).toEqual([network('rm')]);
  expect(only('container=e2').map(({ action }) => action)).toEqual(['rename']);
  expect(only('network=lan', 'event=connect', 'event=disconnect')).toHaveLength(2);
});

test('times of an attached run; --until; the table', () => {
  const begin = Date.now();
  expect(host.minict('run', '--rm', '--no-network', 'e1', '--', 'sh', '-c', 'sleep 0.1; exit 4').status).toBe(4);
  const end = Date.now();
  const all = parsed(events('--since', String(begin / 1000)).stdout);
  const timeOf = (action: string) => Date.parse(all.find((event) => event.action === action).time);
  // Hundredths are what the supervisor counts in.
  expect(timeOf('die') - timeOf('start')).toBeGreaterThanOrEqual(80);
  expect(timeOf('die')).toBeLessThanOrEqual(end + 20);
  expect(since(begin, '--until', new Date(timeOf('start')).toISOString()).at(-1)).toEqual(container('start'));
  const table = host.minict('events', '--no-stream', '--since', String(begin / 1000), '--filter', 'event=die').stdout;
  expect(table).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z container die e1 \(exitCode=4\)\n$/);
});

test('it goes on until it is told to end, or until a time', async () => {
  const stream = host.spawn([MINICT, 'events', '--format', 'json', '--filter', 'container=e1']);
  const reader = stream.stdout.getReader();
  // Whatever comes first was made after it had begun.
  const ticks = { stop: false };
  const ticking = (async () => {
    for (; !ticks.stop; await Bun.sleep(50)) {
      host.minict('create', 'e1', '--no-network');
      host.minict('rm', 'e1');
    }
  })();
  const first = new TextDecoder().decode((await reader.read()).value);
  ticks.stop = true;
  await ticking;
  expect(parsed(first)[0]).toMatchObject({ type: 'container', name: 'e1' });
  stream.kill();
  await stream.exited;
  expect(host.minict('events', '--since', '1h', '--until', String(Date.now() / 1000)).status).toBe(0);
});

test('its file is bounded, damage in it is passed over, and it is followed over a new one', async () => {
  const path = join(host.root, 'events');
  const filler = JSON.stringify({ time: 1, type: 'container', action: 'create', name: 'x'.repeat(60) });
  writeFileSync(path, `${filler}\n`.repeat(10000));
  expect(statSync(path).size).toBeGreaterThan(1024 ** 2);
  appendFileSync(path, 'null\n{"time":\n[]\n"\n');
  const begin = Date.now();
  expect(host.minict('create', 'e1', '--no-network')).toEqual(done);
  expect(host.minict('rm', 'e1')).toEqual(done);
  expect(since(begin)).toEqual([container('create'), container('rm')]);
  expect(readFileSync(path, 'utf8').split('\n')).toHaveLength(2);
  expect(events().stdout.split('\n')).toHaveLength(10003);
});

test('a full disk does not keep a verb from its work', () => {
  host.run(['rm', '-f', join(host.root, 'events')]);
  host.run(['ln', '-s', '/dev/full', join(host.root, 'events')]);
  expect(run('true')).toEqual(done);
  expect(host.minict('wait', 'e1').stdout).toBe('0\n');
  host.run(['rm', join(host.root, 'events')]);
});

test.each([
  [
    ['--filter', 'nope=x'],
    /^minict: cannot use --filter 'nope=x': not K=V with K one of container, network, event, type\n/,
  ],
  [['--since', 'then'], /^minict: cannot use --since "then": not a time\n/],
  [['--until', '1y'], /^minict: cannot use --until "1y": not a time\n/],
  [['--format', 'xml'], /^minict: cannot use --format xml: table or json\n/],
])('events %j is refused', (words, message) => {
  expectRefused(host.minict('events', '--no-stream', ...words), message);
});

test('inspect and ps tell when it began, and how and when it ended', async () => {
  const begin = Date.now();
  expect(run('sh', '-c', 'until [ -e /go ]; do sleep 0.02; done; exit 3')).toEqual(done);
  const up = inspect(host, 'e1').status as unknown as Record<string, string>;
  expect(up).toMatchObject({ state: 'running', startedAt: expect.any(String) });
  expect(up).not.toHaveProperty('finishedAt');
  host.minict('exec', 'e1', 'touch', '/go');
  expect(host.minict('wait', 'e1').stdout).toBe('3\n');
  const end = inspect(host, 'e1').status as unknown as Record<string, string>;
  expect(end).toMatchObject({ state: 'ready', exitCode: 3, startedAt: up.startedAt });
  const times = [up.startedAt, end.finishedAt].map((time) => Date.parse(time as string));
  expect(times[0]).toBeGreaterThanOrEqual(begin);
  expect(times[1]).toBeGreaterThanOrEqual((times[0] as number) - 20);
  expect(times[1]).toBeLessThanOrEqual(Date.now() + 20);
  // As if that had been long ago.
  const record = join(inspect(host, 'e1').folder, 'exit');
  const shown = (startedAgo: number, finishedAgo: number) => {
    const now = Date.now();
    writeFileSync(record, `started ${now - startedAgo}\nexited 137 ${now - finishedAgo}\n`);
    return /e1 +(.*?) {2,}/.exec(host.minict('ps').stdout)?.[1];
  };
  expect(shown(400_000, 190_000)).toBe('ready, exited (137) 3 minutes ago');
  expect(shown(400_000_000, 90_000_000)).toBe('ready, exited (137) 1 day ago');
});

test('a supervisor that somebody killed is noticed, and restart mends it', async () => {
  expect(run('sleep', '300')).toEqual(done);
  const [program] = programsOf(host, 'e1') as [number];
  const supervisor = supervisorsOf(host, 'e1').find((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sh\n');
  process.kill(supervisor as number, 'SIGKILL');
  expect(await eventually(() => !isAlive(supervisor as number))).toBe(true);
  expect(inspect(host, 'e1').status).toMatchObject({ state: 'broken', missing: ['who waits for its main command'] });
  expectRefused(
    host.minict('start', 'e1'),
    /^minict: cannot start e1: who waited for its main command was killed, and that runs on\nhint: minict restart e1\n$/,
  );
  expect(isAlive(program)).toBe(true);
  expect(host.minict('restart', '-t', '1', 'e1')).toEqual(done);
  expect(isAlive(program)).toBe(false);
  expect(inspect(host, 'e1').status.state).toBe('running');
});

test('one that was killed with its program is started again by start', async () => {
  expect(run('sleep', '300')).toEqual(done);
  const pids = [...supervisorsOf(host, 'e1'), ...programsOf(host, 'e1')];
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  expect(await eventually(() => !pids.some(isAlive))).toBe(true);
  expect(inspect(host, 'e1').status.state).toBe('ready');
  expectRefused(host.minict('wait', 'e1'), /^minict: cannot tell how e1 ended: its supervisor was killed\n$/);
  expect(host.minict('start', 'e1')).toEqual(done);
  expect(inspect(host, 'e1').status.state).toBe('running');
});
