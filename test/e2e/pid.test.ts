/** Namespaces of a container's own: PID with a reaper, IPC, cgroup, a /dev and a /sys; and how programs in a PID namespace end. */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectCreated, expectRefusedThere } from '../helpers/expect.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { commandsIn, inspect, isAlive, programsOf } from '../helpers/processes.ts';
import { printScript } from '../helpers/script.ts';
import type { Snapshot } from '../helpers/snapshot.ts';
import { Terminal } from '../helpers/terminal.ts';

const ALL = [
  '--init',
  '--ipc',
  'private',
  '--cgroupns',
  'private',
  '--dev',
  'private',
  '--sys',
  'private',
  '--timens',
  'private',
];

let host: Host;
let clean: Snapshot;
beforeAll(async () => {
  host = await Host.create();
  // What all containers share is there, and what those share that have a namespace more.
  host.minict('create', 'keep', '--ipc', 'private');
  clean = host.snapshot();
});
afterAll(() => host.destroy());

const sh = (name: string, line: string) => host.minict('exec', name, 'sh', '-c', line);
/** Of PID 1 and, while they last, of who starts it. */
const initOf = (name: string) =>
  readFileSync(join(dirname(inspect(host, name).cgroup), 'init/cgroup.procs'), 'utf8')
    .split('\n')
    .filter(Boolean);
const isInIt = (pid: number) => statSync(`/proc/${pid}/ns/pid`).ino !== statSync('/proc/self/ns/pid').ino;
const programIn = async (name: string) => {
  await eventually(() => programsOf(host, name).some(isInIt));
  return programsOf(host, name).find(isInIt) as number;
};

async function removed(name: string): Promise<void> {
  expect(host.minict('rm', '-f', name)).toEqual({ status: 0, stdout: `${name}\n`, stderr: '' });
  expect(await host.settled(clean)).toEqual(clean);
}

