/** diff: docker's letters, from overlayfs's marks. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { expectCreated, expectRefused } from '../helpers/expect.ts';
import { Host } from '../helpers/host.ts';
import { imageTree } from '../helpers/images.ts';

let host: Host;
let image: string;
beforeAll(async () => {
  host = await Host.create();
  image = join(host.dir, 'image');
  expectCreated(host, 'first');
  const make = `cp -a "$0" "$1"; cd "$1"; mkdir -p a/b/c many/sub; echo 1 >a/file; echo 1 >a/b/c/file; ln -s file a/link
    for i in 1 2 3; do echo $i >many/$i; done; echo 1 >many/sub/x`;
  expect(host.run(['sh', '-ec', make, imageTree(host, 'base'), image])).toMatchObject({
    status: 0,
  });
  host.minict('image', 'import', image, 'lab');
});
beforeEach(() => expectCreated(host, 'c1', '--image', 'lab'));
afterEach(() => void host.minict('rm', '-f', 'c1'));
afterAll(() => host.destroy());

const inside = (script: string) => expect(host.minict('exec', 'c1', 'sh', '-ec', script)).toMatchObject({ status: 0 });
const diff = (...words: string[]) =>
  host
    .minict('diff', 'c1', ...words)
    .stdout.split('\n')
    .filter(Boolean);

test.each<[string, string, string[]]>([
  ['nothing', 'true', []],
  ['a new file', 'echo x >/new', ['A /new']],
  ['a new file in a folder', 'echo x >/a/b/new', ['C /a', 'C /a/b', 'A /a/b/new']],
  ['a new folder', 'mkdir -p /a/n/m; echo x >/a/n/m/f', ['C /a', 'A /a/n', 'A /a/n/m', 'A /a/n/m/f']],
  ['a changed file', 'echo 2 >>/a/b/c/file', ['C /a', 'C /a/b', 'C /a/b/c', 'C /a/b/c/file']],
  ['a replaced file', 'rm /a/file; echo 2 >/a/file', ['C /a', 'C /a/file']],
  ['a mode, an owner', 'chmod 600 /a/file; chown 1:1 /many', ['C /a', 'C /a/file', 'C /many']],
  ['a removed file', 'rm /a/b/c/file', ['C /a', 'C /a/b', 'C /a/b/c', 'D /a/b/c/file']],
  ['a removed folder', 'rm -r /a', ['D /a']],
  [
    'a folder made anew',
    'rm -r /many; mkdir /many; echo x >/many/2; echo y >/many/new',
    ['C /many', 'D /many/1', 'C /many/2', 'D /many/3', 'A /many/new', 'D /many/sub'],
  ],
  [
    'a folder made anew with a folder in it',
    'rm -r /a; mkdir -p /a/b/d',
    ['C /a', 'C /a/b', 'D /a/b/c', 'A /a/b/d', 'D /a/file', 'D /a/link'],
  ],
  ['a file in the place of a folder', 'rm -r /a/b; echo x >/a/b', ['C /a', 'C /a/b']],
  [
    'a folder in the place of a file',
    'rm /a/file; mkdir /a/file; echo x >/a/file/f',
    ['C /a', 'C /a/file', 'A /a/file/f'],
  ],
  ['what came and went', 'echo x >/a/b/new; rm /a/b/new; mkdir /a/d; rmdir /a/d', []],
  ['a symlink, another one', 'ln -s /etc /out; rm /a/link; ln -s b /a/link', ['C /a', 'C /a/link', 'A /out']],
  ['what is mounted in it', 'echo x >/etc/hostname; mount -t tmpfs none /srv; echo x >/srv/f', []],
])('%s', (_, script, want) => {
  inside(script);
  expect(diff()).toEqual(want);
  host.minict('stop', 'c1');
  expect(diff()).toEqual(want);
});

test('by path, byte by byte; names in JSON are whole, and in lines of one line', () => {
  inside('cd /a; : >z; : >b-; : >"new\nline"; : >"\u00fc"');
  expect(diff()).toEqual(['C /a', 'A /a/b-', 'A /a/new\\x0aline', 'A /a/z', 'A /a/\u00fc']);
  const json = JSON.parse(host.minict('diff', 'c1', '--format', 'json').stdout);
  expect(json).toContainEqual({ kind: 'A', path: '/a/new\nline' });
  expect(json[0]).toEqual({ kind: 'C', path: '/a' });
});

test('of its image, whatever snapshots there are; of an image of several layers', () => {
  inside('rm -r /many; echo x >/a/new; rm /a/file');
  const before = diff();
  expect(before).toEqual(['C /a', 'D /a/file', 'A /a/new', 'D /many']);
  host.minict('snapshot', 'create', 'c1', 's1');
  expect(diff()).toEqual(before);
  inside('mkdir /many; echo x >/many/2; rm /a/new; echo 1 >/a/file');
  expect(diff()).toEqual(['C /a', 'C /a/file', 'C /many', 'D /many/1', 'C /many/2', 'D /many/3', 'D /many/sub']);
  expect(host.minict('commit', 'c1', 'lab2').status).toBe(0);
  expectCreated(host, 'c2', '--image', 'lab2');
  const other = (script: string) => host.minict('exec', 'c2', 'sh', '-ec', script);
  expect(host.minict('diff', 'c2').stdout).toBe('');
  other('rm -r /many; echo x >/many; rm /a/link');
  expect(host.minict('diff', 'c2').stdout).toBe('C /a\nD /a/link\nC /many\n');
  other('rm /many; mkdir /many');
  expect(host.minict('diff', 'c2').stdout).toBe('C /a\nD /a/link\nC /many\nD /many/2\n');
  host.minict('rm', 'c2');
});

test('a container without layers', () => {
  expectCreated(host, 'c2', '--rootfs', image);
  expectRefused(
    host.minict('diff', 'c2'),
    /cannot diff c2: its files are in \/\S+ itself, without layers\nhint: .*--image/,
  );
  host.minict('rm', 'c2');
});

test('a folder that turns into a symlink to the host and back all the while', async () => {
  const secret = join(host.dir, 'secret');
  mkdirSync(join(secret, 'sub/treasure'), { recursive: true });
  host.minict(
    'exec',
    '-e',
    `S=${secret}`,
    'c1',
    'sh',
    '-ec',
    'mkdir -p /srv/x/sub; : >/srv/x/sub/f; ln -s "$S" /srv/y',
  );
  const swap = `import ctypes, os, sys, time
os.chdir(sys.argv[1]); libc = ctypes.CDLL(None); end = time.monotonic() + 50
while time.monotonic() < end:
    libc.renameat2(-100, b'x', -100, b'y', 2); time.sleep(0.0003)`;
  const root = join(host.root, 'containers/c1/rootfs/srv');
  const swapper = host.spawn(['nsenter', '--mount=/run/mntns/c1', 'python3', '-c', swap, root]);
  for (let round = 0; round < 20; round += 1) {
    const result = host.minict('diff', 'c1');
    expect(result).toMatchObject({ status: 0, stderr: '' });
    expect(result.stdout).not.toContain('treasure');
  }
  swapper.kill('SIGKILL');
  await swapper.exited;
});
