/** The profile `hardened`, capabilities and seccomp filters: what the kernel says that programs have, and what is refused. */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefused, linksSettle } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';
import { inspect } from '../helpers/processes.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
  expectCreated(host, 'h', '--profile', 'hardened');
});
afterAll(() => host.destroy());

const sh = (name: string, line: string) => host.minict('exec', name, 'sh', '-c', line);
const status = (name: string, field: string) =>
  new RegExp(`^${field}:\\s*(\\S+)$`, 'm').exec(host.minict('exec', name, 'cat', '/proc/self/status').stdout)?.[1];
const held = (name: string) => BigInt(`0x${status(name, 'CapEff')}`);

/** Without MKNOD. */
const DOCKERS = 0xa00425fbn;
const NET_ADMIN = 1n << 12n;
const CHOWN = 1n;

test("docker's capabilities, a filter, no new privileges, masked and read-only paths, a /dev of its own", () => {
  expect(held('h')).toBe(DOCKERS);
  expect(status('h', 'CapBnd')).toBe(status('h', 'CapEff'));
  expect([status('h', 'Seccomp'), status('h', 'NoNewPrivs')]).toEqual(['2', '1']);
  expect(sh('h', 'cat /proc/keys /proc/timer_list | wc -c; ls /sys/firmware | wc -l').stdout).toBe('0\n0\n');
  for (const path of ['/proc/sys/kernel/domainname', '/proc/sysrq-trigger', '/sys/kernel/profiling']) {
    expect(sh('h', `echo x >${path}`).status, path).not.toBe(0);
  }
  expect(sh('h', 'mount -t tmpfs x /mnt; unshare -r true').stderr).toMatch(/Operation not permitted|denied/);
  expect(sh('h', 'ls /dev').stdout).not.toMatch(/vda|sda|kmsg|mem$/m);
  expect(sh('h', 'echo text >/file && cat /file').stdout).toBe('text\n');
});

test('all of an environment is one string here: of more than 128 KiB it is told so', () => {
  const file = join(host.dir, 'env');
  writeFileSync(file, Array.from({ length: 20 }, (_, i) => `V${i}=${'x'.repeat(8000)}\n`).join(''));
  expectRefused(
    host.minict('exec', '--env-file', file, 'h', 'true'),
    /environment are too long\nhint: .*with the runtimes crun and runc 128 KiB are all of them\n$/,
  );
});

/** Known ways out, as perl and sh: 0 where one is open; nothing is written to what is the host's. $MARK is a file of the host alone, $HOST a process of the host's. */
const ESCAPES: Record<string, string> = {
  'chroot and ..': `perl -e 'mkdir "/tmp/x"; chroot "/tmp/x"; chdir ".." for 1..64; chroot "."; exit !-e $ENV{MARK}'`,
  'a device made by mknod': 'mknod /dev/d b 254 0 && head -c1 /dev/d',
  'a device of the image': 'head -c1 /disk',
  'a mount': 'mount -t tmpfs x /mnt',
  sysrq: ': >>/proc/sysrq-trigger',
  'a setting of the kernel': ': >>/proc/sys/kernel/core_pattern',
  'the release agent of a cgroup':
    'mkdir -p /tmp/g && mount -t cgroup -o pids x /tmp/g && test -w /tmp/g/release_agent',
  ptrace: `perl -e 'exit !!syscall(101, 0x4206, $ENV{HOST} + 0, 0, 0)'`,
  kill: 'kill -0 $HOST',
  'a handle of a file': `perl -e '$h = pack "Iix128", 128, 0; $m = pack "i", 0; $f = "/etc/hosts"; syscall(303, -100, $f, $h, $m, 0) and exit 1; open F, "/"; exit(syscall(304, fileno F, $h, 0) < 0)'`,
  'a keyring': `perl -e 'exit(syscall(250, 0, -3, 0) < 0)'`,
  setns: 'nsenter -t $HOST -m true',
  'a module of the kernel': `perl -e '$e = ""; syscall(313, -1, $e, 0); exit($! == 1 || $! == 38)'`,
  'a user namespace': 'unshare -r true',
  'what PID 1 has as its root': 'test -e /proc/1/root$MARK',
};

