/** What holds for every runtime: programs with status, stdin, signals and a terminal; stop, names, addresses, files, logs. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { inspect, isAlive, programsOf } from '../helpers/processes.ts';
import { printScript } from '../helpers/script.ts';
import type { Snapshot } from '../helpers/snapshot.ts';
import { Terminal } from '../helpers/terminal.ts';

/** `hardFiles`: the soft limit of open files is the hard one. */
const RUNTIMES: { title: string; options: string[]; hardFiles?: true }[] = [
  { title: 'chroot', options: ['--runtime', 'chroot'] },
  { title: 'chroot, PID namespace', options: ['--pid', 'private'] },
  { title: 'crun', options: ['--runtime', 'crun'] },
  { title: 'nspawn', options: ['--runtime', 'nspawn'] },
  { title: 'crun, hardened', options: ['--profile', 'hardened'] },
  { title: 'crun, user namespace', options: ['--runtime', 'crun', '--userns', 'auto', '--timens', 'private'] },
  { title: 'runc, hardened', options: ['--runtime', 'runc', '--profile', 'hardened'], hardFiles: true },
];

const LOOP = 'while :; do sleep 0.05; done';

describe.each(RUNTIMES)('$title', ({ options, hardFiles }) => {
  let host: Host;
  let clean: Snapshot;
  let shared: string;
  const ok = (...words: string[]) => {
    const result = host.minict(...words);
    expect(result, words.join(' ')).toMatchObject({ status: 0, stderr: '' });
    return result.stdout;
  };
  const sh = (line: string) => host.minict('exec', 'c', 'sh', '-c', line);
  const removed = async () => {
    ok('rm', '-f', 'c');
    expect(await host.settled(clean)).toEqual(clean);
  };

  beforeAll(async () => {
    host = await Host.create();
    shared = join(host.dir, 'shared');
    mkdirSync(shared);
    writeFileSync(join(shared, 'file'), 'of the host\n');
    ok('create', 'keep', '--ipc', 'private', '--pids-limit', '1000');
    clean = host.snapshot();
    ok('create', 'c', ...options, '--hostname', 'its', '-v', `${shared}:/shared:ro`, '--tmpfs', '/mem', '-e', 'OF=all');
  });
  afterAll(() => host.destroy());

  test.each<[string[], number, string[]?]>([
    [['sh', '-c', 'exit 7'], 7],
    [['sh', '-c', 'exit 255'], 255],
    [['nope'], 127],
    [['/nope'], 127],
    [['/etc'], 126],
    [['true'], 126, ['-w', '/nowhere']],
    [['sh', '-c', 'kill -TERM $$'], 143],
    [['sh', '-c', 'kill -KILL $$'], 137],
  ])('exec %j gives %i', (words, status, given: string[] = []) => {
    expect(host.minict('exec', ...given, 'c', ...words).status).toBe(status);
    expect(host.minict('exec', '-d', ...given, 'c', ...words).status).toBe([126, 127].includes(status) ? status : 0);
  });

  test('stdin, output, environment, user, groups and directory', () => {
    const line = 'cat; echo err >&2; echo "$OF $A"; id -u; id -g; pwd; umask; ulimit -Sn';
    const files = hardFiles ? host.run(['sh', '-c', 'ulimit -Hn']).stdout : '1024\n';
    const words = [MINICT, 'exec', '-i', '-e', 'A=b c', '-u', '1000:5', '-w', '/tmp', 'c', 'sh', '-c', line];
    expect(host.run(words, {}, 'in\n')).toEqual({
      status: 0,
      stdout: `in\nall b c\n1000\n5\n/tmp\n0022\n${files}`,
      stderr: 'err\n',
    });
    expect(sh('cat; echo end').stdout).toBe('end\n');
    expect(sh('ls /proc/self/fd | wc -l').stdout).toBe('4\n');
    expect(ok('exec', 'c', 'grep', 'Sig[BI]', '/proc/self/status')).toBe(
      `SigBlk:\t${'0'.repeat(16)}\nSigIgn:\t${'0'.repeat(16)}\n`,
    );
  });

  test.each([['SIGTERM' as const], ['SIGINT' as const]])('%s to exec is for the program', async (signal) => {
    const trap = `trap "echo got; exit 5" ${signal.slice(3)}; echo ready; ${LOOP}`;
    const child = host.spawn([MINICT, 'exec', 'c', 'sh', '-c', trap]);
    const reader = (child.stdout as ReadableStream<Uint8Array>).getReader();
    const read = async () => new TextDecoder().decode((await reader.read()).value);
    expect(await read()).toBe('ready\n');
    child.kill(signal);
    expect(await read()).toBe('got\n');
    expect(await child.exited).toBe(5);
  });

  test('where exec is killed, its program ends', async () => {
    const child = host.spawn([MINICT, 'exec', '-u', '1000', 'c', 'sh', '-c', 'echo ready; exec sleep 300']);
    await (child.stdout as ReadableStream<Uint8Array>).getReader().read();
    expect(programsOf(host, 'c').length).toBeGreaterThan(0);
    child.kill('SIGKILL');
    expect(await eventually(() => !programsOf(host, 'c').some(isAlive))).toBe(true);
  });

  test('a terminal: its size, ^C for the program, and its status', async () => {
    const trap = `trap "echo got" INT; trap "exit 4" QUIT; until stty size | grep "24 80"; do sleep 0.02; done; echo ready; ${LOOP}`;
    const terminal = new Terminal(host, [MINICT, 'exec', '-it', 'c', 'sh', '-c', trap]);
    await terminal.shows(/24 80\s+ready/);
    terminal.type('\x03');
    await terminal.shows(/got/);
    terminal.type('\x1c');
    expect(await terminal.status()).toBe(4);
    terminal.close();
  });

  test('host name, address, name of a neighbour, /sys of its network', () => {
    expect(sh('hostname; cat /etc/hostname').stdout).toBe('its\nits\n');
    expect(sh('ping -c1 -W5 keep >/dev/null; echo $?').stdout).toBe('0\n');
    expect(host.run(['ping', '-c1', '-W5', JSON.parse(ok('inspect', 'c'))[0].address]).status).toBe(0);
  });

  test('its files, what is mounted in them, and copies', () => {
    expect(sh('cat /shared/file; echo x >/shared/file').stdout).toBe('of the host\n');
    expect(sh('echo x >/mem/file && grep -c " /mem tmpfs" /proc/self/mounts && echo text >/root/file').stdout).toBe(
      '1\n',
    );
    expect(host.minict('cp', 'c:/root/file', '-').stdout).toContain('text');
    expect(
      host.run([MINICT, 'cp', '-', 'c:/root'], {}, host.run(['tar', 'c', '-C', shared, 'file']).stdout).status,
    ).toBe(0);
    expect(sh('cat /root/file').stdout).toBe('of the host\n');
    expect(ok('diff', 'c')).toBe('C /root\nA /root/file\n');
  });

  test('stop ends all, start brings it back with its files; the same after a reboot', async () => {
    ok('exec', '-d', 'c', 'sleep', '300');
    // One that ignores TERM and stops itself, and one with a zombie.
    ok('exec', '-d', 'c', 'sh', '-c', 'trap "" TERM; kill -STOP $$; sleep 300');
    ok('exec', '-d', 'c', 'sh', '-c', '(exec true) & exec sleep 300');
    expect(await eventually(() => ok('top', 'c', '-o', 'pid,stat,args').includes(' T'))).toBe(true);
    const programs = programsOf(host, 'c');
    expect(ok('ps')).toMatch(/^c +running /m);
    ok('stop', '-t', '0', 'c');
    expect(programs.some(isAlive)).toBe(false);
    expect(ok('ps', '-a')).toMatch(/^c +stopped /m);
    ok('start', 'c');
    expect(sh('cat /root/file; hostname').stdout).toBe('of the host\nits\n');
    await host.reboot();
    ok('start', 'c');
    expect(sh('cat /root/file; hostname').stdout).toBe('of the host\nits\n');
    ok('rm', '-f', 'c');
    ok('start', 'keep');
    expect(await host.linksGone(/ c-eth0/)).toBe(true);
    clean = host.snapshot();
  });

  test('a main command: its log, its user, TERM by stop, its status; services', async () => {
    const trap = `trap "echo TERM; exit 3" TERM; id -u; ${LOOP}`;
    ok('run', '-d', '-u', '1000', 'c', ...options, '--', 'sh', '-c', trap);
    expect(await eventually(() => host.minict('logs', 'c').stdout === '1000\n')).toBe(true);
    ok('stop', '-t', '5', 'c');
    // A shell may tell how its child ended; runc hands stdout and stderr on by a pipe each.
    expect(ok('logs', 'c')).toMatch(/^1000\n(Terminated\nTERM|TERM|TERM\nTerminated)\n$/);
    expect(inspect(host, 'c').status).toMatchObject({ state: 'stopped', exitCode: 3 });
    ok('start', 'c');
    await eventually(() => host.minict('logs', 'c').stdout.endsWith('1000\n'));
    ok('kill', '-s', 'KILL', 'c');
    expect(ok('wait', 'c')).toBe('137\n');
    await removed();
    expect(host.minict('run', '-d', 'c', ...options, '--', 'nope').status).toBe(127);
    await removed();
    ok('create', 'c', ...options, '--service', 'echo begun', '--service', 'sleep 300 &', '--stop-cmd', 'sleep 300 &');
    ok('start', 'c');
    expect(ok('logs', 'c')).toBe('begun\n');
    expect(programsOf(host, 'c').length).toBeGreaterThan(0);
    ok('exec', '-d', 'c', 'sh', '-c', 'sleep 300 & exit 3');
    const all = programsOf(host, 'c');
    ok('stop', '-t', '1', 'c');
    expect(all.some(isAlive)).toBe(false);
    await removed();
    const failing = 'echo why >&2; exit 9';
    ok('create', 'c', ...options, '--service', 'sleep 300 &', '--service', failing);
    expect(host.minict('start', 'c')).toEqual({
      status: 125,
      stdout: '',
      stderr: `minict: cannot start c: service '${failing}' ended with 9\n  why\n`,
    });
    await removed();
  });

  test('run gives output and status of its program, and --rm leaves nothing', async () => {
    const result = host.minict('run', '--rm', ...options, 'c', '--', 'sh', '-c', 'echo out; exit 9');
    expect(result).toEqual({ status: 9, stdout: 'out\n', stderr: '' });
    expect(await host.settled(clean)).toEqual(clean);
  });

  test('limits hold in it', async () => {
    const before = host.snapshot();
    ok('create', 'd', ...options, '--pids-limit', '25', '--ulimit', hardFiles ? 'nofile=99' : 'nofile=99:100');
    expect(ok('exec', 'd', 'sh', '-c', 'ulimit -n')).toBe('99\n');
    const fork = 'for i in 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6; do sleep 1 >/dev/null 2>&1 & done';
    expect(host.minict('exec', 'd', 'sh', '-c', fork).stderr).toContain('fork');
    ok('update', 'd', '--pids-limit', '1');
    const cannot = (what: string) => ({
      status: 125,
      stdout: '',
      stderr: expect.stringMatching(
        new RegExp(`^minict: cannot run ${what}: [^\\n]+\\nhint: [^\\n]+ --pids-limit N\\n$`),
      ),
    });
    const entered = host.minict('exec', 'd', 'true');
    expect(entered).toEqual(options.includes('chroot') ? { status: 0, stdout: '', stderr: '' } : cannot('the program'));
    expect(host.minict('exec', '-d', 'd', 'true')).toEqual(cannot('true in d'));
    ok('update', 'd', '--pids-limit', '100');
    ok('exec', 'd', 'true');
    ok('rm', '-f', 'd');
    expect(await host.settled(before)).toEqual(before);
  });

  test('the printed script makes the same, and its way back takes it away', async () => {
    const undo = printScript(host, 'create', 'c', ...options, '--dry-run-undo');
    expect(host.run(['sh'], {}, printScript(host, 'create', 'c', ...options, '--dry-run'))).toMatchObject({
      status: 0,
      stderr: '',
    });
    expect(host.run(['sh'], {}, undo).status).toBe(0);
    expect({ ...(await host.settled(clean)), state: [], run: [] }).toEqual({ ...clean, state: [], run: [] });
  });
});
