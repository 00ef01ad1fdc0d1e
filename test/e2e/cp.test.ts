/** cp by docker's rules, from and to containers in every state; what it keeps. Docker's own answers were the model. */
import { lstatSync, mkdirSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { expectCreated, expectRefused } from '../helpers/expect.ts';
import { Host, MINICT, type Result } from '../helpers/host.ts';
import { imageTree } from '../helpers/images.ts';
import { EVERYTHING, factsOf } from '../helpers/tree.ts';

let host: Host;
let dir: string;
beforeAll(async () => {
  host = await Host.create();
  dir = join(host.dir, 'here');
  expectCreated(host, 'web1');
  mkdirSync(dir);
  expect(host.run(['sh', '-ec', `cd "$1"; ${EVERYTHING}`, 'sh', host.dir])).toMatchObject({ status: 0, stderr: '' });
});
beforeEach(() => {
  rmSync(dir, { recursive: true });
  mkdirSync(dir);
});
afterAll(() => host.destroy());

/** minict in the folder `dir`. */
const here = (...words: string[]): Result => host.run(['env', '-C', dir, MINICT, ...words]);
const inside = (script: string, name = 'web1', ...words: string[]) =>
  host.minict('exec', name, 'sh', '-ec', script, 'sh', ...words);
const shell = (script: string) => host.run(['env', '-C', dir, `M=${MINICT}`, 'bash', '-ec', script]);
const done = { status: 0, stdout: '', stderr: '' };
/** Every path below `dir`, with what it is. */
const listing = (at = dir) =>
  host.run(['find', at, '-mindepth', '1', '-printf', '%P %y%l\n']).stdout.split('\n').filter(Boolean).sort();

const STATES: readonly [string, readonly string[], boolean][] = [
  ['up', [], true],
  ['up with --mounts host', ['--mounts', 'host'], true],
  ['stopped', [], false],
  ['stopped with --mounts host', ['--mounts', 'host'], false],
  ['up with --rootfs', ['--rootfs', 'ROOTFS'], true],
  ['stopped with --rootfs', ['--rootfs', 'ROOTFS'], false],
];

describe.each(STATES)('a container that is %s', (_, options, up) => {
  test('all that a tree has goes in and out again', () => {
    const rootfs = join(host.dir, 'rootfs');
    rmSync(rootfs, { recursive: true, force: true });
    expect(host.run(['cp', '-a', imageTree(host, 'base'), rootfs])).toMatchObject({ status: 0 });
    const words = options.map((word) => (word === 'ROOTFS' ? rootfs : word));
    expectCreated(host, 'c1', ...words);
    if (!up) host.minict('stop', 'c1');
    const before = host.snapshot();
    expect(here('cp', '-a', join(host.dir, 'tree'), 'c1:/srv')).toEqual(done);
    expect(here('cp', '--archive', 'c1:/srv/tree', '.')).toEqual(done);
    expect(factsOf(host, join(dir, 'tree'))).toEqual(factsOf(host, join(host.dir, 'tree')));
    expect(host.snapshot()).toEqual(before);
    if (!up) host.minict('start', 'c1');
    const seen = host.minict(
      'exec',
      'c1',
      'sh',
      '-c',
      'cd /srv/tree && cat ./-dash a:b .hidden && stat -c %u:%g:%a two',
    );
    expect(seen).toEqual({ status: 0, stdout: 'dash\ncolon\nhidden\n12345:54321:4751\n', stderr: '' });
    expect(host.minict('rm', 'c1')).toMatchObject({ status: 0, stderr: '' });
  });

  test('a stream goes out and in again', () => {
    expectCreated(host, 'c1', ...options.map((word) => (word === 'ROOTFS' ? join(host.dir, 'rootfs') : word)));
    inside('mkdir -p /srv/a/b /srv/copy; echo x >/srv/a/b/c', 'c1');
    if (!up) host.minict('stop', 'c1');
    expect(
      shell('$M cp c1:/srv/a - >a.tar; tar tf a.tar; $M cp - c1:/srv/copy <a.tar; $M cp c1:/srv/copy - | tar t'),
    ).toEqual({
      ...done,
      stdout: 'a/\na/b/\na/b/c\ncopy/\ncopy/a/\ncopy/a/b/\ncopy/a/b/c\n',
    });
    expect(host.minict('rm', 'c1')).toMatchObject({ status: 0, stderr: '' });
  });
});

describe('what goes where', () => {
  beforeAll(() => {
    inside('mkdir -p /etc/nginx/sub; cd /etc; echo conf >nginx/conf; ln -s conf nginx/lf; ln -s nginx ngx');
  });
  const tree = (name: string) => ['', '/conf', '/lf', '/sub'].map((path) => `${name}${path}`);
  const kinds = (paths: readonly string[]) =>
    paths.map((path) => `${path} ${/lf$/.test(path) ? 'lconf' : /conf$/.test(path) ? 'f' : 'd'}`).sort();

  test.each<[string[], string, string[]]>([
    [['web1:/etc/nginx', '.'], '', tree('nginx')],
    [['web1:/etc/nginx', './'], '', tree('nginx')],
    [['web1:/etc/nginx', 'new'], '', tree('new')],
    [['web1:/etc/nginx', 'new/'], '', tree('new')],
    [['web1:/etc/nginx/', '.'], '', tree('nginx')],
    [['web1:/etc/nginx/.', 'new'], '', tree('new')],
    [
      ['web1:/etc/nginx/.', '.'],
      '',
      tree('')
        .slice(1)
        .map((path) => path.slice(1)),
    ],
    [['web1:/etc/nginx', 'd'], 'mkdir d', ['d', ...tree('d/nginx')]],
    [['web1:/etc/nginx/.', 'd'], 'mkdir d', tree('d')],
    [['web1:etc/./nginx/../nginx', '.'], '', tree('nginx')],
    [['web1:/etc/ngx/', '.'], '', tree('ngx')],
    [['web1:/etc/ngx/', 'new'], '', tree('new')],
    [['-L', 'web1:/etc/ngx', '.'], '', tree('ngx')],
    [['--follow-link', 'web1:/etc/ngx', 'new'], '', tree('new')],
    [['web1:/etc/nginx/conf', '.'], '', ['conf']],
    [['web1:/etc/nginx/conf', 'x-conf'], '', ['x-conf']],
    [['web1:/etc/nginx/conf', 'old-conf'], 'echo old >old-conf', ['old-conf']],
    [['-L', 'web1:/etc/nginx/lf', 'x-conf'], '', ['x-conf']],
  ])('cp %j', (words, prepare, result) => {
    shell(prepare);
    expect(here('cp', ...words)).toEqual(done);
    expect(listing()).toEqual(kinds(result));
  });

  test('a symlink is copied as one, is followed at the other end, and becomes what it leads to where that is not there', () => {
    expect(here('cp', 'web1:/etc/ngx', '.')).toEqual(done);
    expect(readlinkSync(join(dir, 'ngx'))).toBe('nginx');
    symlinkSync('target', join(dir, 'link'));
    expect(here('cp', 'web1:/etc/nginx/conf', 'link')).toEqual(done);
    expect(readFileSync(join(dir, 'target'), 'utf8')).toBe('conf\n');
    inside('cd /srv; mkdir d; ln -s d to-d; ln -s /srv/new to-new');
    writeFileSync(join(dir, 'f'), 'f\n');
    for (const place of ['to-d', 'to-d/g', 'to-new']) expect(here('cp', 'f', `web1:/srv/${place}`)).toEqual(done);
    expect(inside('cd /srv; cat d/f d/g new; readlink to-new').stdout).toBe('f\nf\nf\n/srv/new\n');
    inside('rm -r /srv/*');
  });

  test('names in a stream: as it was asked for, but as it is where a symlink led to it', () => {
    const names = (...words: string[]) => shell(`$M cp ${words.join(' ')} - | tar t | sort | head -n 2`).stdout;
    expect(names('web1:/etc/nginx')).toBe('nginx/\nnginx/conf\n');
    expect(names('web1:/etc/ngx/')).toBe('ngx/\nngx/conf\n');
    expect(names('web1:/etc/nginx/.')).toBe('./\n./conf\n');
    expect(names('web1:/etc/nginx/lf')).toBe('lf\n');
    expect(names('-L', 'web1:/etc/nginx/lf')).toBe('conf\n');
  });
});

test('a directory that is there keeps its mode and times when only contents come, and a merged one takes the new ones', () => {
  inside('mkdir -p /srv/d/sub; chmod 700 /srv/d /srv/d/sub; chown 33:33 /srv/d; touch -d 2001-01-01 /srv/d');
  shell('mkdir -p d/sub; echo x >d/sub/f; chmod 755 d d/sub');
  expect(here('cp', 'd/.', 'web1:/srv/d')).toEqual(done);
  expect(shell('tar -C d -c . | $M cp - web1:/srv/d')).toEqual(done);
  expect(inside('cd /srv/d; stat -c %a:%u . sub; cat sub/f').stdout).toBe('700:33\n755:0\nx\n');
  expect(here('cp', 'd', 'web1:/srv')).toEqual(done);
  expect(inside('stat -c %a /srv/d').stdout).toBe('755\n');
  inside('rm -r /srv/d');
});

test('owners: root without -a, the same numbers with it; no set-id bit and no capability comes out without it', () => {
  shell('echo x >f; chown 1000:1001 f; chmod 4711 f');
  here('cp', 'f', 'web1:/srv/plain');
  here('cp', '-a', 'f', 'web1:/srv/archived');
  shell('tar c f | $M cp - web1:/srv');
  expect(inside('cd /srv; stat -c %n:%u:%g:%a plain archived f').stdout).toBe(
    'plain:0:0:4711\narchived:1000:1001:4711\nf:0:0:4711\n',
  );
  here('cp', 'web1:/srv/archived', 'out');
  here('cp', '-a', 'web1:/srv/archived', 'kept');
  const facts = (name: string) => {
    const { uid, gid, mode } = lstatSync(join(dir, name));
    return `${uid}:${gid}:${(mode & 0o7777).toString(8)}`;
  };
  expect([facts('out'), facts('kept')]).toEqual(['0:0:711', '1000:1001:4711']);
  here('cp', join(host.dir, 'tree/cap'), 'web1:/srv/cap');
  here('cp', 'web1:/srv/cap', 'cap');
  here('cp', '-a', 'web1:/srv/cap', 'cap-kept');
  const capable = factsOf(host, dir).filter((line) => line.includes('security.capability'));
  expect(capable).toEqual([expect.stringContaining("b'/cap-kept'")]);
  inside('rm -r /srv/*');
});

test('files that are mounted in it are as it sees them; what is mounted over its /proc, /sys and /dev is the host’s', () => {
  for (const file of ['hosts', 'hostname', 'resolv.conf']) {
    expect(here('cp', `web1:/etc/${file}`, '.')).toEqual(done);
    expect(readFileSync(join(dir, file), 'utf8')).toBe(inside(`cat /etc/${file}`).stdout);
  }
  inside('mkdir /srv/m; mount -t tmpfs none /srv/m; echo deep >/srv/m/f; ln -s /dev /srv/dev; ln -s /proc/1 /srv/p');
  expect(here('cp', 'web1:/srv/m', '.')).toEqual(done);
  expect(readFileSync(join(dir, 'm/f'), 'utf8')).toBe('deep\n');
  expect(shell('echo in >in; $M cp in web1:/srv/m/')).toEqual(done);
  expect(inside('cat /srv/m/in').stdout).toBe('in\n');
  const hosts = /a container's \/proc, \/sys and \/dev are the host's$/m;
  for (const path of ['/proc/1/environ', '/dev', '/dev/shm/', '/sys/kernel', '/srv/dev/null', 'srv/../dev/x']) {
    expectRefused(here('cp', `web1:${path}`, 'x'), hosts);
    expectRefused(here('cp', 'in', `web1:${path}`), hosts);
  }
  // There is no /proc/1 below the mount that is left out.
  expectRefused(here('cp', 'web1:/srv/p/environ', 'x'), /no such file or directory/);
  expect(here('cp', 'web1:/', 'all')).toEqual(done);
  expect(listing().filter((path) => /^all\/(proc|sys|dev)\//.test(path))).toEqual([]);
  expect(listing()).toContain('all/bin/busybox f');
  inside('umount /srv/m; rm -r /srv/*');
});

test('a stream may be compressed', () => {
  shell('echo x >f');
  for (const tool of ['cat', 'gzip', 'xz', 'zstd -q', 'bzip2']) {
    expect(shell(`tar c f | ${tool} | $M cp - web1:/srv`)).toEqual(done);
    expect(inside('cat /srv/f; rm /srv/f').stdout).toBe('x\n');
  }
});

test('from container to container by a pipe, also within one that is up', () => {
  expectCreated(host, 'web2');
  inside('head -c 3000000 /dev/urandom >/srv/big');
  expect(shell('$M cp web1:/srv/big - | $M cp - web2:/srv; $M cp web1:/srv/big - | $M cp - web1:/tmp')).toEqual(done);
  const sums = [
    inside('cat /srv/big | md5sum'),
    inside('cat /tmp/big | md5sum'),
    inside('cat /srv/big | md5sum', 'web2'),
  ];
  expect(new Set(sums.map(({ stdout }) => stdout)).size).toBe(1);
  // Stopped, it cannot be read and written at a time.
  host.minict('stop', 'web1');
  const both = shell('set -o pipefail; $M cp web1:/srv/big - | $M cp - web1:/root; exit 0');
  expect(both.stderr).toMatch(
    /cannot (read|write) files of web1: it is stopped, and another minict is at work on it\nhint: minict start web1/,
  );
  host.minict('start', 'web1');
  expect(inside('ls /root').stdout).toBe('');
  inside('rm -r /srv/* /tmp/*');
  host.minict('rm', 'web2');
});

test('names with spaces, newlines, dashes, colons, backslashes', () => {
  const names = [
    'a b',
    'new\nline',
    '-dash',
    '--',
    'a:b',
    'back\\tslash',
    '$(id)',
    "quo'te",
    'c,d&e',
    '\u00fc',
    '.hid',
  ];
  for (const name of names) {
    writeFileSync(join(dir, name), `${name}\n`);
    expect(here('cp', '--', `./${name}`, 'web1:/srv')).toEqual(done);
    expect(here('cp', '--', `web1:/srv/${name}`, `./out ${name}`)).toEqual(done);
    expect(here('cp', '--', `web1:/srv/${name}`, `web-${name.replaceAll(':', '')}`)).toEqual(done);
    expect(readFileSync(join(dir, `out ${name}`), 'utf8')).toBe(`${name}\n`);
    // A directory that gets its name on its way.
    inside('rm -rf /srv/* /srv/.hid; mkdir /srv/d; echo x >/srv/d/f; ln -s d "/srv/l$1"', 'web1', name);
    expect(here('cp', '--', `web1:/srv/l${name}/`, '.')).toEqual(done);
    expect(readFileSync(join(dir, `l${name}`, 'f'), 'utf8')).toBe('x\n');
    const stream = host.run(['bash', '-c', '"$0" cp "web1:/srv/l$1/" - | tar t --quoting-style=literal', MINICT, name]);
    expect(stream).toEqual({ ...done, stdout: `l${name}/\nl${name}/f\n` });
    inside('rm -r /srv/*');
  }
});

test('on a host whose mounts are shared, as systemd makes them, none of a copy’s shows anywhere', async () => {
  const shared = await Host.create('shared');
  const rootfs = join(shared.dir, 'rootfs');
  for (const options of [[], ['--mounts', 'host'], ['--rootfs', rootfs], ['--rootfs', rootfs, '--mounts', 'host']]) {
    expectCreated(shared, 'c1', ...options);
    if (options.length === 0) shared.run(['cp', '-a', imageTree(shared, 'base'), rootfs]);
    for (const state of ['up', 'stopped']) {
      if (state === 'stopped') shared.minict('stop', 'c1');
      const before = shared.snapshot();
      for (const words of [
        ['cp', join(host.dir, 'tree/dir'), 'c1:/srv'],
        ['cp', 'c1:/srv/dir', join(shared.dir, 'out')],
        ['export', 'c1', '-o', join(shared.dir, 'out.tar')],
      ]) {
        expect(shared.minict(...words)).toEqual(done);
        expect(shared.snapshot()).toEqual(before);
      }
      if (state === 'up')
        expect(shared.minict('exec', 'c1', 'cat', '/srv/dir/one', '/proc/1/comm').stdout).toMatch(/^one\n./);
      rmSync(join(shared.dir, 'out'), { recursive: true });
    }
    expect(shared.minict('rm', 'c1')).toMatchObject({ status: 0, stderr: '' });
  }
  await shared.destroy();
});
