import { existsSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { imageTree } from '../helpers/images.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
  host.minict('create', 'p1', '-e', 'GIVEN=at create');
  const setUp =
    'echo alice:x:1000:1001::/home/alice:/bin/sh >>/etc/passwd; echo 2000:x:3000:3001::/home/odd:/bin/sh >>/etc/passwd; printf "staff:x:50:bob,alice\\nwheel:x:10:bob\\n" >>/etc/group; mkdir -p /srv/data; ln -s /srv/data /link';
  host.minict('exec', 'p1', 'sh', '-c', setUp);
});
afterAll(() => host.destroy());

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const lines = (text: string) => text.split('\n').filter(Boolean).sort();

test.each([
  [['true'], 0],
  [['sh', '-c', 'exit 7'], 7],
  [['nope'], 127],
  [['/etc/hosts'], 126],
  [['/etc'], 126],
  [['sh', '-c', 'kill -TERM $$'], 143],
  [['sh', '-c', 'kill -KILL $$'], 137],
])('exec %j ends with %i', (argv, status) => {
  // A program that a signal ends: the shell that waits sees 128+N, as after bare nsenter and chroot.
  const result = host.run(['sh', '-c', '"$@"; exit $?', 'sh', MINICT, 'exec', 'p1', ...argv]);
  expect(result.status).toBe(status);
});

test('stdin goes in only with -i, byte for byte', () => {
  expect(host.run([MINICT, 'exec', 'p1', 'cat'], {}, 'x').stdout).toBe('');
  expect(host.run([MINICT, 'exec', '-i', 'p1', 'cat'], {}, 'x\0y\r\n').stdout).toBe('x\0y\r\n');
  const loop = 'printf "1\\n2\\n3\\n" | while read -r n; do "$0" exec p1 echo "$n"; done';
  expect(host.run(['sh', '-c', loop, MINICT]).stdout).toBe('1\n2\n3\n');
});

test('what follows the name is the program, options too', () => {
  expect(host.minict('exec', 'p1', 'echo', '-e', '--', '-i', '--help').stdout).toBe('-- -i --help\n');
  expect(host.minict('exec', 'p1', '--', 'echo', '--', '-i').stdout).toBe('-- -i\n');
  expect(host.minict('exec', '-e', 'A=1', 'p1', '--', 'sh', '-c', 'echo $A').stdout).toBe('1\n');
});

test('the environment is built, not inherited', () => {
  const result = host.run([MINICT, 'exec', '-e', 'A=b', 'p1', 'env'], { SECRET: '1', TERM: 'xterm' });
  expect(lines(result.stdout)).toEqual(['A=b', 'GIVEN=at create', 'HOME=/root', 'HOSTNAME=p1', PATH]);
});

test("-e K is the caller's, where it has one", () => {
  const names = ['-e', 'dotted.key=x', '-e', '__proto__=y', '-e', 'constructor'];
  const words = ['-e', 'MINE', '-e', 'UNSET', '-e', 'EMPTY=', '-e', 'GIVEN=a=b', ...names];
  const result = host.run([MINICT, 'exec', ...words, 'p1', 'env'], { MINE: 'yes' });
  expect(lines(result.stdout)).toEqual([
    'EMPTY=',
    'GIVEN=a=b',
    'HOME=/root',
    'HOSTNAME=p1',
    'MINE=yes',
    PATH,
    '__proto__=y',
    'dotted.key=x',
  ]);
});

test("--env-file is docker's: comments, blank lines, K alone, values as they stand; -e wins", () => {
  const file = join(host.root, 'env');
  writeFileSync(file, `# comment\n\n  A=1\nB="quoted # text" \nC=\r\nMINE\nUNSET\nD=late\n`);
  const result = host.run([MINICT, 'exec', '--env-file', file, '-e', 'D=e', 'p1', 'env'], { MINE: 'yes' });
  const own = ['A=1', 'B="quoted # text" ', 'C=', 'D=e', 'MINE=yes'];
  expect(lines(result.stdout).filter((line) => /^([A-D]|MINE|UNSET)=/.test(line))).toEqual(own);
});

test.each([
  [['-e', '=x'], 'not K=V'],
  [['-e', 'a b=x'], 'not K=V'],
  [['--env-file', '/nope'], 'no such file'],
  [['--env-file', '/bin/true'], 'cannot read env file /bin/true'],
])('exec %j is refused', (words, cause) => {
  const result = host.minict('exec', ...words, 'p1', 'echo', 'ran');
  expect(result).toMatchObject({ status: 125, stdout: '' });
  expect(result.stderr).toContain(cause);
});

