import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Host, MINICT } from '../helpers/host.ts';
import { Terminal } from '../helpers/terminal.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
  host.minict('create', 't1');
});
afterAll(() => host.destroy());

/** Says when it has the foreground: what is typed before that is for the shell. */
const JOB = `sh -c 'trap "echo $0 goes on" CONT; echo $0 begins; while :; do sleep 0.1; done' job\n`;

const SHELL = ['sh', '-c', 'PS1="ready> " exec sh'];

describe.each(['exec -it', 'bare nsenter and chroot', 'run --rm -it'] as const)('%s on a terminal', (way) => {
  let terminal: Terminal;
  // The program of a failed test is hung up on.
  afterEach(() => terminal.close());

  function open(program: readonly string[]): Terminal {
    const bare = ['nsenter', '--mount=/run/mntns/t1', '--net=/run/netns/t1', '--uts=/run/utsns/t1', 'chroot'];
    const words: Record<typeof way, string[]> = {
      'exec -it': [MINICT, 'exec', '-it', 't1'],
      'run --rm -it': [MINICT, 'run', '--rm', '-it', 't2', '--'],
      'bare nsenter and chroot': [...bare, join(host.root, 'containers/t1/rootfs')],
    };
    terminal = new Terminal(host, [...words[way], ...program]);
    return terminal;
  }

  test('a shell: Ctrl-C, Ctrl-Z, jobs, the size of the window, and its exit status', async () => {
    open(SHELL);
    await terminal.shows(/ready> /);
    terminal.type('stty size; echo $TERM\n');
    expect(await terminal.shows(/\d+ \d+\r\nxterm\r\n/)).toBe('24 80\r\nxterm\r\n');
    terminal.resize(100, 30);
    terminal.type('stty size\n');
    expect(await terminal.shows(/\d+ \d+\r\n/)).toBe('30 100\r\n');

    terminal.type(JOB);
    await terminal.shows(/job begins/);
    terminal.type('\x03');
    await terminal.shows(/ready> /);
    terminal.type('echo "status $?"\n');
    expect(await terminal.shows(/status \d+/)).toBe('status 130');

    terminal.type(JOB);
    await terminal.shows(/job begins/);
    terminal.type('\x1a');
    await terminal.shows(/Stopped.*ready> /s);
    terminal.type('jobs\n');
    await terminal.shows(/Stopped.*ready> /s);
    terminal.type('fg\n');
    await terminal.shows(/job goes on/);
    terminal.type('\x03');
    await terminal.shows(/ready> /);
    terminal.type('exit 5\n');
    expect(await terminal.status()).toBe(5);
  });

  test('a program gets Ctrl-C, and is told when the window changes', async () => {
    const script =
      'trap "echo changed" WINCH; trap "echo interrupted; exit 4" INT; echo up; while :; do sleep 0.1; done';
    open(['sh', '-c', script]);
    await terminal.shows(/up/);
    terminal.resize(70, 20);
    await terminal.shows(/changed/);
    terminal.type('\x03');
    await terminal.shows(/interrupted/);
    expect(await terminal.status()).toBe(4);
  });

  test('a program that Ctrl-C ends', async () => {
    open(['sh', '-c', 'echo up; exec sleep 300']);
    await terminal.shows(/up/);
    terminal.type('\x03');
    expect(await terminal.status()).toBe(130);
  });
});

test('-t without a terminal is refused, and without -t a terminal is passed on', async () => {
  for (const words of [
    ['exec', '-t', 't1'],
    ['run', '-t', 't2', '--'],
  ]) {
    const result = host.minict(...words, 'echo', 'ran');
    expect(result).toMatchObject({ status: 125, stdout: '' });
    expect(result.stderr).toContain('cannot use -t: stdin is no terminal');
  }
  expect(host.minict('ps', '-a', '-q').stdout).toBe('t1\n');
  expect(await new Terminal(host, [MINICT, 'exec', 't1', 'test', '-t', '0']).status()).toBe(0);
});

test('the process of minict becomes the program: signals sent to it are for the program', async () => {
  const script = 'trap "exit 4" TERM; echo $$; while :; do sleep 0.1; done';
  const terminal = new Terminal(host, [MINICT, 'exec', 't1', 'sh', '-c', script]);
  expect(await terminal.shows(/\d+/)).toBe(String(terminal.pid));
  process.kill(terminal.pid, 'SIGTERM');
  expect(await terminal.status()).toBe(4);
});
