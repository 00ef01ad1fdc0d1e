/** cp, export and diff where something is not there, full, cut short or killed: one clear error, and nothing is left. */
import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { expectCreated, expectRefused } from '../helpers/expect.ts';
import { KILLS, runWithFault } from '../helpers/faults.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { MANY_POINTS } from '../helpers/recovery.ts';
import { archive } from '../helpers/tar.ts';
import { Terminal } from '../helpers/terminal.ts';

let host: Host;
let dir: string;
beforeAll(async () => {
  host = await Host.create();
  dir = join(host.dir, 'here');
  expectCreated(host, 'web1');
  expectCreated(host, 'web2');
});
beforeEach(() => {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(join(dir, 'tree'), { recursive: true });
  writeFileSync(join(dir, 'f'), 'f\n');
  writeFileSync(join(dir, 'tree/g'), 'g\n');
});
afterEach(() => void host.minict('rm', '-f', 'c1'));
afterAll(() => host.destroy());

const here = (...words: string[]) => host.run(['env', '-C', dir, MINICT, ...words]);
const inside = (script: string, name = 'web1') => host.minict('exec', name, 'sh', '-ec', script);

test.each<[string[], RegExp]>([
  [['cp', 'f', 'tree'], /cannot copy f to tree: neither is in a container\nhint: minict cp NAME:SRC DST, or/],
  [['cp', '-', '-'], /neither is in a container/],
  [['cp', './web1:/etc', '.'], /neither is in a container/],
  [['cp', '/web1:/etc', '.'], /neither is in a container/],
  [
    ['cp', 'web1:/etc', 'web2:/srv'],
    /both are in containers\nhint: minict cp web1:\/etc - \| minict cp - web2:\/srv; .*\.\/web1/,
  ],
  [['cp', 'web1:', '.'], /cannot copy web1:: no path\nhint: web1:\/ is its root/],
  [['cp', 'f', 'web1:'], /cannot copy to web1:: no path/],
  [['cp', '', 'web1:/srv'], /cannot copy: the source is empty/],
  [['cp', 'f', ''], /cannot copy: the target is empty/],
  [['cp', 'web1:/etc'], /missing required argument 'dst'/],
  [['cp', 'web1:/etc', '.', 'x'], /too many arguments/],
  [['cp', 'nope:/etc', '.'], /no such container\nhint: minict ps -a/],
  [['cp', 'f', 'nope:/srv'], /no such container/],
  [['cp', 'a b:/etc', '.'], /not a valid name/],
  [['cp', 'web1:/nope', '.'], /cannot copy web1:\/nope: no such file or directory\n/],
  [['cp', 'web1:/nope/x', '.'], /cannot copy web1:\/nope\/x: no such file or directory/],
  [['cp', 'web1:/etc/passwd/x', '.'], /not a directory/],
  [['cp', 'web1:/etc/passwd/', '.'], /cannot copy web1:\/etc\/passwd\/: not a directory/],
  [['cp', 'web1:/etc/passwd/.', '.'], /not a directory/],
  [['cp', 'nope', 'web1:/srv'], /cannot copy nope: no such file or directory/],
  [['cp', 'f/', 'web1:/srv'], /cannot copy f\/: not a directory/],
  [['cp', 'web1:/etc', 'no/etc'], /cannot copy to no\/etc: there is no directory \/\S+\/no\nhint: mkdir -p/],
  [['cp', 'f', 'web1:/no/such/f'], /there is no directory \/no\/such\nhint: minict exec web1 mkdir -p \/no\/such/],
  [['cp', 'f', 'web1:/srv/new/'], /cannot copy to web1:\/srv\/new\/: there is no such directory/],
  [['cp', 'f', 'web1:/etc/passwd/'], /cannot copy to web1:\/etc\/passwd\/: not a directory/],
  [['cp', 'f', 'web1:/etc/passwd/x'], /not a directory/],
  [['cp', 'tree', 'web1:/etc/passwd'], /a file is there, and a directory cannot become one/],
  [['cp', 'web1:/etc', 'f'], /a file is there, and a directory cannot become one/],
  [['cp', 'web1:/etc', 'f/'], /cannot copy to f\/: not a directory/],
  [['cp', 'web1:/etc/passwd', '/dev/null'], /cannot copy to \/dev\/null: neither a file nor a directory/],
  [['cp', 'f', `web1:/srv/${'x'.repeat(256)}`], /a name is too long/],
  [['cp', `web1:/${'x'.repeat(256)}`, '.'], /a name is too long/],
  [['cp', '-', 'web1:/etc/passwd'], /cannot copy to web1:\/etc\/passwd: not a directory/],
  [['cp', '-', 'web1:/srv/new'], /not a directory/],
  [['cp', '-', 'web1:/srv'], /cannot copy - to web1:\/srv: nothing came/],
  [['export', 'nope'], /no such container/],
  [['export', '../web1'], /not a valid name/],
  [['export', 'web1', '-o', '/'], /cannot export to \/: it is no file/],
  [
    ['export', 'web1', '-o', '/dev/null'],
    /cannot export to \/dev\/null: it is no file\nhint: minict export NAME >PATH/,
  ],
  [['export', 'web1', '-o', 'no/x.tar'], /no such file or directory/],
  [['diff', 'nope'], /no such container/],
  [['diff', 'web1', '--format', 'xml'], /table or json/],
])('%j is refused', (words, message) => {
  const before = { host: host.snapshot(), here: readdirSync(dir) };
  expectRefused(here(...words), message);
  expect({ host: host.snapshot(), here: readdirSync(dir) }).toEqual(before);
  expect(inside('ls -A /srv').stdout).toBe('');
});