test('an environment that the kernel does not take is told clearly, by all who would start a program', () => {
  const write = (name: string, count: number, bytes: number) => {
    const file = join(host.root, name);
    writeFileSync(file, Array.from({ length: count }, (_, i) => `V${i}=${'x'.repeat(bytes)}\n`).join(''));
    return ['--env-file', file];
  };
  const tooLong =
    /^minict: cannot run \S+: its words and environment are too long\nhint: at most 128 KiB are a word [^\n]*\n$/;
  expectRefused(host.minict('exec', ...write('one', 1, 128 * 1024), 'p1', 'true'), /V0 is longer than 128 KiB/);
  expect(host.minict('exec', ...write('fits', 1, 128 * 1024 - 4), 'p1', 'true').status).toBe(0);
  const all = write('all', 100, 100_000);
  expectRefused(host.minict('exec', ...all, 'p1', 'true'), tooLong);
  expectRefused(host.minict('exec', '-d', ...all, 'p1', 'true'), tooLong);
  expectRefused(host.minict('run', '-d', '--no-network', ...all, 'long', '--', 'true'), tooLong);
  expect(host.minict('wait', 'long').stdout).toBe('126\n');
  host.minict('rm', 'long');
});

test('umask, descriptors, limits and signals are those of a login, not those of minict or its caller', () => {
  const state = 'grep -E "Umask|SigIgn|SigBlk" /proc/self/status; ulimit -Sn; ls /proc/self/fd';
  const caller = `umask 077; exec 7</dev/null; exec env --block-signal "$0" exec "$@"`;
  const wanted = ['Umask:\t0022', 'SigBlk:\t0000000000000000', 'SigIgn:\t0000000000000000', '1024'];
  // Descriptor 3 is the listing's own.
  const result = host.run(['sh', '-c', caller, MINICT, 'p1', 'sh', '-c', state]);
  expect(result.stdout.split('\n').filter(Boolean)).toEqual([...wanted, '0', '1', '2', '3']);
  // So a program that writes into a closed pipe ends.
  const piped = host.run(['bash', '-c', '"$0" exec p1 yes | head -n 1; echo "$PIPESTATUS"', MINICT]);
  expect(piped.stdout).toBe('y\n141\n');
});

test.each([
  ['alice', '1000 1001 1001 50 /home/alice'],
  ['1000', '1000 1001 1001 50 /home/alice'],
  ['alice:wheel', '1000 10 10 /home/alice'],
  ['alice:77', '1000 77 77 /home/alice'],
  ['2000', '3000 3001 3001 /home/odd'],
  ['4000', '4000 0 0 /'],
  ['4000:staff', '4000 50 50 /'],
])("-u %s is resolved by the container's own files", (user, wanted) => {
  const script = 'echo $(id -u) $(id -g) $(id -G) $HOME';
  expect(host.minict('exec', '-u', user, 'p1', 'sh', '-c', script).stdout).toBe(`${wanted}\n`);
});

test("what create makes is for a container's users too, whatever the caller's umask", () => {
  const create = 'umask 077; MINICT_ROOT=$1 MINICT_RUN_DIR=/run/strict exec "$0" create p2 --no-network';
  const root = join(host.dir, 'strict');
  expect(host.run(['sh', '-c', create, MINICT, root])).toMatchObject({ status: 0, stderr: '' });
  const strict = { MINICT_ROOT: root, MINICT_RUN_DIR: '/run/strict' };
  const read = host.run([MINICT, 'exec', '-u', 'nobody', 'p2', 'cat', '/etc/hostname', '/etc/passwd'], strict);
  expect(read).toMatchObject({ status: 0, stdout: expect.stringMatching(/^p2\nroot:/) });
  expect(statSync(root).mode & 0o777).toBe(0o700);
  for (const words of [
    ['rm', 'p2'],
    ['system', 'prune'],
  ])
    expect(host.run([MINICT, ...words], strict).status).toBe(0);
});

