/** cp and images that mean harm: no symlink, however it came there and when, makes it read or write a file of the host's. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { expectCreated, expectRefused } from '../helpers/expect.ts';
import { Host, MINICT, type Result } from '../helpers/host.ts';
import { archive, type Member, pax } from '../helpers/tar.ts';

let host: Host;
/** Of the host's: what nobody may read, and a folder that nobody may write into. */
let vault: string;
let dir: string;
beforeAll(async () => {
  host = await Host.create();
  vault = join(host.dir, 'vault');
  dir = join(host.dir, 'here');
  expectCreated(host, 'up');
  expectCreated(host, 'shared', '--mounts', 'host');
  expectCreated(host, 'down');
});
beforeEach(() => {
  for (const folder of [vault, dir]) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
  }
  writeFileSync(join(vault, 'secret'), 'secret\n');
  writeFileSync(join(dir, 'new'), 'new\n');
  mkdirSync(join(dir, 'tree'));
  writeFileSync(join(dir, 'tree/evil'), 'new\n');
});
afterAll(() => host.destroy());

const here = (...words: string[]): Result => host.run(['env', '-C', dir, MINICT, ...words]);

function expectVaultUntouched(): void {
  expect(readdirSync(vault)).toEqual(['secret']);
  expect(readFileSync(join(vault, 'secret'), 'utf8')).toBe('secret\n');
}

/** Everything below `dir` that came out. */
const cameOut = () => host.run(['sh', '-c', 'find "$0" -type f -exec cat {} +', dir]).stdout;

/** `plant` makes it in `/srv/x`; $V is the vault. Then what is asked for, at each place of a path. */
const TRAPS: readonly [string, string, string[]][] = [
  ['an absolute symlink to a file', 'ln -s "$V/secret" x', ['x', 'x/']],
  ['an absolute symlink to a folder', 'ln -s "$V" x', ['x/secret', 'x/', 'x/.', 'x/evil', 'x']],
  ['dots', 'ln -s "../../../../../../../../../..$V" x', ['x/secret', 'x/.', 'x/../vault/secret', 'x/evil']],
  ['a chain', 'ln -s a x; ln -s b/../c a; mkdir b; ln -s /srv/d c; ln -s "../..$V" d', ['x/secret', 'x/.', 'a/secret']],
  [
    'a symlink in a folder',
    'mkdir x; ln -s "$V" x/y; ln -s "$V/secret" x/secret',
    ['x/y/secret', 'x/secret', 'x/y/.', 'x'],
  ],
  ['a loop', 'ln -s x x; ln -s /srv/x y', ['x', 'x/', 'x/secret', 'y/.']],
  ['the host by /proc', 'ln -s "/proc/1/root$V" x; ln -s /proc/self/cwd y', ['x/secret', 'x/.', 'y/', 'y/secret']],
  ['the root itself', 'ln -s / x; ln -s / y', ['x/x/y/x/../../../srv/../../../../../..$V/secret']],
];

describe.each(['up', 'down'])('in a container that is %s', (name) => {
  test.each(TRAPS)('%s', (_, plant, paths) => {
    if (name === 'down') host.minict('start', name);
    const script = `rm -rf /srv/* "$V"; cd /srv; ${plant}`;
    expect(host.minict('exec', '-e', `V=${vault}`, name, 'sh', '-ec', script)).toMatchObject({ status: 0, stderr: '' });
    if (name === 'down') host.minict('stop', name);
    for (const path of paths.map((path) => `${name}:/srv/${path.replace('$V', vault)}`)) {
      for (const words of [
        ['cp', path, 'out'],
        ['cp', '-L', path, 'out'],
        ['cp', '-a', path, '.'],
        ['cp', 'new', path],
        ['cp', 'tree', path],
        ['cp', 'tree/.', path],
      ]) {
        const result = here(...words);
        if (result.status !== 0) expectRefused(result, /^minict: cannot copy/);
        expect(cameOut(), words.join(' ')).not.toContain('secret');
        expectVaultUntouched();
      }
      expect(host.run(['sh', '-c', `"$0" cp -L "$1" - | tar xO || true`, MINICT, path]).stdout).not.toContain('secret');
      const stream = archive({ name: 'evil', content: 'x' });
      host.run([MINICT, 'cp', '-', path], {}, stream);
      expectVaultUntouched();
    }
  });
});

test('a symlink that is there already is not written through, by a stream or by a tree', () => {
  const inside = (script: string) => host.minict('exec', '-e', `V=${vault}`, 'up', 'sh', '-ec', script);
  inside('rm -rf /srv/*; cd /srv; ln -s "$V" x; mkdir d; ln -s "$V" d/x');
  const stream = (members: readonly Member[]) => host.run([MINICT, 'cp', '-', 'up:/srv'], {}, archive(...members));
  const through = /would be written through a symlink|non-directory/;
  expectRefused(stream([{ name: 'x/evil', content: 'x' }]), through);
  expectRefused(stream([{ name: 'x/', flag: '5' }, { name: 'x/evil' }]), through);
  expectRefused(stream([{ name: 'd/x/evil', content: 'x' }]), through);
  expectRefused(stream([{ name: 'l', flag: '1', target: 'x/secret' }]), /./);
  mkdirSync(join(dir, 'tree/x'));
  writeFileSync(join(dir, 'tree/x/evil'), '');
  expectRefused(here('cp', 'tree/.', 'up:/srv'), through);
  expectRefused(here('cp', 'tree/.', 'up:/srv/d'), through);
  expectVaultUntouched();
  // A file does replace the symlink itself.
  expect(here('cp', 'new', 'up:/srv/d')).toMatchObject({ status: 0 });
  expect(stream([{ name: 'x', content: 'x' }])).toMatchObject({ status: 0 });
  expect(inside('cat /srv/x; readlink /srv/d/x').stdout).toBe(`x${vault}\n`);
  expectVaultUntouched();
});