describe('a container with all of them', () => {
  beforeAll(() => expectCreated(host, 'p1', ...ALL));
  afterAll(() => removed('p1'));

  test('ps shows its own processes, and /proc is of its namespace', () => {
    expect(commandsIn(host, 'p1').map(([pid]) => pid)).toEqual(['1', expect.stringMatching(/^\d+$/)]);
    expect(host.run(['nsenter', '--pid=/run/pidns/p1', 'true']).status).toBe(0);
    expect(sh('p1', 'ls -d /proc/[0-9]* | wc -l').stdout).toMatch(/^[2-5]\n$/);
    expect(initOf('p1')).toHaveLength(1);
    expect(host.minict('ps').stdout).toMatch(/^p1 +ready/m);
    expect(host.minict('exec', 'p1', 'ls', '-l', '/proc/1/root/').stdout).toContain(' var');
    expect(sh('p1', 'tr "\\0" "\\n" </proc/1/environ').stdout).toBe('PATH=/usr/sbin:/usr/bin:/sbin:/bin\n');
  });

  test('the clocks that count from boot began with it', () => {
    const seconds = (text: string) => Number(text.split(' ')[0]);
    expect(seconds(sh('p1', 'cat /proc/uptime').stdout)).toBeLessThan(seconds(readFileSync('/proc/uptime', 'utf8')));
    expect(sh('p1', 'readlink /proc/self/ns/time').stdout.trim()).not.toBe(readlinkSync('/proc/self/ns/time'));
    expect(sh('keep', 'readlink /proc/self/ns/time').stdout.trim()).toBe(readlinkSync('/proc/self/ns/time'));
  });

  test('/sys has the interfaces of its network, and the cgroups of the host', () => {
    expect(sh('p1', 'ls /sys/class/net').stdout).toBe('eth0\nlo\n');
    expect(sh('keep', 'ls /sys/class/net').stdout).toBe(host.run(['ls', '/sys/class/net']).stdout);
    expect(sh('p1', 'cat /sys/class/net/eth0/address').stdout).toBe(
      sh('p1', "ip link show eth0 | sed -n 's/.*ether \\([^ ]*\\).*/\\1/p'").stdout,
    );
    expect(sh('p1', 'ls /sys/fs/cgroup').stdout).toBe(sh('keep', 'ls /sys/fs/cgroup').stdout);
    expect(sh('p1', 'ls /sys/fs/cgroup').stdout).not.toBe('');
  });

  test.each([
    [['sh', '-c', 'exit 7'], 7],
    [['nope'], 127],
    [['/etc'], 126],
    [['sh', '-c', 'kill -TERM $$'], 143],
    [['sh', '-c', 'kill -KILL $$'], 137],
  ])('exec %j gives %i', (words, status) => {
    expect(host.minict('exec', 'p1', ...words).status).toBe(status);
    expect(host.minict('exec', '-u', '1000', '-w', '/tmp', 'p1', ...words).status).toBe(status);
    expect(host.minict('exec', '-d', 'p1', ...words).status).toBe([126, 127].includes(status) ? status : 0);
  });

  test('stdin, environment and signal dispositions are those of any exec', () => {
    expect(host.run([MINICT, 'exec', '-i', '-e', 'A=b c', 'p1', 'sh', '-c', 'cat; echo "$A"'], {}, 'in\n')).toEqual({
      status: 0,
      stdout: 'in\nb c\n',
      stderr: '',
    });
    const ofSignals = 'grep "Sig[BIC]" /proc/self/status; env | grep -v HOSTNAME | sort; ls -l /proc/self/fd | wc -l';
    expect(sh('p1', ofSignals).stdout).toBe(sh('keep', ofSignals).stdout);
    const nohup = [
      'sh',
      '-c',
      `trap '' INT; exec "$0" "$@"`,
      MINICT,
      'exec',
      'p1',
      'grep',
      'SigIgn',
      '/proc/self/status',
    ];
    expect(host.run(nohup).stdout).toMatch(/0000000002\n$/);
  });

  test.each([[[]], [['-u', '1000']]])(
    'exec %j hands signals on, once, and waits for what comes of them',
    async (options) => {
      const trap = 'trap "echo got TERM" TERM; trap "exit 5" USR1; echo ready; while :; do sleep 0.05; done';
      const child = host.spawn([MINICT, 'exec', ...options, 'p1', 'sh', '-c', trap]);
      const reader = (child.stdout as ReadableStream<Uint8Array>).getReader();
      const read = async () => new TextDecoder().decode((await reader.read()).value);
      expect(await read()).toBe('ready\n');
      child.kill('SIGTERM');
      expect(await read()).toBe('got TERM\n');
      child.kill('SIGUSR1');
      expect(await child.exited).toBe(5);
      expect((await reader.read()).done).toBe(true);
    },
  );

  test.each([
    { options: [], signal: 'SIGINT' as const },
    { options: ['-u', '1000'], signal: 'SIGTERM' as const },
    { options: [], signal: 'SIGKILL' as const },
    { options: ['-u', '1000'], signal: 'SIGKILL' as const },
  ])('exec $options, and $signal to it: nothing of it is left', async ({ options, signal }) => {
    const child = host.spawn([MINICT, 'exec', ...options, 'p1', 'sh', '-c', 'trap "" HUP; exec sleep 300']);
    const program = await programIn('p1');
    child.kill(signal);
    await child.exited;
    expect(await eventually(() => !isAlive(program))).toBe(true);
    host.run(['kill', ...programsOf(host, 'p1').map(String)]);
    expect(await eventually(() => programsOf(host, 'p1').length === 0)).toBe(true);
  });

  test('on a terminal ^C is for the program alone, once', async () => {
    const trap = 'trap "echo got" INT; trap "exit 4" QUIT; echo ready; while :; do sleep 0.05; done';
    const terminal = new Terminal(host, [MINICT, 'exec', '-it', 'p1', 'sh', '-c', trap]);
    await terminal.shows(/ready/);
    terminal.type('\x03');
    await terminal.shows(/got/);
    terminal.type('\x1c');
    expect(await terminal.status()).toBe(4);
    expect(terminal.all.match(/got/g)).toHaveLength(1);
    terminal.close();
  });

  test('orphans go to the reaper, and no zombie stays', async () => {
    expect(sh('p1', '(sleep 0.01 & sleep 0.02 &) ; (sleep 300 >/dev/null 2>&1 &)').status).toBe(0);
    expect(await eventually(() => commandsIn(host, 'p1').length === 3)).toBe(true);
    const [orphan = 0] = programsOf(host, 'p1');
    expect(readFileSync(`/proc/${orphan}/status`, 'utf8')).toContain(`PPid:\t${initOf('p1')[0]}\n`);
    expect(host.minict('ps').stdout).toMatch(/^p1 +running/m);
    process.kill(orphan, 'SIGKILL');
    expect(await eventually(() => commandsIn(host, 'p1').length === 2)).toBe(true);
  });

  test('IPC, cgroups and devices are its own', () => {
    const of = (name: string, what: string) => sh(name, `ls -l /proc/self/ns/${what}`).stdout.split('-> ')[1];
    for (const what of ['ipc', 'cgroup', 'pid']) {
      expect(of('p1', what)).toMatch(/:\[\d+\]\n$/);
      expect(of('p1', what)).not.toBe(of('keep', what));
    }
    expect(sh('p1', 'cat /proc/self/cgroup').stdout).not.toContain('minict-');
    expect(sh('keep', 'cat /proc/self/cgroup').stdout).toContain('minict-');
    expect(sh('p1', 'ls /dev').stdout.split('\n').filter(Boolean)).toEqual([
      ...['fd', 'full', 'mqueue', 'null', 'ptmx', 'pts', 'random', 'shm'],
      ...['stderr', 'stdin', 'stdout', 'tty', 'urandom', 'zero'],
    ]);
    expect(sh('p1', 'echo 1 >/dev/shm/mine && ls /dev/shm && head -c3 /dev/zero | wc -c').stdout).toBe('mine\n3\n');
    expect(readdirSync('/dev/shm')).not.toContain('mine');
  });

  test('PID 1 ended by hand: broken, exec says so, start mends', async () => {
    const sleeper = host.spawn([MINICT, 'exec', 'p1', 'sleep', '300']);
    await programIn('p1');
    process.kill(Number(initOf('p1')[0]), 'SIGKILL');
    expect(await sleeper.exited).toBe(137);
    expect(await eventually(() => initOf('p1').length === 0)).toBe(true);
    expect(host.minict('ps').stdout).toMatch(/^p1 +broken \(missing: .*init/m);
    expect(host.minict('exec', 'p1', 'true').status).not.toBe(0);
    expect(host.minict('start', 'p1')).toEqual({ status: 0, stdout: 'p1\n', stderr: '' });
    expect(commandsIn(host, 'p1')).toHaveLength(2);
  });

  test('files are copied, and shown as changed, as of any other', () => {
    expect(sh('p1', 'echo text >/root/file').status).toBe(0);
    expect(host.minict('cp', 'p1:/root/file', '-').stdout).toContain('text');
    expect(host.minict('cp', 'p1:/dev/null', '-').status).toBe(125);
    expect(host.minict('diff', 'p1').stdout).toBe('C /root\nA /root/file\n');
  });
});

describe('its life', () => {
  test('stop asks each program once, by its signal, and ends all; start brings the reaper back', async () => {
    const trap = 'trap "echo TERM >>/root/got" TERM; touch /root/ready; while :; do sleep 0.05; done';
    const run = host.minict('run', '-d', 'p2', ...ALL, '--', 'sh', '-c', trap);
    expect(run).toEqual({ status: 0, stdout: 'p2\n', stderr: '' });
    expect(await eventually(() => sh('p2', 'test -e /root/ready').status === 0)).toBe(true);
    expect(host.minict('stop', '-t', '1', 'p2').status).toBe(0);
    expect(readFileSync(join(inspect(host, 'p2').folder, 'upper/root/got'), 'utf8')).toBe('TERM\n');
    expect(inspect(host, 'p2').status).toMatchObject({ state: 'stopped', exitCode: 137 });
    expect(host.run(['ls', '-A', '/run/pidns']).stdout).toBe('');
    expect(host.minict('start', 'p2').stderr).toBe('');
    expect(commandsIn(host, 'p2').length).toBeGreaterThan(2);
    await removed('p2');
  });

  test('kill reaches the main command itself, by any signal', async () => {
    expect(host.minict('run', '-d', 'p2', '--init', '--', 'sh', '-c', 'exec sleep 300').status).toBe(0);
    await programIn('p2');
    expect(host.minict('kill', '-s', 'KILL', 'p2').status).toBe(0);
    expect(host.minict('wait', 'p2').stdout).toBe('137\n');
    expect(commandsIn(host, 'p2')).toHaveLength(2);
    await removed('p2');
  });

  test('run gives the status of its program, TERM reaches it, and --rm leaves nothing', async () => {
    expect(host.minict('run', '--rm', ...ALL, 'p2', '--', 'sh', '-c', 'exit 9').status).toBe(9);
    const child = host.spawn([
      MINICT,
      'run',
      '--rm',
      ...ALL,
      'p2',
      '--',
      'sh',
      '-c',
      'trap "exit 3" TERM; while :; do sleep 0.05; done',
    ]);
    await eventually(() => host.minict('ps', '-q').stdout.includes('p2') && programsOf(host, 'p2').some(isInIt));
    await Bun.sleep(100);
    child.kill('SIGTERM');
    expect(await child.exited).toBe(3);
    expect(await host.settled(clean)).toEqual(clean);
  });

  test('a clone, and one that was saved and loaded, have the same', async () => {
    expectCreated(host, 'p2', ...ALL);
    expect(host.minict('clone', 'p2', 'p3').stdout).toBe('p3\n');
    const tar = join(host.dir, 'p2.tar');
    expect(host.minict('save-container', 'p2', '-o', tar).stderr).toBe('');
    expect(host.minict('load-container', '-i', tar, '--name', 'p4', '--ip', '192.168.0.99', '--start').stderr).toBe('');
    for (const name of ['p3', 'p4']) expect(commandsIn(host, name)).toHaveLength(2);
    expect(host.minict('rm', '-f', 'p2', 'p3', 'p4').status).toBe(0);
    expect(await host.settled(clean)).toEqual(clean);
  });

  test('the printed scripts of create, stop and rm do the same', async () => {
    const run = (...words: string[]) => {
      expect(host.run(['sh'], {}, printScript(host, ...words))).toMatchObject({ status: 0, stderr: '' });
    };
    const back = printScript(host, 'create', 'p2', ...ALL, '--dry-run-undo');
    run('create', 'p2', ...ALL, '--dry-run');
    const [pid = ''] = host
      .run(['cat', join(dirname(dirname(inspect(host, 'keep').cgroup)), 'p2/init/cgroup.procs')])
      .stdout.split('\n');
    expect(host.run(['readlink', `/proc/${pid}/exe`]).stdout).toBe('/usr/bin/catatonit\n');
    expect(host.run(['sh'], {}, back).status).toBe(0);
    expect(isAlive(Number(pid))).toBe(false);
    expect({ ...(await host.settled(clean)), state: [] }).toEqual({ ...clean, state: [] });
    expectCreated(host, 'p2', ...ALL);
    run('stop', 'p2', '-t', '0', '--dry-run');
    expect(host.run(['ls', '-A', '/run/pidns']).stdout).toBe('');
    expect(host.minict('start', 'p2')).toEqual({ status: 0, stdout: 'p2\n', stderr: '' });
    expect(commandsIn(host, 'p2')).toHaveLength(2);
    await removed('p2');
  });

  test.each([
    [['--pid', 'keep'], /'--pid <whose>' argument 'keep' is invalid/],
    [['--pid', 'host', '--init'], /cannot use --init and --pid host together/],
    [['--pid', 'private', '--mounts', 'host'], /cannot use --pid private and --mounts host together/],
    [['--dev', 'private', '--mounts', 'host'], /cannot use --dev private and --mounts host together/],
  ])('%j is refused', (options, message) => expectRefusedThere(host, ['create', 'p2', ...options], message));

  test('without catatonit on the host it says which package has it', () => {
    const path = join(host.dir, 'path');
    host.run(['sh', '-c', 'mkdir "$0"; ln -s -t "$0" /usr/bin/* /usr/sbin/* 2>/dev/null; rm "$0/catatonit"', path]);
    expect(host.run(['env', `PATH=${path}`, MINICT, 'create', 'p2', '--init']).stderr).toBe(
      'minict: cannot run catatonit: not found in PATH\nhint: apt-get install catatonit\n',
    );
  });
});

test('after a reboot it starts with a reaper again', async () => {
  expectCreated(host, 'p2', ...ALL);
  await host.reboot();
  expect(host.minict('start', 'p2')).toEqual({ status: 0, stdout: 'p2\n', stderr: '' });
  expect(commandsIn(host, 'p2')).toHaveLength(2);
  expect(host.minict('rm', '-f', 'p2').status).toBe(0);
});
