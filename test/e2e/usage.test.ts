/** stats and top: what containers use, and which processes they have. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefused } from '../helpers/expect.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { programsOf } from '../helpers/processes.ts';

interface Stats {
  readonly name: string;
  readonly cpuPercent: number;
  readonly memoryBytes: number;
  readonly memoryLimitBytes: number;
  readonly pids: number;
  readonly netReceivedBytes: number;
  readonly netSentBytes: number;
  readonly blockWriteBytes: number;
}

let host: Host;
beforeAll(async () => {
  host = await Host.create();
  // One with limits, of which a cgroup counts; one without.
  const busy = [
    'sh',
    '-c',
    'x=$(head -c 20000000 /dev/zero | tr "\\0" x); touch /ready; while :; do :; done; echo "$x"',
  ];
  expect(host.minict('run', 'limited', '-d', '-m', '256m', '--pids-limit', '50', '--', ...busy).status).toBe(0);
  expect(host.minict('run', 'plain', '-d', '--', ...busy).status).toBe(0);
  expectCreated(host, 'idle');
  const isReady = (name: string) => host.minict('exec', name, 'test', '-e', '/ready').status === 0;
  expect(await eventually(() => ['limited', 'plain'].every(isReady))).toBe(true);
});
afterAll(() => host.destroy());

const stats = (...names: string[]): Stats[] =>
  JSON.parse(host.minict('stats', '--no-stream', '--format', 'json', ...names).stdout);

test('stats of those that run: CPU, memory and its limit, processes', async () => {
  const all = stats();
  expect(all.map(({ name }) => name)).toEqual(['limited', 'plain']);
  // Within the 20 ms of a look, others may have the CPUs.
  expect(await eventually(() => stats().filter(({ cpuPercent }) => cpuPercent > 0).length === 2)).toBe(true);
  for (const { memoryBytes, pids } of all) {
    expect(memoryBytes).toBeGreaterThan(20_000_000);
    expect(memoryBytes).toBeLessThan(200_000_000);
    expect(pids).toBe(1);
  }
  const [limited, plain] = all as [Stats, Stats];
  expect(limited.memoryLimitBytes).toBe(256 * 2 ** 20);
  expect(plain.memoryLimitBytes).toBeGreaterThan(256 * 2 ** 20);
});

test('stats of one that is named, with what it sends and writes; idle, it uses nothing', () => {
  const [before] = stats('idle') as [Stats];
  expect(before).toMatchObject({ cpuPercent: 0, memoryBytes: 0, pids: 0 });
  expect(host.minict('exec', 'idle', 'ping', '-c', '1', '-s', '1000', 'plain').status).toBe(0);
  const [after] = stats('idle') as [Stats];
  expect(after.netSentBytes - before.netSentBytes).toBeGreaterThanOrEqual(1000);
  expect(after.netReceivedBytes - before.netReceivedBytes).toBeGreaterThanOrEqual(1000);
  host.minict('stop', 'idle');
  expect(stats('idle')).toMatchObject([{ cpuPercent: 0, pids: 0 }]);
  expect(host.minict('start', 'idle').status).toBe(0);
});

test.each([
  ['--pid', 'private'],
  ['--runtime', 'crun'],
  ['--runtime', 'nspawn'],
])('stats with %s %s: the programs of the container, and not who waits for them', async (...options) => {
  const main = ['sh', '-c', 'sleep 300 & exec sleep 300'];
  expect(host.minict('run', '-d', '--no-network', ...options, 'inner', '--', ...main).status).toBe(0);
  const child = host.spawn([MINICT, 'exec', 'inner', 'sleep', '300']);
  const shown = () => host.minict('top', 'inner').stdout.match(/sleep 300$/gm)?.length;
  expect(await eventually(() => shown() === 3)).toBe(true);
  expect(stats('inner')).toMatchObject([{ pids: 3 }]);
  expect(programsOf(host, 'inner').length).toBeGreaterThan(3);
  host.minict('rm', '-f', 'inner');
  await child.exited;
});

test('stats as a table, again and again until it is ended, by no process of its own', async () => {
  const once = host.minict('stats', '--no-stream', 'limited');
  expect(once).toMatchObject({ status: 0, stderr: '' });
  expect(once.stdout).toMatch(
    /^NAME +CPU % +MEM USAGE \/ LIMIT +MEM % +PIDS +NET I\/O +BLOCK I\/O\nlimited +\d+\.\d\d% .*\/ 256MiB /,
  );
  expect(once.stdout.split('\n')).toHaveLength(3);
  const child = host.spawn([MINICT, 'stats', '--format', 'json']);
  const reader = (child.stdout as ReadableStream<Uint8Array>).getReader();
  let text = '';
  while (text.split('\n').length < 3) text += new TextDecoder().decode((await reader.read()).value);
  child.kill();
  await child.exited;
  for (const line of text.split('\n').slice(0, 2)) expect(JSON.parse(line)).toHaveLength(2);
  const traced = host.run(['strace', '-f', '-qq', '-e', 'trace=execve', MINICT, 'stats', '--no-stream']);
  expect(traced.stderr.match(/execve\(/g)).toHaveLength(1);
});

test('top shows the processes of the container alone, by their numbers on the host, with any options of ps', () => {
  const [pid] = programsOf(host, 'plain');
  const shown = host.minict('top', 'plain');
  expect(shown).toMatchObject({ status: 0, stderr: '' });
  const [header, ...lines] = shown.stdout.trimEnd().split('\n');
  expect(header).toMatch(/^UID +PID +PPID .* CMD$/);
  expect(lines).toEqual([expect.stringMatching(new RegExp(`^root +${pid} .* sh -c `))]);
  expect(host.minict('top', 'plain', '-e', '-o', 'pid=PID,comm').stdout).toMatch(
    new RegExp(`^ *PID COMMAND\n *${pid} sh\n$`),
  );
  // Of columns that are chosen there may be any, in any order.
  expect(host.minict('top', 'plain', '-eo', 'args,pid').stdout).toMatch(
    new RegExp(`^COMMAND +PID\nsh -c .* ${pid}\n$`),
  );
  expect(host.minict('top', 'plain', '-e', '-o', 'comm').stdout).toBe('COMMAND\nsh\n');
  expect(host.minict('top', 'plain', 'axo', 'args=').stdout).toMatch(/^sh -c [^\n]*\n$/);
  expect(host.minict('top', 'plain', 'aux').stdout).toMatch(new RegExp(`^USER +PID .*\nroot +${pid} [^\n]*\n$`));
  expect(host.minict('top', 'idle').stdout.split('\n')).toHaveLength(2);
  // ps alone would show those of its own user.
  expect(host.minict('exec', '-d', '-u', '1000', 'plain', 'sleep', '299').status).toBe(0);
  expect(host.minict('top', 'plain', '-o', 'pid,args').stdout).toMatch(
    /^ +PID COMMAND\n *\d+ sh .*\n *\d+ sleep 299\n$/,
  );
});

test('bad input', () => {
  expectRefused(host.minict('top', 'plain', 'L'), /what ps prints has no column PID\nhint: -o pid/);
  expectRefused(host.minict('top', 'plain', '--nonsense'), /cannot show processes of plain: error: /);
  host.minict('stop', 'idle');
  expectRefused(host.minict('top', 'idle'), /cannot show processes of idle: it is stopped\nhint: minict start idle\n/);
  expectRefused(host.minict('top', 'none'), /cannot find container none/);
  expectRefused(host.minict('stats', '--no-stream', 'plain', 'none'), /cannot find container none/);
  expectRefused(host.minict('stats', '--format', 'xml'), /cannot use --format xml/);
});
