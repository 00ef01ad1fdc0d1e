/** `start -a`: the main command of a container that was made before, with its caller. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { inspect, programsOf } from '../helpers/processes.ts';
import { printScript } from '../helpers/script.ts';
import { Terminal } from '../helpers/terminal.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
});
afterAll(() => host.destroy());
afterEach(() => {
  host.minict('rm', '-f', 's1');
});

function made(words: readonly string[], script: string): void {
  expect(host.minict('create', ...words, 's1', '--', 'sh', '-c', script)).toMatchObject({ status: 0, stderr: '' });
}

/** Ends with 4 when it is asked to, or when /go is there. */
const waits = 'trap "echo caught; exit 4" TERM; echo up; while [ ! -e /go ]; do sleep 0.02; done; echo gone; exit 6';

/** Under way, and its program has said `up`. */
async function attached(...words: string[]) {
  const child = host.spawn([MINICT, 'start', ...words, 's1']);
  const reader = child.stdout.getReader();
  expect(new TextDecoder().decode((await reader.read()).value)).toBe('up\n');
  return { child, rest: async () => new TextDecoder().decode((await reader.read()).value) };
}

test.each([[[]], [['--runtime', 'crun']], [['--pid', 'private', '--init']]])(
  'start -a of %j: output and exit status, time and again, and nothing in the log',
  (words) => {
    made(words, 'echo out; echo err >&2; exit 3');
    for (let count = 1; count <= 2; count += 1) {
      expect(host.minict('start', '-a', 's1')).toEqual({ status: 3, stdout: 'out\n', stderr: 'err\n' });
      expect(inspect(host, 's1').status).toMatchObject({ state: 'ready', exitCode: 3 });
    }
    expect(host.minict('logs', 's1')).toEqual({ status: 0, stdout: '', stderr: '' });
  },
);

test('stdin is for the program with -i, which stays by itself; with -a alone it is empty', () => {
  made([], 'cat; echo end');
  const typed = (option: string) => host.run(['sh', '-c', 'echo typed | "$@"', 'sh', MINICT, 'start', option, 's1']);
  expect(typed('-i')).toEqual({ status: 0, stdout: 'typed\nend\n', stderr: '' });
  expect(typed('-ai')).toEqual({ status: 0, stdout: 'typed\nend\n', stderr: '' });
  expect(typed('-a')).toEqual({ status: 0, stdout: 'end\n', stderr: '' });
});

test('a signal to it is for the program', async () => {
  made([], waits);
  const { child, rest } = await attached('-a');
  child.kill('SIGTERM');
  expect(await rest()).toBe('caught\n');
  expect(await child.exited).toBe(4);
});

test('on a terminal the program has it', async () => {
  made([], 'stty size; read word; echo "<$word>"; exit 5');
  const terminal = new Terminal(host, [MINICT, 'start', '-ai', 's1']);
  try {
    await terminal.shows(/24 80\r\n/);
    terminal.type('word\n');
    await terminal.shows(/<word>\r\n/);
    expect(await terminal.status()).toBe(5);
  } finally {
    terminal.close();
  }
});

test('one that runs is followed to its end', async () => {
  made([], waits);
  expect(host.minict('start', 's1').status).toBe(0);
  expect(await eventually(() => host.minict('logs', 's1').stdout === 'up\n')).toBe(true);
  const child = host.spawn([MINICT, 'start', '-a', 's1']);
  const isFollowed = () => host.run(['sh', '-c', `ls -l /proc/${child.pid}/fd`]).stdout.includes('/log');
  expect(await eventually(isFollowed)).toBe(true);
  host.minict('exec', 's1', 'touch', '/go');
  expect(await new Response(child.stdout).text()).toBe('gone\n');
  expect(await child.exited).toBe(6);
  expect(programsOf(host, 's1')).toEqual([]);
});

test('one that is started again is followed until it is not', () => {
  made(['--restart', 'on-failure:2'], 'echo one; exit 4');
  expect(host.minict('start', '-a', 's1')).toEqual({ status: 4, stdout: 'one\none\none\n', stderr: '' });
});

test('a signal for one that a restart policy starts again ends the following, too', async () => {
  made(['--restart', 'always'], waits);
  expect(host.minict('start', 's1').status).toBe(0);
  const child = host.spawn([MINICT, 'attach', 's1']);
  const isFollowed = () => host.run(['sh', '-c', `ls -l /proc/${child.pid}/fd`]).stdout.includes('/log');
  expect(await eventually(isFollowed)).toBe(true);
  child.kill('SIGTERM');
  expect(await child.exited).toBe(4);
  expect(await eventually(() => JSON.stringify(inspect(host, 's1').status).includes('"restarts":1'))).toBe(true);
});

test('one with a policy that has ended at once has said all, and its status is told', () => {
  made(['--restart', 'on-failure:1'], 'echo all; exit 0');
  for (let count = 0; count < 5; count += 1) {
    expect(host.minict('start', '-a', 's1')).toEqual({ status: 0, stdout: 'all\n', stderr: '' });
  }
});

test('what a stop took away is there again', () => {
  made([], 'ip -4 addr show dev eth0 | grep -c inet; hostname');
  expect(host.minict('stop', 's1').status).toBe(0);
  expect(host.minict('start', '-a', 's1')).toEqual({ status: 0, stdout: '1\ns1\n', stderr: '' });
});

test('a program that is not there: 127', () => {
  expect(host.minict('create', 's1', '--', '/bin/nothing').status).toBe(0);
  expect(host.minict('start', '-a', 's1').status).toBe(127);
});

test.each([
  [['-a', 's1', 's2'], /^minict: cannot stay with 2 containers: -a is for one container\nhint: /],
  [['-i', '--boot', 's1'], /^minict: cannot stay at boot: -a is for one container\nhint: leave out --boot\n$/],
  [['-a', 'nobody'], /^minict: cannot find container nobody: no such container\n/],
  [
    ['-a', 's1'],
    /^minict: cannot attach to s1: it has no main command\nhint: minict logs -f s1; minict exec -it s1 sh\n$/,
  ],
])('start %j is refused, and starts nothing', (words, message) => {
  expect(host.minict('create', 's1', '--service', 'touch /ran').status).toBe(0);
  expectRefused(host.minict('start', ...words), message);
  expect(host.minict('exec', 's1', 'test', '-e', '/ran')).toEqual({ status: 1, stdout: '', stderr: '' });
});

test('printed, it is a script that stays with the program', () => {
  made([], 'echo "$(hostname): $(cat)"; exit 7');
  host.minict('stop', 's1');
  const script = printScript(host, 'start', '-a', 's1', '--dry-run');
  expect(host.run(['sh'], {}, script)).toEqual({ status: 7, stdout: 's1: \n', stderr: '' });
});