interface Tried {
  readonly way: string;
  readonly result: string;
  readonly why: string;
}

function checked(name: string): { status: number; open: string[] } {
  const { status, stdout } = host.minict('check', name, '--escape', '--format', 'json');
  const tried: Tried[] = JSON.parse(stdout);
  return { status, open: tried.filter(({ result }) => result === 'open').map(({ way }) => way) };
}

/** All of them, but for what this kernel has not: it has no sysrq key, and takes no modules. */
const OPEN_IN_A_CHROOT = [
  ...['chroot and ..', "another process's root", 'setns', 'raw disk', 'mount'],
  ...(existsSync('/sys/fs/cgroup/pids/release_agent') ? ['release agent'] : []),
  'kernel settings',
  ...(existsSync('/proc/sysrq-trigger') ? ['sysrq'] : []),
  ...['ptrace', 'kill'],
  ...(existsSync('/proc/modules') ? ['kernel modules'] : []),
  ...['keyrings', 'file handles', 'terminal input'],
];

/** minict's own attempts say so, and leave nothing behind. */
function expectAllStopped(name: string): void {
  const before = host.snapshot();
  const { status, stdout } = host.minict('check', name, '--escape');
  expect(stdout).toMatch(/^WAY +RESULT +WHY\nhost files +stopped +openat: ENOENT .*\nchroot and \.\. +stopped /);
  expect([status, stdout]).toEqual([0, expect.not.stringMatching(/ open /)]);
  expect(host.snapshot()).toEqual(before);
}

test('the known ways out are shut', () => {
  const tree = join(host.dir, 'tree');
  host.run([
    'sh',
    '-c',
    'mkdir -p "$0" && cd "$0" && mkdir proc sys dev etc tmp mnt usr && ln -s usr/bin usr/sbin usr/lib usr/lib64 . && mknod disk b 254 0',
    tree,
  ]);
  const mark = join(host.dir, 'mark');
  writeFileSync(mark, '');
  const other = host.spawn(['sleep', '300']);
  const words = ['--rootfs', tree, '-v', '/usr:/usr:ro', '-e', `MARK=${mark}`, '-e', `HOST=${other.pid}`];
  const open = (name: string) =>
    Object.entries(ESCAPES).flatMap(([way, line]) => (sh(name, line).status === 0 ? [way] : []));
  for (const runtime of ['crun', 'runc']) {
    expectCreated(host, 'walls', '--profile', 'hardened', '--runtime', runtime, ...words);
    expect(
      sh('walls', `perl -e 'exit !-e "/disk"' && test ! -e "$MARK" && type mknod unshare nsenter >/dev/null`),
    ).toMatchObject({ status: 0 });
    expect(open('walls')).toEqual([]);
    if (runtime === 'crun') {
      // It is not the first: its filter is the one that was made for that.
      const madeAgain = (name: string) =>
        !host.run(['cat', `/run/minict/${name}/oci/config.json`]).stdout.includes('bpf_data');
      expect([madeAgain('h'), madeAgain('walls')]).toEqual([true, false]);
      expectAllStopped('walls');
    } else expectRefused(host.minict('check', 'walls', '--escape'), /cannot check walls: runc gives .*\nhint: .*crun/);
    expect(host.minict('rm', '-f', 'walls').status).toBe(0);
  }
  // The same words show that each of them looks for a way that there may be.
  expectCreated(host, 'none', '--runtime', 'chroot', ...words);
  expect(open('none')).toEqual(expect.arrayContaining(['chroot and ..', 'a mount', 'ptrace', 'kill', 'a keyring']));
  // A directory in place, where others of the host get at it.
  chmodSync(host.dir, 0o755);
  expect(checked('none')).toEqual({ status: 1, open: [...OPEN_IN_A_CHROOT, 'setuid programs'] });
  chmodSync(host.dir, 0o700);
  expect(checked('none')).toEqual({ status: 1, open: OPEN_IN_A_CHROOT });
  expect([...readdirSync(tree), ...readdirSync(join(tree, 'tmp'))].filter((name) => name.includes('check'))).toEqual(
    [],
  );
  expect(host.minict('rm', '-f', 'none').status).toBe(0);
  other.kill();
});