test('a terminal takes no tar', async () => {
  for (const [words, message] of [
    [['cp', 'web1:/etc', '-'], /stdout is a terminal\r\nhint: minict cp web1:\/etc - \| tar -t/],
    [['cp', '-', 'web1:/srv'], /stdin is a terminal\r\nhint: tar -c \. \| minict cp - web1:\/srv/],
    [['export', 'web1'], /stdout is a terminal\r\nhint: minict export web1 -o web1\.tar/],
  ] as const) {
    const terminal = new Terminal(host, [MINICT, ...words]);
    await terminal.shows(message);
    expect(await terminal.status()).toBe(125);
    terminal.close();
  }
});

test.each<[string, Buffer, RegExp]>([
  ['cut short', archive({ name: 'a', content: 'x'.repeat(5000) }).subarray(0, 3000), /it is truncated/],
  ['without an end', archive({ name: 'a', content: 'x' }).subarray(0, 1024), /it is truncated/],
  ['that is none', Buffer.from('no archive\n'.repeat(100)), /no tar archive, or a damaged one/],
  ['of nothing', Buffer.alloc(1024), /the archive is empty/],
  ['that is a damaged gzip', Buffer.concat([Buffer.from([0x1f, 0x8b]), Buffer.alloc(600, 7)]), /damaged.*gzip/],
])('a stream %s', (_, content, message) => {
  expectRefused(host.run([MINICT, 'cp', '-', 'web1:/srv'], {}, content), message);
  inside('rm -rf /srv/*');
});

test('whoever reads the stream may go away; a socket stays where it is', () => {
  inside('head -c 3000000 /dev/zero >/srv/big');
  const script = '"$0" cp web1:/srv - | head -c 1 >/dev/null; echo "$PIPESTATUS"';
  const { stdout, stderr } = host.run(['bash', '-c', script, MINICT]);
  expect({ stdout, stderr }).toEqual({
    stdout: '125\n',
    stderr: 'minict: cannot copy web1:/srv to -: whoever read it from stdout has gone\n',
  });
  const bind = 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])';
  expect(host.run(['python3', '-c', bind, join(dir, 'tree/sock')]).status).toBe(0);
  expectRefused(here('cp', 'tree/sock', 'web1:/srv'), /cannot copy tree\/sock: a socket/);
  expect(here('cp', 'tree', 'web1:/srv')).toEqual({ status: 0, stdout: '', stderr: '' });
  expect(inside('ls /srv/tree').stdout).toBe('g\n');
  inside('rm -rf /srv/*');
});