test('what came out before, with a symlink in it, is not written through when more comes out', () => {
  const inside = (script: string) => host.minict('exec', '-e', `V=${vault}`, 'up', 'sh', '-ec', script);
  inside('rm -rf /srv/*; mkdir /srv/d; ln -s "$V" /srv/d/x');
  expect(here('cp', 'up:/srv/d', '.')).toMatchObject({ status: 0 });
  inside('rm /srv/d/x; mkdir /srv/d/x; echo new >/srv/d/x/evil');
  expectRefused(here('cp', 'up:/srv/d', '.'), /would overwrite a non-directory with a directory/);
  expectVaultUntouched();
});

test.each<[string, Member[], RegExp]>([
  ['dots', [{ name: 'a/../../evil' }], /member a\/\.\.\/\.\.\/evil leads out/],
  ['dots by pax', [pax('path', '../../evil'), { name: 'ok' }], /leads out/],
  ['a symlink of its own', [{ name: 'd', flag: '2', target: '/' }, { name: 'd/evil' }], /member d\/evil .*symlink/],
  ['a hard link to outside', [{ name: 'l', flag: '1', target: '../../victim' }], /member l is a hard link/],
  ['a folder over a file', [{ name: 'f/', flag: '5' }], /member f\/ would overwrite a non-directory/],
  ['a file over a folder', [{ name: 'g' }], /member g would overwrite a directory/],
  ['a file in a file', [{ name: 'f/g' }], /member f\/g would overwrite a non-directory/],
  ['an unknown kind', [{ name: 'u', flag: 'V' }], /unknown kind/],
])('a stream with %s is refused', (_, members, message) => {
  host.minict('exec', 'up', 'sh', '-c', 'rm -rf /srv/*; echo old >/srv/f; mkdir /srv/g');
  const stream = archive({ name: 'first', content: 'x' }, ...members);
  expectRefused(host.run([MINICT, 'cp', '-', 'up:/srv'], {}, stream), message);
  expect(host.minict('exec', 'up', 'sh', '-c', 'cat /srv/f; ls /evil 2>/dev/null').stdout).toBe('old\n');
});

test('a device comes out with -a only', () => {
  host.minict('exec', 'up', 'sh', '-c', 'rm -rf /srv/*; mkdir /srv/d; mknod /srv/d/null c 1 3');
  expectRefused(here('cp', 'up:/srv/d', '.'), /member \.\/null is a device, which is copied with --archive only/);
  expect(here('cp', '-a', 'up:/srv/d', 'kept')).toMatchObject({ status: 0, stderr: '' });
  expect(host.run(['stat', '-c', '%F %t,%T', join(dir, 'kept/null')]).stdout).toBe('character special file 1,3\n');
});

/** A program in the container that puts a symlink to the vault in the place of a folder, and back, all the time. */
const SWAP = `import ctypes, os, sys, time
os.chdir(sys.argv[1]); libc = ctypes.CDLL(None); end = time.monotonic() + 50
while time.monotonic() < end:
    libc.renameat2(-100, b'x', -100, b'y', 2); time.sleep(0.0003)`;

test.each(['up', 'shared'])('a symlink that comes and goes all the while, in a container that is %s', async (name) => {
  host.minict(
    'exec',
    '-e',
    `V=${vault}`,
    name,
    'sh',
    '-ec',
    'rm -rf /srv/*; mkdir -p /srv/x/sub; echo ok >/srv/x/sub/f; ln -s "$V" /srv/y',
  );
  mkdirSync(join(vault, 'sub'));
  mkdirSync(join(dir, 'tree/sub'));
  writeFileSync(join(dir, 'tree/sub/evil'), 'x');
  const root = join(host.root, 'containers', name, 'rootfs/srv');
  const enter = name === 'up' ? ['nsenter', '--mount=/run/mntns/up'] : [];
  const swapper = host.spawn([...enter, 'python3', '-c', SWAP, root]);
  const stream = archive({ name: 'x/evil', content: 'x' }, { name: 'x/sub/evil', content: 'x' });
  let through = 0;
  for (let round = 0; round < 8; round += 1) {
    const results = [
      here('cp', `${name}:/srv/x`, `x${round}`),
      here('cp', `${name}:/srv`, `srv${round}`),
      here('cp', `${name}:/srv/x/.`, `in${round}`),
      here('cp', `${name}:/srv/x/sub/f`, `f${round}`),
      here('cp', '-L', `${name}:/srv/x/secret`, `s${round}`),
      here('cp', 'tree/.', `${name}:/srv/x`),
      here('cp', 'new', `${name}:/srv/x/sub/evil`),
      host.run([MINICT, 'cp', '-', `${name}:/srv`], {}, stream),
    ];
    through += results.filter(({ status }) => status === 0).length;
    for (const { stderr } of results) expect(stderr).not.toContain('internal error');
    expect(cameOut()).not.toContain('secret');
    expect(readdirSync(vault).sort()).toEqual(['secret', 'sub']);
    expect(readdirSync(join(vault, 'sub'))).toEqual([]);
  }
  swapper.kill('SIGKILL');
  await swapper.exited;
  expect(through).toBeGreaterThan(0);
});