test('check: an image without anything, what one capability opens, a filter that kills, a folder of the host', () => {
  const empty = join(host.dir, 'empty');
  // An image of one file, which is no program.
  mkdirSync(empty);
  writeFileSync(join(empty, 'file'), '');
  expect(host.minict('image', 'import', empty, 'nothing').status).toBe(0);
  const create = (name: string, ...words: string[]) =>
    expectCreated(host, name, '--profile', 'hardened', '--image', 'nothing', ...words);
  create('c1');
  expect(checked('c1')).toEqual({ status: 0, open: [] });
  expect(host.minict('rm', '-f', 'c1').status).toBe(0);
  create('c1', '--cap-add', 'DAC_READ_SEARCH');
  expect(checked('c1').open).toEqual(['file handles']);
  expect(host.minict('rm', '-f', 'c1').status).toBe(0);
  const filter = join(host.dir, 'kills.json');
  const syscalls = [{ names: ['keyctl'], action: 'SCMP_ACT_KILL_PROCESS' }];
  writeFileSync(filter, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls }));
  create('c1', '--security-opt', `seccomp=${filter}`, '-v', '/run:/run:ro');
  const { stdout } = host.minict('check', 'c1', '--escape', '--format', 'json');
  const tried: Tried[] = JSON.parse(stdout);
  expect(tried.find(({ way }) => way === 'keyrings')?.why).toMatch(/^keyctl: ended by /);
  expect(tried.find(({ way }) => way === 'host files')?.result).toBe('open');
  expect(host.minict('rm', '-f', 'c1').status).toBe(0);
});

test('check is refused', () => {
  expectRefused(host.minict('check', 'h'), /cannot check h: for what\?\nhint: --escape/);
  expectRefused(host.minict('check', 'nobody', '--escape'), /cannot find container nobody/);
  expectRefused(host.minict('check', 'h', '--escape', '--format', 'xml'), /cannot use --format xml/);
  expectCreated(host, 'c1');
  expect(host.minict('exec', '-d', 'c1', 'sleep', '300').status).toBe(0);
  expect(host.minict('pause', 'c1').status).toBe(0);
  expectRefused(host.minict('check', 'c1', '--escape'), /cannot check c1: it is paused/);
  expect(host.minict('unpause', 'c1').status).toBe(0);
  // /proc, by which the program gets in, is gone.
  expect(
    host.run(['nsenter', '--mount=/run/mntns/c1', 'umount', '-l', join(host.root, 'containers/c1/rootfs/proc')]).status,
  ).toBe(0);
  expectRefused(
    host.minict('check', 'c1', '--escape'),
    /cannot check c1: a program of minict's does not run in there: /,
  );
  expect(host.minict('stop', 'c1').status).toBe(0);
  expectRefused(host.minict('check', 'c1', '--escape'), /cannot check c1: it is stopped\nhint: minict start c1/);
  expect(host.minict('rm', '-f', 'c1').status).toBe(0);
});

test('capabilities are added and dropped, under any spelling', () => {
  expectCreated(host, 'c1', '--profile', 'hardened', '--cap-add', 'net_admin', '--cap-drop', 'CAP_CHOWN');
  expect(held('c1')).toBe((DOCKERS | NET_ADMIN) & ~CHOWN);
  expect(sh('c1', 'ip link set lo down').status).toBe(0);
  expect(sh('h', 'ip link set lo down').status).not.toBe(0);
  expectCreated(host, 'c2', '--profile', 'hardened', '--cap-drop', 'ALL', '--cap-add', 'CHOWN');
  expect(held('c2')).toBe(CHOWN);
  expectCreated(host, 'c3', '--runtime', 'crun');
  expect(held('c3') & (NET_ADMIN | CHOWN)).toBe(NET_ADMIN | CHOWN);
  expect([status('c3', 'Seccomp'), status('c3', 'NoNewPrivs')]).toEqual(['0', '0']);
  expect(host.minict('clone', 'c1', 'c4').status).toBe(0);
  expect(held('c4')).toBe(held('c1'));
  expect(host.minict('rm', '-f', 'c1', 'c2', 'c3', 'c4').status).toBe(0);
});