test('a disk that gets full, on either side', () => {
  const disk = '/run/small';
  const small = ['--root', `${disk}/root`, '--run-dir', '/run/small-run'];
  const prepare = `mkdir -p ${disk}; mount -t tmpfs -o size=8m tmpfs ${disk}; mkdir ${disk}/tiny; echo x >${disk}/tiny/file`;
  expect(host.run(['sh', '-ec', prepare])).toMatchObject({ status: 0 });
  expect(host.minict(...small, 'create', 'c1', '--no-network', '--image', `${disk}/tiny`)).toMatchObject({ status: 0 });
  host.run(['sh', '-c', `head -c 12000000 /dev/zero >${dir}/tree/big`]);
  const full = /cannot copy [^\n]*: No space left on device\nhint: a disk is full: df -h\n$/;
  for (const state of ['up', 'stopped']) {
    if (state === 'stopped') host.minict(...small, 'stop', 'c1');
    const enter = state === 'up' ? ['nsenter', '--mount=/run/mntns/c1'] : [];
    const files = `${disk}/root/containers/c1/${state === 'up' ? 'rootfs' : 'upper'}`;
    const remove = [...enter, 'sh', '-c', `cd ${files} && rm -rf big tree new`];
    for (const words of [
      ['tree/big', 'c1:/'],
      ['tree', 'c1:/'],
      ['tree/.', 'c1:/new'],
    ]) {
      expectRefused(here(...small, 'cp', ...words), full);
      // What of it is there is the user's to remove.
      expect(host.run(remove)).toMatchObject({ status: 0, stderr: '' });
    }
    const stream = `tar -c -C ${dir} tree | ${MINICT} ${small.join(' ')} cp - c1:/`;
    expectRefused(host.run(['sh', '-c', stream]), full);
    host.run(remove);
  }
  expect(host.minict(...small, 'start', 'c1')).toMatchObject({ status: 0, stderr: '' });
  inside('head -c 12000000 /dev/zero >/srv/big');
  expectRefused(host.minict('cp', 'web1:/srv/big', `${disk}/out`), full);
  rmSync(join(dir, 'old.tar'), { force: true });
  expectRefused(
    host.minict('export', 'web1', '-o', `${disk}/out.tar`),
    /cannot export web1: No space left on device\nhint/,
  );
  expect(host.run(['ls', disk]).stdout).not.toContain('out.tar');
  expect(host.minict(...small, 'rm', 'c1')).toMatchObject({ status: 0 });
  host.minict(...small, 'system', 'prune');
  expect(host.run(['umount', disk]).status).toBe(0);
  inside('rm /srv/big');
});

test('a container that is not whole, or whose image is gone', () => {
  expectCreated(host, 'c1');
  const root = join(host.root, 'containers/c1/rootfs');
  host.run(['nsenter', '--mount=/run/mntns/c1', 'umount', '-R', root]);
  expectRefused(here('cp', 'f', 'c1:/srv'), /cannot open the files of c1: .*\nhint: minict start c1/);
  expectRefused(here('export', 'c1'), /cannot open the files of c1: its root is not mounted\nhint: minict start c1/);
  host.minict('start', 'c1');
  host.run(['umount', '/run/mntns/c1']);
  expectRefused(here('cp', 'f', 'c1:/srv'), /its namespace \/run\/mntns\/c1 is gone\nhint: minict start c1/);
  host.minict('rm', '-f', 'c1');
  const image = join(dir, 'image');
  host.run(['sh', '-c', `mkdir ${image}; echo x >${image}/file`]);
  expectCreated(host, 'c1', '--image', image);
  host.minict('stop', 'c1');
  host.run(['mv', image, `${image}.away`]);
  for (const words of [
    ['cp', 'c1:/file', 'x'],
    ['export', 'c1'],
    ['diff', 'c1'],
  ]) {
    expectRefused(here(...words), /image is not there any more\nhint: put .*image back/);
  }
  host.minict('rm', 'c1');
});

test('a stopped container that a printed script has brought up is not mounted a second time', () => {
  expectCreated(host, 'c1');
  host.minict('stop', 'c1');
  const script = host.minict('start', 'c1', '--dry-run').stdout;
  const undo = host.minict('start', 'c1', '--dry-run-undo').stdout;
  expect(host.run(['sh'], {}, script).status).toBe(0);
  expectRefused(
    here('cp', 'f', 'c1:/srv'),
    /they are mounted, and minict did not do it\nhint: minict start --dry-run-undo c1/,
  );
  expect(host.run(['sh'], {}, undo).status).toBe(0);
  expect(here('cp', 'f', 'c1:/srv')).toMatchObject({ status: 0 });
  expect(host.minict('rm', 'c1')).toMatchObject({ status: 0, stderr: '' });
});