test('an unknown user or group is refused, also where the host has it', () => {
  expect(host.run(['id', '-u', 'daemon']).status).toBe(0);
  for (const user of ['daemon', 'alice:daemon', 'alice:', ':staff', 'a:b:c', '4294967295', '-1']) {
    const result = host.minict('exec', '-u', user, 'p1', 'id');
    expect(result).toMatchObject({ status: 125, stdout: '' });
    expect(result.stderr).toContain(`cannot use -u ${user.match(/^.+:$|^:|:.*:/) ? `'${user}'` : user}:`);
  }
});

test("a passwd that links to the host's is read inside", () => {
  host.minict('create', 'linked');
  host.minict('exec', 'linked', 'sh', '-c', 'echo in:x:5:6::/in: >/etc/real; ln -sf /etc/real /etc/passwd');
  expect(host.minict('exec', '-u', 'in', 'linked', 'sh', '-c', 'id -u; echo $HOME').stdout).toBe('5\n/in\n');
  host.minict('exec', 'linked', 'ln', '-sf', '../../../../../../../../../etc/passwd', '/etc/passwd');
  expect(host.minict('exec', '-u', 'daemon', 'linked', 'id')).toMatchObject({ status: 125, stdout: '' });
  host.minict('rm', 'linked');
});

test("a passwd in a directory that was made anew is the container's own, not the image's", () => {
  const image = join(host.dir, 'opaque');
  host.run(['cp', '-a', imageTree(host, 'base'), image]);
  const move = 'mkdir -p data/deep && mv etc/passwd data/deep/passwd && ln -s /data/deep/passwd etc/passwd';
  host.run(['sh', '-c', `cd "$0" && ${move}`, image]);
  host.minict('create', 'anew', '--image', image);
  expect(host.minict('exec', '-u', 'nobody', 'anew', 'id', '-u').stdout).toBe('65534\n');
  host.minict('exec', 'anew', 'sh', '-c', 'rm -r /data && mkdir -p /data/deep');
  expect(host.minict('exec', '-u', 'nobody', 'anew', 'id').stderr).toContain('no user nobody in the container');
  host.minict('exec', 'anew', 'sh', '-c', 'echo me:x:7:8::/me: >/data/deep/passwd');
  expect(host.minict('exec', '-u', 'me', 'anew', 'id', '-u').stdout).toBe('7\n');
  host.minict('rm', 'anew');
});

test('-w is entered inside, as the user', () => {
  expect(host.minict('exec', '-w', '/link', 'p1', 'sh', '-c', 'pwd -P').stdout).toBe('/srv/data\n');
  expect(host.minict('exec', '-w', '/srv/data', '-u', 'alice', 'p1', 'sh', '-c', 'pwd; id -u').stdout).toBe(
    '/srv/data\n1000\n',
  );
  expect(host.minict('exec', '-w', 'srv', 'p1', 'pwd').stdout).toBe('/srv\n');
  expect(host.minict('exec', '-w', '/srv', 'p1', 'sh', '-c', 'exit 9').status).toBe(9);
  expect(host.minict('exec', '-w', '/srv', 'p1', 'nope').status).toBe(127);
  for (const dir of ['/nope', '/etc/hosts']) {
    const result = host.minict('exec', '-w', dir, 'p1', 'echo', 'ran');
    expect(result).toMatchObject({ status: 126, stdout: '' });
    expect(result.stderr).toContain(`cannot use -w ${dir}`);
  }
});

test('-d says nothing, returns, and leaves a program of the container, in a session of its own', async () => {
  const script =
    'grep -E "Umask|SigBlk|SigIgn" /proc/self/status >/tmp/state; cut -d" " -f6 /proc/self/stat >>/tmp/state; echo $$ >>/tmp/state; echo end >>/tmp/state; exec sleep 300';
  const words = ['exec', '-d', '-e', 'A=b', 'p1', 'sh', '-c', script];
  expect(host.run(['env', '--block-signal', MINICT, ...words])).toEqual({
    status: 0,
    stdout: '',
    stderr: '',
  });
  const state = join(host.root, 'containers/p1/upper/tmp/state');
  const read = () => (existsSync(state) ? host.run(['cat', state]).stdout.split('\n').filter(Boolean) : []);
  expect(await eventually(() => read().at(-1) === 'end')).toBe(true);
  const [umask, blocked, ignored, session, pid] = read();
  expect([umask, blocked, ignored]).toEqual([
    'Umask:\t0022',
    ...['SigBlk', 'SigIgn'].map((set) => `${set}:\t${'0'.repeat(16)}`),
  ]);
  expect(session).toBe(pid);
  expect([0, 1, 2].map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))).toEqual(Array(3).fill('/dev/null'));
  const { cgroup } = JSON.parse(host.minict('inspect', 'p1').stdout)[0];
  expect(host.run(['cat', `${cgroup}/cgroup.procs`]).stdout).toBe(`${pid}\n`);
  expect(host.minict('ps').stdout).toMatch(/p1 +running/);
});