test('a capability that minict lacks is refused by its name; of all there are those that it has', () => {
  const lacking = ['setpriv', '--bounding-set=-net_admin', MINICT, 'create', 'c1', '--runtime', 'crun', '--cap-add'];
  expectRefused(
    host.run([...lacking, 'NET_ADMIN']),
    /cannot use --cap-add NET_ADMIN: minict does not have it itself\n/,
  );
  expect(host.minict('ps', '-aq').stdout).not.toContain('c1');
});

test('another filter, none, new privileges', () => {
  const file = join(host.dir, 'seccomp.json');
  const syscalls = [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 28 }];
  writeFileSync(file, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls }));
  expectCreated(host, 'c1', '--runtime', 'crun', '--security-opt', `seccomp=${file}`);
  writeFileSync(file, 'changed since');
  expect(sh('c1', 'mkdir /new').stderr).toContain('No space left');
  const tar = join(host.dir, 'c1.tar');
  expect(host.minict('save-container', 'c1', '-o', tar).stderr).toBe('');
  expect(host.minict('rm', '-f', 'c1').status).toBe(0);
  expect(host.minict('load-container', '-i', tar, '--start').stderr).toBe('');
  expect(sh('c1', 'mkdir /new').stderr).toContain('No space left');
  const options = ['--security-opt', 'seccomp=unconfined', '--security-opt', 'no-new-privileges=false'];
  expectCreated(host, 'c2', '--profile', 'hardened', ...options);
  expect([status('c2', 'Seccomp'), status('c2', 'NoNewPrivs')]).toEqual(['0', '0']);
  expectCreated(host, 'c3', '--runtime', 'crun', '--no-new-privileges');
  expect([status('c3', 'Seccomp'), status('c3', 'NoNewPrivs')]).toEqual(['0', '1']);
  expect(host.minict('rm', '-f', 'c1', 'c2', 'c3').status).toBe(0);
});

test('top shows what runs in it, and not who waits for that', () => {
  expect(host.minict('exec', '-d', 'h', 'sleep', '301').status).toBe(0);
  expect(host.minict('top', 'h', '-eo', 'args=').stdout).toBe('sleep 301\n');
  expect(host.minict('kill', 'h').status).toBe(0);
});

test('a read-only root, for all but its volumes', () => {
  expectCreated(host, 'c1', '--profile', 'hardened', '--read-only', '-v', '/data');
  expect(sh('c1', 'echo x >/file').stderr).toContain('Read-only');
  expect(sh('c1', 'echo x >/data/file && cat /data/file').stdout).toBe('x\n');
  expect(host.minict('rm', '-f', 'c1').status).toBe(0);
});

test('the same words under the other runtime make the same container', () => {
  const words = ['-e', 'A=b', '--hostname', 'its', '-u', '1000', '-w', '/tmp'];
  for (const runtime of ['chroot', 'crun', 'runc']) {
    expectCreated(host, 'c1', '--runtime', runtime, ...words);
    expect(sh('c1', 'hostname; id -u; pwd; echo $A').stdout, runtime).toBe('its\n1000\n/tmp\nb\n');
    expect(host.minict('rm', '-f', 'c1').status).toBe(0);
  }
});

