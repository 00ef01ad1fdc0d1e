/** A create with a PID namespace of its own: each of its host commands, PID 1, and minict while that starts, fail or are killed. */
import { readdirSync, readlinkSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { childrenOf } from '../../src/process/supervisor.ts';
import { expectCreated } from '../helpers/expect.ts';
import { KILLS, runRefused } from '../helpers/faults.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { commandsIn } from '../helpers/processes.ts';
import { failAtCommands, killAtCommands, MANY_POINTS } from '../helpers/recovery.ts';
import type { Snapshot } from '../helpers/snapshot.ts';

let host: Host;
let clean: Snapshot;
beforeAll(async () => {
  host = await Host.create();
  // What all containers share is there, and what those share that have a namespace more.
  host.minict('create', 'keep', '--ipc', 'private');
  clean = host.snapshot();
});
afterAll(() => host.destroy());

async function removed(name: string): Promise<void> {
  expect(host.minict('rm', '-f', name)).toEqual({ status: 0, stdout: `${name}\n`, stderr: '' });
  expect(await host.settled(clean)).toEqual(clean);
}

const options = ['--no-network', '--pid', 'private', '--ipc', 'private'];
const verb = {
  title: '',
  words: ['create', 'f1', ...options],
  options,
  before: [],
  atomic: true,
  commands: 1,
  changes: 0,
};
test('fails before it does anything', MANY_POINTS, async () => {
  expect(await failAtCommands(host, verb, clean, 'fails before it does anything')).toBeGreaterThanOrEqual(
    verb.commands,
  );
});
test.each(KILLS)('%s', MANY_POINTS, async (fault) => {
  expect(await killAtCommands(host, verb, clean, fault)).toBeGreaterThanOrEqual(verb.commands);
});

const traced = (inject: string) => [
  ...['strace', '-f', '-o', '/dev/null', '-e', `inject=${inject}`, MINICT],
  ...verb.words,
];

// setsid(2) is PID 1's, and clone(2) of who starts it; in its place a shell forks, and cannot either.
test.each([
  [
    'setsid:error=EPERM',
    /PID 1 of a PID namespace, and \/proc of that: \S+catatonit does not run in its root: setsid: EPERM/,
  ],
  ['setsid:signal=SIGKILL', /PID 1 of a PID namespace, and \/proc of that: /],
  ['clone:error=EAGAIN', /PID 1 of a PID namespace, and \/proc of that: .*Cannot fork/],
])('PID 1 meets %s: one clear error, and nothing is left', async (inject, message) => {
  const { status, stderr } = host.run(traced(inject));
  expect(stderr).toMatch(message);
  expect([status, stderr.split('\n').length]).toEqual([125, 2]);
  expect(await host.settled(clean)).toEqual(clean);
});

test('where the kernel refuses what starts PID 1, a tool does it', async () => {
  expect(runRefused(host, verb.words, 'memfd_create', { alone: true })).toMatchObject({
    status: 0,
    stdout: 'f1\n',
    stderr: '',
    tools: expect.arrayContaining(['nsenter', 'unshare']),
  });
  expect(commandsIn(host, 'f1')).toHaveLength(2);
  await removed('f1');
});

test('minict killed while PID 1 starts', async () => {
  const strace = host.spawn(traced('setsid:delay_enter=400000'));
  const starting = () =>
    readdirSync('/proc').find((pid) => {
      try {
        return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/exe`).includes('memfd:minict-init');
      } catch {
        return false;
      }
    });
  expect(await eventually(() => starting() !== undefined)).toBe(true);
  const [minict = 0] = childrenOf(strace.pid);
  process.kill(minict, 'SIGKILL');
  expect(host.minict('ps', '-a')).toMatchObject({ status: 0, stderr: '' });
  expectCreated(host, 'f1', ...options);
  expect(commandsIn(host, 'f1')).toHaveLength(2);
  await strace.exited;
  await removed('f1');
});