test.each([
  [['nope'], 127, /^minict: cannot run nope in p1: no such program\n$/],
  [['/etc/hosts'], 126, /^minict: cannot run \/etc\/hosts in p1: not executable\n$/],
  [['/srv/no-interpreter'], 127, /no such program/],
  [['-w', '/nope', 'true'], 126, /no directory \/nope\n$/],
  [['-w', '/srv', 'nope'], 127, /no such program/],
  [['-e', 'LD_DEBUG=', 'nope'], 127, /no such program/],
])('-d %j, which cannot be run, ends with %i', (words, status, message) => {
  host.minict('exec', 'p1', 'sh', '-c', 'echo "#!/nope" >/srv/no-interpreter; chmod +x /srv/no-interpreter');
  const options = words.slice(0, words.length - 1);
  const result = host.minict('exec', '-d', ...options, 'p1', words.at(-1) as string);
  expect(result).toEqual({ status, stdout: '', stderr: expect.stringMatching(message) });
});

test.each([
  [['sh', '-c', 'exit 127']],
  [['sh', '-c', 'exit 126']],
  [['true']],
  [['/srv/script', 'a b']],
  [['sh', '-c', 'kill -9 $$']],
])('-d %j, which runs and ends, is none of its failures', (argv) => {
  const script = 'printf "#!/bin/sh\nexit 127\n" >/srv/script; chmod +x /srv/script';
  host.minict('exec', 'p1', 'sh', '-c', script);
  for (let round = 0; round < 10; round += 1) {
    expect(host.minict('exec', '-d', 'p1', ...argv)).toEqual({ status: 0, stdout: '', stderr: '' });
  }
});

test('-d of a program that is in none of the layers, but on a mount made inside', () => {
  const mounts = ['nsenter', '--mount=/run/mntns/p1'];
  const rootfs = join(host.root, 'containers/p1/rootfs');
  host.minict('exec', 'p1', 'mkdir', '/opt');
  expect(host.run([...mounts, 'mount', '-t', 'tmpfs', 'tmpfs', join(rootfs, 'opt')]).status).toBe(0);
  host.minict('exec', 'p1', 'cp', '/bin/busybox', '/opt/touch');
  expect(host.minict('exec', '-d', 'p1', '/opt/touch', '/srv/touched').status).toBe(0);
  expect(existsSync(join(host.root, 'containers/p1/upper/opt/touch'))).toBe(false);
  expect(host.run([...mounts, 'umount', join(rootfs, 'opt')]).status).toBe(0);
});

test('a namespace that somebody took away is named', () => {
  host.minict('create', 'torn');
  host.run(['umount', '/run/utsns/torn']);
  const result = host.minict('exec', 'torn', 'echo', 'ran');
  expect(result).toMatchObject({ status: 125, stdout: '' });
  expect(result.stderr).toBe(
    'minict: cannot exec in torn: its namespace /run/utsns/torn is gone\nhint: minict start torn\n',
  );
  host.minict('rm', 'torn');
});

test('a damaged record of what is up is named, and restart makes another', () => {
  const record = '/run/minict/p1/enter.json';
  for (const text of ['', '{', 'null']) {
    host.run(['sh', '-c', 'printf %s "$1" >"$0"', record, text]);
    expectRefused(host.minict('exec', 'p1', 'true'), /enter\.json: damaged, .*\nhint: minict restart/);
  }
  expect(host.minict('restart', 'p1').status).toBe(0);
  expect(host.minict('exec', 'p1', 'true').status).toBe(0);
});

test('--verbose prints how it gets inside', () => {
  const { status, stdout, stderr } = host.minict('--verbose', 'exec', 'p1', 'hostname');
  expect({ status, stdout }).toEqual({ status: 0, stdout: 'p1\n' });
  expect(stderr).toMatch(/^\+ \S*nsenter --mount=\S+ --net=\S+ --uts=\S+ \S*chroot \S+ hostname\n$/);
});