test('PID 1 ended by hand: broken, and start mends', async () => {
  const group = join(dirname(inspect(host, 'h').cgroup), 'init');
  const [init = ''] = readFileSync(join(group, 'cgroup.procs'), 'utf8').split('\n');
  expect(readFileSync(`/proc/${init}/comm`, 'utf8')).toBe('init\n');
  process.kill(Number(init), 'SIGKILL');
  for (let tries = 0; tries < 500 && !host.minict('ps').stdout.includes('broken'); tries += 1) await Bun.sleep(10);
  expect(host.minict('ps').stdout).toMatch(/^h +broken \(missing: init/m);
  expect(host.minict('start', 'h')).toEqual({ status: 0, stdout: 'h\n', stderr: '' });
  expect(held('h')).toBe(DOCKERS);
});

const BAD_FILTERS = ['', '[]', '{"defaultAction":7}', '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":"x"}]}'];

test.each([
  [['--runtime', 'docker'], /argument 'docker' is invalid/],
  [['--profile', 'hard'], /argument 'hard' is invalid/],
  [['--profile', 'hardened', '--cap-add', 'FLY'], /cannot use capability 'FLY': there is none of that name/],
  [['--runtime', 'crun', '--cap-drop', ''], /cannot use capability ''/],
  [['--runtime', 'chroot', '--profile', 'hardened'], /cannot use --profile hardened with the runtime chroot/],
  [['--cap-add', 'NET_ADMIN'], /cannot use --cap-add with the runtime chroot/],
  [['--security-opt', 'seccomp=unconfined'], /cannot use --security-opt with the runtime chroot/],
  [['--no-new-privileges'], /cannot use --no-new-privileges with the runtime chroot/],
  [['--runtime', 'crun', '--security-opt', 'label=x'], /cannot use --security-opt 'label=x'/],
  [['--runtime', 'crun', '--security-opt', 'seccomp='], /cannot use --security-opt 'seccomp='/],
  [
    ['--runtime', 'crun', '--security-opt', 'seccomp=/nowhere'],
    /cannot use --security-opt seccomp=\/nowhere: no such file or directory\n/,
  ],
  [
    ['--runtime', 'runc', '--ulimit', 'nofile=9:10'],
    /cannot use --ulimit nofile with the runtime runc: .*\nhint: --ulimit nofile=9;/,
  ],
  [['--runtime', 'crun', '--mounts', 'host'], /cannot use --runtime crun and --mounts host together/],
  [['--runtime', 'nspawn', '--timens', 'private'], /cannot use --timens private with the runtime nspawn/],
  [['--runtime', 'runc', '--sys', 'host'], /cannot use --sys host with the runtime runc/],
  [['--profile', 'hardened', '--pid', 'host'], /cannot use --pid host with the runtime crun/],
])('%j is refused', (options, message) => {
  expectRefused(host.minict('create', 'bad', ...options), message);
});

test.each(BAD_FILTERS)('a seccomp file of %j is refused', (text) => {
  const file = join(host.dir, 'bad.json');
  writeFileSync(file, text);
  expectRefused(
    host.minict('create', 'bad', '--runtime', 'crun', '--security-opt', `seccomp=${file}`),
    /cannot use --security-opt seccomp=/,
  );
});

test.each(['crun', 'runc'])('a filter that %s refuses: one line, and nothing is left', async (runtime) => {
  const file = join(host.dir, 'bad.json');
  writeFileSync(file, '{"defaultAction":"SCMP_ACT_DANCE"}');
  await linksSettle(host);
  const before = host.snapshot();
  expectRefused(
    host.minict('create', 'bad', '--runtime', runtime, '--security-opt', `seccomp=${file}`),
    new RegExp(`cannot create bad: PID 1.*by ${runtime}: .*`),
  );
  expect(await host.settled(before)).toEqual(before);
});

test('without crun on the host it says which package has it', () => {
  const path = join(host.dir, 'path');
  host.run(['sh', '-c', 'mkdir "$0"; ln -s -t "$0" /usr/bin/* /usr/sbin/* 2>/dev/null; rm "$0/crun"', path]);
  expect(host.run(['env', `PATH=${path}`, MINICT, 'create', 'bad', '--profile', 'hardened']).stderr).toBe(
    'minict: cannot run crun: not found in PATH\nhint: apt-get install crun\n',
  );
});