/** Processes that are on the throwaway host, in whichever mount namespace, but in no container. */
function processesOn(): string[] {
  const net = host.run(['readlink', '/proc/self/ns/net']).stdout.trim();
  return readdirSync('/proc').flatMap((pid) => {
    try {
      if (!/^\d+$/.test(pid) || readlinkSync(`/proc/${pid}/ns/net`) !== net) return [];
      return [readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ')];
    } catch {
      return []; // It has ended meanwhile.
    }
  });
}

const COPIES: readonly (readonly string[])[] = [
  ['cp', 'DIR/tree', 'web2:/srv/new'],
  ['cp', 'web2:/etc', 'DIR/out'],
  ['export', 'web2', '-o', 'DIR/out.tar'],
  ['diff', 'web2'],
];

describe.each(['up', 'stopped'])('in a container that is %s', (state) => {
  beforeAll(() => host.minict(state === 'up' ? 'start' : 'stop', 'web2'));
  const words = (copy: readonly string[]) => copy.map((word) => word.replace('DIR', dir));

  test.each(COPIES)('%s %s, killed at each host command', MANY_POINTS, async (...copy) => {
    const before = host.snapshot();
    const quiet = processesOn();
    for (const fault of KILLS) {
      for (let k = 1; ; k += 1) {
        const { tool } = runWithFault(host, words(copy), fault, k);
        expect(await eventually(() => processesOn().length === quiet.length), `${tool} ${k}`).toBe(true);
        expect(host.snapshot()).toEqual(before);
        host.run(['sh', '-c', 'rm -rf "$0"/out*', dir]);
        if (tool === undefined) break;
      }
      if (state === 'stopped') continue;
      expect(host.minict('exec', 'web2', 'rm', '-rf', '/srv/new')).toMatchObject({ status: 0 });
    }
    // Nobody has its lock, nor its overlay.
    expect(host.minict(...words(copy))).toMatchObject({ status: 0, stderr: '' });
    expect(host.minict('start', 'web2')).toMatchObject({ status: 0, stderr: '' });
    expect(host.minict('exec', 'web2', 'rm', '-rf', '/srv/new')).toMatchObject({ status: 0 });
    if (state === 'stopped') host.minict('stop', 'web2');
    host.run(['sh', '-c', 'rm -rf "$0"/out*', dir]);
  });

  test('killed in the middle of a stream: no process, no mount, no lock is left', async () => {
    const before = host.snapshot();
    const quiet = processesOn();
    host.run(['mkfifo', join(dir, 'pipe')]);
    writeFileSync(join(dir, 'half'), archive({ name: 'a', content: 'x'.repeat(200_000) }).subarray(0, 50_000));
    const slow = 'exec 3<>"$1"; cat "$2" >&3; exec "$0" cp - web2:/srv <&3';
    const child = host.spawn(['sh', '-c', slow, MINICT, join(dir, 'pipe'), join(dir, 'half')]);
    const began = await eventually(() => processesOn().some((line) => /^\S*tar --extract/.test(line)));
    child.kill('SIGKILL');
    await child.exited;
    expect(began).toBe(true);
    expect(await eventually(() => processesOn().length === quiet.length)).toBe(true);
    expect(host.snapshot()).toEqual(before);
    expect(host.minict('start', 'web2')).toMatchObject({ status: 0, stderr: '' });
    inside('rm -rf /srv/*', 'web2');
    if (state === 'stopped') host.minict('stop', 'web2');
  });
});

test('copies into a stopped container, its start and stop, all at once', async () => {
  host.minict('stop', 'web2');
  host.run(['sh', '-c', `head -c 500000 /dev/urandom >${dir}/big`]);
  const all = [1, 2, 3, 4].flatMap((n) => [
    host.spawn([MINICT, 'cp', join(dir, 'big'), `web2:/srv/${n}`]),
    host.spawn([MINICT, 'cp', 'web2:/etc/passwd', join(dir, `passwd${n}`)]),
    host.spawn([MINICT, n % 2 === 0 ? 'stop' : 'start', 'web2']),
  ]);
  for (const child of all) expect(await child.exited, await new Response(child.stderr).text()).toBe(0);
  host.minict('start', 'web2');
  const sums = inside('md5sum /srv/*', 'web2').stdout.split('\n').filter(Boolean);
  const [sum] = host.run(['md5sum', join(dir, 'big')]).stdout.split(' ');
  expect(sums.map((line) => line.split(' ')[0])).toEqual([sum, sum, sum, sum]);
  expect(readdirSync(dir).filter((name) => name.startsWith('passwd'))).toHaveLength(4);
});
