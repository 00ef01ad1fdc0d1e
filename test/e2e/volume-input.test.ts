/** -v, --tmpfs: what is refused, and images and volumes that would lead out of the root. Nothing is left of either. */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectCreated, expectRefused, expectRefusedThere } from '../helpers/expect.ts';
import { Host } from '../helpers/host.ts';
import { imageTree } from '../helpers/images.ts';
import { treeOf } from '../helpers/trees.ts';

let host: Host;
let dir: string;
beforeAll(async () => {
  host = await Host.create();
  expectCreated(host, 'keep');
  dir = join(host.dir, 'here');
  mkdirSync(dir);
  writeFileSync(join(dir, 'file'), 'theirs\n');
});
afterAll(() => host.destroy());

/** A copy of the image `base`. */
function tree(name: string): string {
  const path = join(dir, name);
  rmSync(path, { recursive: true, force: true });
  expect(host.run(['cp', '-a', imageTree(host, 'base'), path]).status).toBe(0);
  return path;
}

const hostMounts = () => host.run(['cat', '/proc/self/mountinfo']).stdout.replace(/^\d+ \d+ /gm, '');

describe('refused', () => {
  test.each<[string[], RegExp]>([
    [['-v', 'data:relative'], /"relative" is no absolute path\nhint: SRC:DST/],
    [['-v', 'data'], /"data" is no absolute path/],
    [['-v', 'data:'], /"" is no absolute path/],
    [['-v', ''], /"" is no absolute path/],
    [['--tmpfs', 'tmp:size=1m'], /"tmp" is no absolute path/],
    [['-v', 'data:/srv/../etc'], /cannot mount at \/srv\/\.\.\/etc: '\.\.' in a path\nhint: /],
    [['-v', 'data:/'], /cannot mount at \/: the root is the image's\nhint: --rootfs/],
    [['-v', '//'], /the root is the image's/],
    [['-v', 'data:/.'], /the root is the image's/],
    [['-v', 'data:/a\nb'], /a control character/],
    [['-v', `data:/${'x'.repeat(256)}`], /a name of more than 255 bytes/],
    ...['/proc', '/proc/sys', '/sys/fs/cgroup', '/dev', '//dev//shm', '/./proc/'].map((path): [string[], RegExp] => [
      ['-v', `data:${path}`],
      /: \/(proc|sys|dev) is the host's\nhint: /,
    ]),
    [['--tmpfs', '/dev/shm'], /\/dev is the host's/],
    [['-v', 'data:/etc/hosts/x'], /\/etc\/hosts is a file/],
    [['-v', 'data:/etc/hosts'], /it is no directory there, and one is to be mounted/],
    [['--tmpfs', '/etc/passwd'], /it is no directory there/],
    [['-v', '/:/etc/resolv.conf'], /it is no directory there/],
    [['-v', '/etc/passwd:/srv'], /it is a directory there, and a file is to be mounted/],
    [['-v', 'data:/etc/passwd/x'], /a file is in its way/],
    [['-v', '/nowhere/at/all:/srv'], /cannot mount \/nowhere\/at\/all: no such file or directory\nhint: mkdir -p/],
    [['-v', './nowhere:/srv'], /no such file or directory/],
    [['-v', '/srv:/srv:rx'], /not SRC:DST\[:ro\|rw\]\nhint: ro and rw/],
    [['-v', '/a:b:/srv:ro'], /not SRC:DST\[:ro\|rw\]\nhint: a path with a colon/],
    [['-v', ':/srv'], /volume name "": not a valid name/],
    ...['-x', 'a b', 'ü', 'a\x1b[2J', 'x'.repeat(129), '_a', '$(id)', 'a,b'].map((name): [string[], RegExp] => [
      ['-v', `${name}:/srv`],
      /cannot use volume name ".*": not a valid name\nhint: /,
    ]),
    [['-v', 'a:/srv', '-v', 'b:/srv/'], /cannot mount at \/srv: two of them/],
    [['-v', '/srv', '--tmpfs', '/srv'], /cannot mount at \/srv: two of them/],
    ...['size=abc', 'size=', 'size=0', 'size=-1', 'size=101%', 'size=9999999999g', 'size=64mm', 'nr_inodes=5%'].map(
      (option): [string[], RegExp] => [
        ['--tmpfs', `/tmp:${option}`],
        /cannot use tmpfs option ".*": not a valid one\nhint: /,
      ],
    ),
    ...[
      'mode=9',
      'mode=17777',
      'uid=root',
      'uid=4294967295',
      'gid=-1',
      'mpol=default',
      'bind',
      'exec=1',
      'rw,,exec',
      '',
    ].map((option): [string[], RegExp] => [
      ['--tmpfs', `/tmp:${option}`],
      /tmpfs option ".*": not a valid one\nhint: /,
    ]),
    [['--tmpfs', '/tmp:toString'], /tmpfs option/],
  ])('%j', async (words, message) => {
    await expectRefusedThere(host, ['create', 'c1', ...words], message);
    expect(existsSync(join(host.root, 'volumes/data'))).toBe(false);
  });

  test('a source that is a loop of symlinks, or in a folder that is a file', async () => {
    symlinkSync('loop', join(dir, 'loop'));
    await expectRefusedThere(host, ['create', 'c1', '-v', `${dir}/loop:/srv`], /too many symbolic links/i);
    await expectRefusedThere(host, ['create', 'c1', '-v', `${dir}/file/x:/srv`], /no such file or directory/);
  });

  test("a mount point that is missing in the host's own directory is not made there", async () => {
    mkdirSync(join(dir, 'outer'));
    const words = ['create', 'c1', '-v', `${dir}/outer:/outer`, '-v', 'data:/outer/inner'];
    await expectRefusedThere(
      host,
      words,
      /cannot mount at \/outer\/inner of .*: the host has no \/.*\/outer\/inner\nhint: mkdir -p/,
    );
    mkdirSync(join(dir, 'outer/inner'));
    expectCreated(host, ...(words.slice(1) as [string]));
    expect(host.minict('rm', 'c1').status).toBe(0);
    host.minict('volume', 'rm', 'data');
  });
});

describe.each(['private', 'host'])("a link of the image's never leads to the host (--mounts %s)", (mounts) => {
  test.each<[link: string, leadsTo: string, target: string]>([
    ['srv', '/etc', '/srv'],
    ['srv', '../../../../../../../../etc', '/srv/minict-test'],
    ['srv', '/tmp', '/srv/deep/er'],
    ['srv/link', '/etc/minict-test/new', '/srv/link/more'],
  ])('%s -> %s, -v volume:%s', (link, leadsTo, target) => {
    const image = tree('linked');
    rmSync(join(image, link), { recursive: true, force: true });
    mkdirSync(join(image, 'srv/..'), { recursive: true });
    if (link.includes('/')) mkdirSync(join(image, 'srv'), { recursive: true });
    symlinkSync(leadsTo, join(image, link));
    const before = { mounts: hostMounts(), etc: lstatSync('/etc'), image: treeOf(host, image) };
    expectCreated(
      host,
      'c1',
      '--image',
      image,
      '--mounts',
      mounts,
      '-v',
      `data:${target}`,
      '-v',
      `${dir}/file:${target}.file`,
    );
    expect(host.minict('exec', 'c1', 'sh', '-c', `cat "${target}.file"; echo inside >"${target}/new"`).stdout).toBe(
      'theirs\n',
    );
    expect(readFileSync(join(host.root, 'volumes/data/data/new'), 'utf8')).toBe('inside\n');
    expect(host.minict('stop', 'c1')).toMatchObject({ status: 0, stderr: '' });
    expect(host.minict('start', 'c1')).toMatchObject({ status: 0, stderr: '' });
    expect(host.minict('exec', 'c1', 'cat', `${target}/new`).stdout).toBe('inside\n');
    expect(host.minict('rm', 'c1')).toMatchObject({ status: 0, stderr: '' });
    expect(host.minict('volume', 'rm', 'data').status).toBe(0);
    expect({ mounts: hostMounts(), etc: lstatSync('/etc'), image: treeOf(host, image) }).toEqual(before);
  });

  test.each<[string, string, RegExp]>([
    ['/', '/srv', /it leads to the root|it leads to \/, which/],
    ['/proc', '/srv', /it leads to \/proc, which is in the way of \/proc/],
    ['/proc/1/root', '/srv/tmp', /it leads to \/proc\/1\/root\/tmp, which is in the way of \/proc/],
    ['srv', '/srv', /its symlinks lead in a circle/],
    ['../var/www', '/srv', /is a mount point already/],
  ])('srv -> %s, -v volume:%s is refused', async (leadsTo, target, message) => {
    const image = tree('linked');
    rmSync(join(image, 'srv'), { recursive: true, force: true });
    symlinkSync(leadsTo, join(image, 'srv'));
    const options = ['--mounts', mounts, '--image', image, '-v', `data:${target}`, '-v', '/var/www'];
    const before = hostMounts();
    const refused = host.minict('create', 'c1', ...options);
    expectRefused(refused, message);
    expect(refused.stderr).toContain(` of image ${image}: `);
    expect(hostMounts()).toBe(before);
    expect(host.minict('volume', 'ls', '-q').stdout).toBe('');
  });

  test('a link in a volume, made by who had it before, leads on in the root', () => {
    const before = hostMounts();
    expectCreated(host, 'c1', '-v', 'shared:/data');
    const links = [
      'ln -s /etc /data/etc',
      'ln -s ../../../../../tmp /data/up',
      'ln -s /data/dir /data/self',
      'mkdir /data/dir',
    ];
    host.minict('exec', 'c1', 'sh', '-c', links.join('; '));
    const own = ['/data/etc/minict-a', '/data/up/minict-b', '/data/self/c'].flatMap((path) => ['-v', path]);
    expectCreated(host, 'c2', '--mounts', mounts, '-v', 'shared:/data', ...own);
    host.minict('exec', 'c2', 'sh', '-c', 'for d in /etc/minict-a /tmp/minict-b /data/dir/c; do echo x >$d/x; done');
    for (const index of [1, 2, 3]) expect(existsSync(join(host.root, `containers/c2/volumes/${index}/x`))).toBe(true);
    for (const path of ['/etc/minict-a', '/tmp/minict-b']) expect(existsSync(path)).toBe(false);
    expect(host.minict('rm', 'c1', 'c2').stderr).toBe('');
    host.minict('volume', 'rm', 'shared');
    expect(hostMounts()).toBe(before);
  });

  test('what the image has at a new volume’s place is copied as it is: links out of it stay links', () => {
    const image = tree('copied');
    mkdirSync(join(image, 'srv'), { recursive: true });
    symlinkSync('/etc/shadow', join(image, 'srv/shadow'));
    symlinkSync('/etc', join(image, 'srv/etc'));
    expectCreated(host, 'c1', '--image', image, '--mounts', mounts, '-v', 'data:/srv');
    expect(treeOf(host, join(host.root, 'volumes/data/data'))).toBe(treeOf(host, join(image, 'srv')));
    host.minict('rm', 'c1');
    host.minict('volume', 'rm', 'data');
  });
});

test('a place that a layer of the image removed, or made anew, is there again for the mount alone', () => {
  expectCreated(host, 'c1');
  const changes = [
    'mkdir -p /opt/a/b && chmod 1770 /opt/a && chown 3:4 /opt/a',
    'rm -r /var && mkdir /var && chmod 711 /var',
  ];
  host.minict('exec', 'c1', 'sh', '-c', changes.join('; '));
  host.minict('snapshot', 'create', 'c1', 'made');
  host.minict('exec', 'c1', 'sh', '-c', 'rm -r /opt/a/b /srv; rm /etc/hosts');
  expect(host.minict('commit', 'c1', 'changed').stderr).toBe('');
  host.minict('rm', 'c1');
  const mounts = ['-v', 'data:/opt/a/b/c', '-v', `${dir}/file:/var/deep/file`, '--tmpfs', '/srv'];
  expectCreated(host, 'c1', '--image', 'changed', ...mounts);
  const script = 'stat -c "%a %u %g" /opt/a /opt/a/b /var; cat /var/deep/file /etc/hostname; ls /opt/a /var';
  expect(host.minict('exec', 'c1', 'sh', '-c', script).stdout).toBe(
    '1770 3 4\n755 0 0\n711 0 0\ntheirs\nc1\n/opt/a:\nb\n\n/var:\ndeep\n',
  );
  expect(host.minict('exec', 'c1', 'sh', '-c', 'cat /etc/hosts').stdout).toContain('keep');
  expect(host.minict('restart', 'c1').stderr).toBe('');
  expect(readdirSync(join(host.root, 'containers/c1/upper'), { recursive: true })).toEqual([]);
  host.minict('rm', '-f', 'c1');
  host.minict('image', 'rm', 'changed');
  host.minict('volume', 'rm', 'data');
});
