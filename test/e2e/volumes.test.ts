/** -v, --tmpfs and --read-only: what programs see and may write, and what the host has of it. Read from both sides. */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { expectCreated } from '../helpers/expect.ts';
import { Host, MINICT, type Result } from '../helpers/host.ts';
import { imageTree } from '../helpers/images.ts';
import type { Snapshot } from '../helpers/snapshot.ts';
import { treeOf } from '../helpers/trees.ts';

let host: Host;
let image: string;
let src: string;
let clean: Snapshot;

beforeAll(async () => {
  host = await Host.create('shared');
  expectCreated(host, 'keep');
  image = join(host.dir, 'image');
  expect(host.run(['cp', '-a', imageTree(host, 'base'), image]).status).toBe(0);
  src = join(host.dir, 'src');
});
beforeEach(() => {
  host.run(['rm', '-rf', src]);
  mkdirSync(join(src, 'sub'), { recursive: true });
  writeFileSync(join(src, 'file'), 'theirs\n');
  clean = host.snapshot();
});
/** Neither a container nor its volumes leave anything. */
afterEach(async () => {
  host.minict('rm', '-f', 'c1', 'c2');
  host.minict('volume', 'prune');
  expect(await host.settled(clean)).toEqual(clean);
});
afterAll(() => host.destroy());

const sh = (name: string, script: string): Result => host.minict('exec', name, 'sh', '-c', script);
const volume = (name: string, path = '') => join(host.root, 'volumes', name, 'data', path);
/** Options of the mount at `target`, as the programs inside see it. */
const flagsOf = (target: string) =>
  host
    .minict('exec', 'c1', 'cat', '/proc/mounts')
    .stdout.split('\n')
    .map((line) => line.split(' '))
    .findLast(([, mounted]) => mounted === target)?.[3];
const erofs = (path: string) => expect(sh('c1', `echo x >${path}`).stderr).toMatch(/Read-only file system/);

describe.each(['private', 'host'])('--mounts %s', (mounts) => {
  const create = (...words: string[]) => expectCreated(host, 'c1', '--mounts', mounts, ...words);

  test('a directory and a file of the host: written on both sides, there after stop and start, untouched by rm', () => {
    create('-v', `${src}:/var/lib/db`, '-v', `${src}/file:/etc/motd`);
    expect(sh('c1', 'cat /etc/motd; echo mine >/var/lib/db/new; echo more >>/etc/motd').stdout).toBe('theirs\n');
    expect(readFileSync(join(src, 'new'), 'utf8')).toBe('mine\n');
    expect(readFileSync(join(src, 'file'), 'utf8')).toBe('theirs\nmore\n');
    expect(host.minict('stop', 'c1')).toMatchObject({ status: 0, stderr: '' });
    writeFileSync(join(src, 'meanwhile'), '');
    expect(host.minict('start', 'c1')).toMatchObject({ status: 0, stderr: '' });
    expect(sh('c1', 'ls /var/lib/db').stdout).toBe('file\nmeanwhile\nnew\nsub\n');
    expect(readdirSync(join(host.root, 'containers/c1/upper'), { recursive: true })).toEqual([]);
    const before = treeOf(host, src);
    expect(host.minict('rm', 'c1')).toMatchObject({ status: 0, stderr: '' });
    expect(treeOf(host, src)).toBe(before);
  });

  test('what is mounted in it shows, later mounts too; no mount of a program goes back to the host', () => {
    host.run(['mount', '-t', 'tmpfs', 'early', join(src, 'sub')]);
    mkdirSync(join(src, 'late'));
    create('-v', `${src}:/data`);
    host.run(['mount', '-t', 'tmpfs', 'late', join(src, 'late')]);
    expect(sh('c1', 'grep -c "^early /data/sub \\|^late /data/late " /proc/mounts').stdout).toBe('2\n');
    sh('c1', 'mkdir /data/own && mount -t tmpfs own /data/own && umount /data/sub');
    const table = host.run(['cat', '/proc/mounts']).stdout;
    expect(table).not.toContain(`own ${src}`);
    expect(table).toContain(`early ${src}/sub`);
    host.minict('rm', '-f', 'c1');
    for (const sub of ['sub', 'late']) expect(host.run(['umount', join(src, sub)]).status).toBe(0);
  });

  test(':ro is for every mount in it, also under one that covers it, and keeps their flags', () => {
    const deep = join(src, "sub/a b%s'c");
    mkdirSync(deep);
    host.run(['mount', '-t', 'tmpfs', '-o', 'nosuid,nodev,noatime', 'deep', deep]);
    mkdirSync(join(src, 'over/hidden'), { recursive: true });
    host.run(['mount', '-t', 'tmpfs', 'hidden', join(src, 'over/hidden')]);
    host.run(['mount', '-t', 'tmpfs', '-o', 'noexec', 'under', join(src, 'over')]);
    host.run(['mount', '-t', 'tmpfs', '-o', 'nosuid', 'over', join(src, 'over')]);
    create('-v', `${src}:/data:ro`);
    for (const path of ['/data/x', '/data/over/x', '"/data/sub/a b%s\'c/x"']) erofs(path);
    expect(flagsOf('/data/over')).toMatch(/^ro,nosuid,relatime/);
    expect(flagsOf("/data/sub/a\\040b%s'c")).toMatch(/^ro,nosuid,nodev,noatime/);
    // What is mounted on the host later would be writable.
    host.run(['mount', '-t', 'tmpfs', 'late', join(src, 'sub')]);
    erofs('/data/sub/x');
    expect(host.run(['touch', join(src, 'x'), join(src, 'over/x'), join(src, 'sub/x')])).toMatchObject({ status: 0 });
    host.run(['umount', join(src, 'sub')]);
    host.minict('rm', '-f', 'c1');
    for (const path of [deep, join(src, 'over'), join(src, 'over'), join(src, 'over/hidden')]) {
      expect(host.run(['umount', path])).toMatchObject({ status: 0 });
    }
  });

  test.each(['', ':ro'])('the whole host as a bind%s pins no namespace, and is unmounted whole', async (mode) => {
    create('-v', `/:/host${mode}`);
    expect(sh('c1', `cat /host${src}/file`).stdout).toBe('theirs\n');
    if (mode === ':ro') for (const path of [`/host${src}/x`, '/host/run/x', `/host${host.root}/x`]) erofs(path);
    expectCreated(host, 'c2');
    // No process is in it: the kernel lets go of it, and of its interface, once nothing holds its file.
    const { before, after } = { before: clean.network, after: async () => (await host.settled(clean)).network };
    host.minict('stop', 'c1');
    host.minict('start', 'c1');
    expect(host.minict('rm', 'c2')).toMatchObject({ status: 0, stderr: '' });
    expect(host.minict('rm', 'c1')).toMatchObject({ status: 0, stderr: '' });
    expect(await after()).toEqual(before);
  });

  test('a source that is read-only on the host stays so', () => {
    host.run(['mount', '-t', 'tmpfs', '-o', 'ro', 'early', join(src, 'sub')]);
    create('-v', `${src}/sub:/data:rw`);
    erofs('/data/x');
    host.minict('rm', 'c1');
    host.run(['umount', join(src, 'sub')]);
  });

  test("a new volume has what the image has there; it outlasts its containers, and the next one's image adds nothing", () => {
    const web = join(image, 'srv/web');
    const make = [
      'mkdir -p "$0/dir" && cd "$0" && echo page >index && ln index again && ln -s /etc/passwd link && mkfifo pipe',
      'mknod null c 1 3; truncate -s 1M sparse; chown -R 33:44 . && chmod 2775 . && chmod 4711 index && chmod 700 dir',
      'touch -d @12345.678 dir index .',
    ];
    host.run(['sh', '-c', make.join('; '), web]);
    const attributes = [
      'import os, sys',
      'os.setxattr(sys.argv[1], "user.note", b"kept")',
      'os.setxattr(sys.argv[1], "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))',
    ];
    expect(host.run(['python3', '-c', attributes.join('\n'), join(web, 'index')])).toMatchObject({ status: 0 });
    const before = treeOf(host, web);
    create('--image', image, '-v', 'web:/srv/web');
    expect(treeOf(host, volume('web'))).toBe(before);
    expect(treeOf(host, web)).toBe(before);
    sh('c1', 'echo new >/srv/web/index; rm /srv/web/link');
    expectCreated(host, 'c2', '--image', image, '-v', 'web:/other:ro');
    expect(sh('c2', 'cat /other/index; ls /other').stdout).toBe('new\nagain\ndir\nindex\nnull\npipe\nsparse\n');
    host.minict('rm', 'c1', 'c2');
    const after = treeOf(host, volume('web'));
    create('--image', image, '-v', 'web:/srv/web');
    expect(treeOf(host, volume('web'))).toBe(after);
    expect(treeOf(host, web)).toBe(before);
  });

  test('an empty volume is filled while no container has it', () => {
    expect(host.minict('volume', 'create', 'web')).toEqual({ status: 0, stdout: 'web\n', stderr: '' });
    create('-v', 'web:/var/www');
    expect(readdirSync(volume('web'))).toEqual(['index.html']);
    host.minict('volume', 'create', 'other');
    expectCreated(host, 'c2', '-v', 'other:/nothing');
    host.minict('rm', 'c1');
    create('-v', 'other:/var/www');
    expect(readdirSync(volume('other'))).toEqual([]);
  });

  test('-v DST: a volume of its own, filled, that goes with its container', () => {
    create('-v', '/var/www', '-v', '/nowhere/yet');
    expect(sh('c1', 'ls /var/www; echo x >/nowhere/yet/x; echo y >/var/www/y').stdout).toBe('index.html\n');
    host.minict('stop', 'c1');
    host.minict('start', 'c1');
    expect(sh('c1', 'cat /nowhere/yet/x /var/www/y').stdout).toBe('x\ny\n');
    expect(host.minict('volume', 'ls', '-q').stdout).toBe('');
    expect(existsSync(join(imageTree(host, 'base'), 'nowhere'))).toBe(false);
  });

  test('a tmpfs: its options, the mode of the directory that it hides, its size', () => {
    const options = 'size=64k,mode=750,uid=5,gid=6,exec';
    create('--tmpfs', '/tmp', '--tmpfs', `/run:${options}`, '--tmpfs', '/new/one:size=1m');
    expect(sh('c1', 'stat -c "%a %u %g" /tmp /run /new/one').stdout).toBe('1777 0 0\n750 5 6\n1777 0 0\n');
    expect(flagsOf('/tmp')).toMatch(/^rw,nosuid,nodev,noexec/);
    expect(flagsOf('/run')).toMatch(/^rw,nosuid,nodev,relatime,size=64k,mode=750,uid=5,gid=6/);
    expect(sh('c1', 'dd if=/dev/zero of=/run/x bs=1k count=100').stderr).toMatch(/No space left/);
    sh('c1', 'echo x >/tmp/x');
    host.minict('stop', 'c1');
    host.minict('start', 'c1');
    expect(sh('c1', 'ls /tmp').stdout).toBe('');
    expect(readdirSync(join(host.root, 'containers/c1/upper'), { recursive: true })).toEqual([]);
  });

  test('--read-only: EROFS everywhere but in what is mounted; the host cannot be written through it', () => {
    create('--read-only', '-v', 'data:/data', '--tmpfs', '/tmp', '-v', `${src}:/src`);
    for (const path of ['/x', '/etc/x', '/etc/hosts', '/etc/hostname', '/etc/resolv.conf', '/var/www/index.html'])
      erofs(path);
    expect(sh('c1', 'echo 1 >/data/x && echo 2 >/tmp/x && echo 3 >/src/x && echo 4 >/dev/null')).toMatchObject({
      status: 0,
    });
    expect(sh('c1', 'cat /etc/hostname; ping -c1 -W2 keep >/dev/null && echo up').stdout).toBe('c1\nup\n');
    host.minict('stop', 'c1');
    host.minict('start', 'c1');
    erofs('/x');
  });

  test('--rootfs with --read-only: seen read-only, still writable for the host; mount points have to be there', () => {
    const tree = join(host.dir, `tree-${mounts}`);
    host.run(['cp', '-a', image, tree]);
    for (const dir of ['srv/data', 'mnt']) mkdirSync(join(tree, dir), { recursive: true });
    const before = treeOf(host, tree);
    host.run(['mount', '-t', 'tmpfs', 'inner', join(tree, 'mnt')]);
    create('--rootfs', tree, '--read-only', '-v', 'data:/srv/data');
    for (const path of ['/x', '/mnt/x', '/etc/hosts']) erofs(path);
    expect(sh('c1', 'echo 1 >/srv/data/x; cat /etc/hostname').stdout).toBe('c1\n');
    expect(host.minict('exec', '-u', 'nobody', 'c1', 'id', '-un')).toMatchObject({ status: 0, stdout: 'nobody\n' });
    expect(host.run(['touch', join(tree, 'mnt/x')]).status).toBe(0);
    expect(host.minict('ps').stdout).toMatch(/^c1 +ready/m);
    host.minict('rm', 'c1');
    host.run(['umount', join(tree, 'mnt')]);
    expect(treeOf(host, tree)).toBe(before);
    const refused = host.minict('create', 'c1', '--rootfs', tree, '-v', 'data:/missing/one');
    expect(refused).toMatchObject({ status: 125, stdout: '' });
    expect(refused.stderr).toMatch(
      /cannot mount at \/missing\/one of .*: it is not there\nhint: mkdir -p \/.*\/missing\/one\n/,
    );
    expect(existsSync(join(tree, 'missing'))).toBe(false);
  });

  test('one in another, in whatever order they are given', () => {
    create(
      ...['-v', `${src}/file:/data/tmp/deep/file`, '--tmpfs', '/data/tmp', '-v', 'inner:/data/bind/sub'],
      ...['-v', `${src}:/data/bind`, '-v', 'outer:/data', '-v', '/data/own/volume', '-v', `${src}/file:/data/a file`],
    );
    const seen = sh(
      'c1',
      'cat /data/tmp/deep/file "/data/a file" /data/bind/file; ls /data; touch /data/bind/sub/x',
    ).stdout;
    expect(seen).toBe('theirs\ntheirs\ntheirs\na file\nbind\nown\ntmp\n');
    // The folders are in minict's own volume; nothing is made in the host's.
    expect(readdirSync(volume('outer')).sort()).toEqual(['a file', 'bind', 'own', 'tmp']);
    expect(readdirSync(volume('inner'))).toEqual(['x']);
    expect(readdirSync(src)).toEqual(['file', 'sub']);
    expect(statSync(volume('outer', 'a file')).size).toBe(0);
    host.minict('stop', 'c1');
    host.minict('start', 'c1');
    expect(sh('c1', 'cat /data/tmp/deep/file').stdout).toBe('theirs\n');
    host.minict('rm', 'c1');
    expect(readdirSync(src)).toEqual(['file', 'sub']);
  });

  test("a file over minict's own takes its place; a volume over /etc has minict's own in it", () => {
    create('-v', `${src}/file:/etc/hosts:ro`);
    expect(sh('c1', 'cat /etc/hosts /etc/hostname').stdout).toBe('theirs\nc1\n');
    expectCreated(host, 'c2', '--mounts', mounts, '-v', 'etc:/etc', '--tmpfs', '/run');
    expect(sh('c2', 'cat /etc/hostname; grep -c keep /etc/hosts').stdout).toBe('c2\n1\n');
    expect(readFileSync(volume('etc', 'hostname'), 'utf8')).toBe('');
    host.minict('rm', 'c1');
    create('--tmpfs', '/etc');
    expect(sh('c1', 'cat /etc/hostname').stdout).toBe('c1\n');
  });

  test('exec and the main command know users of a passwd that is mounted', () => {
    writeFileSync(join(src, 'passwd'), 'alice:x:1234:55::/:/bin/sh\n');
    create('-v', `${src}/passwd:/etc/passwd:ro`, '-u', 'alice', '--', 'id', '-u');
    expect(host.minict('exec', '-u', 'alice', 'c1', 'id', '-u').stdout).toBe('1234\n');
    expect(host.minict('exec', '-u', 'root', 'c1', 'true').stderr).toMatch(/no user root in the container/);
    expect(host.minict('start', 'c1')).toMatchObject({ status: 0, stderr: '' });
    host.minict('wait', 'c1');
    expect(host.minict('logs', 'c1').stdout).toBe('1234\n');
  });

  test('cp finds what is in volumes and binds, up and stopped, and writes where programs may', () => {
    const file = join(src, 'file');
    const out = join(src, 'out');
    create('-v', 'data:/data', '-v', `${src}:/src:ro`, '-v', `${src}/sub:/data/in`, '--tmpfs', '/tmp', '--read-only');
    for (const state of ['up', 'stopped']) {
      if (state === 'stopped') host.minict('stop', 'c1');
      expect(host.minict('cp', file, `c1:/data/${state}`), state).toMatchObject({ status: 0, stderr: '' });
      expect(readFileSync(volume('data', state), 'utf8')).toBe('theirs\n');
      expect(host.minict('cp', file, `c1:/data/in/${state}`), state).toMatchObject({ status: 0, stderr: '' });
      expect(readFileSync(join(src, 'sub', state), 'utf8')).toBe('theirs\n');
      for (const place of ['/src/new', '/new']) {
        expect(host.minict('cp', file, `c1:${place}`).stderr, state).toMatch(/read-only/i);
      }
      expect(host.minict('cp', 'c1:/src/file', out), state).toMatchObject({ status: 0, stderr: '' });
      expect(readFileSync(out, 'utf8')).toBe('theirs\n');
    }
    expect(readdirSync(join(host.root, 'containers/c1/upper'), { recursive: true })).toEqual([]);
    host.minict('rm', 'c1');
    const tree = join(host.dir, `copied-${mounts}`);
    host.run(['cp', '-a', image, tree]);
    mkdirSync(join(tree, 'srv/data'), { recursive: true });
    create('--rootfs', tree, '--read-only', '-v', 'data:/srv/data');
    host.minict('stop', 'c1');
    expect(host.minict('cp', 'c1:/srv/data/up', out)).toMatchObject({ status: 0, stderr: '' });
    expect(host.minict('cp', 'c1:/etc/passwd', out)).toMatchObject({ status: 0, stderr: '' });
    host.run(['rm', '-r', tree]);
  });

  test('what somebody unmounted or removed is said, and put back', () => {
    create('-v', 'data:/data', '--tmpfs', '/tmp', '-v', `${src}:/src`);
    sh('c1', 'umount /data; umount /src');
    expect(host.minict('ps').stdout).toMatch(/^c1 +broken .*rootfs\/data.*rootfs\/src/m);
    expect(host.minict('start', 'c1')).toMatchObject({ status: 0, stderr: '' });
    expect(host.minict('ps').stdout).toMatch(/^c1 +ready/m);
    expect(sh('c1', 'ls /src').stdout).toBe('file\nsub\n');
    // A volume whose folder is gone: said by ps, start and create.
    host.run(['rm', '-r', join(host.root, 'volumes/data')]);
    expect(host.minict('ps').stdout).toMatch(/^c1 +broken .*rootfs\/data/m);
    host.minict('stop', 'c1');
    const refused = host.minict('start', 'c1').stderr;
    expect(refused).toMatch(
      /^minict: cannot mount volume data at \/data: it is not there any more\nhint: minict volume create data/,
    );
    expect(host.minict('volume', 'create', 'data').status).toBe(0);
    expect(host.minict('start', 'c1')).toMatchObject({ status: 0, stderr: '' });
    host.minict('stop', 'c1');
    host.run(['mv', src, `${src}.away`]);
    expect(host.minict('start', 'c1').stderr).toMatch(
      /cannot mount \/.*\/src at \/src: it is not there any more\nhint: put /,
    );
    host.run(['mv', `${src}.away`, src]);
    expect(host.minict('rm', 'c1')).toMatchObject({ status: 0, stderr: '' });
  });
});

test('inspect has them with their places on the host', () => {
  expectCreated(
    host,
    'c1',
    '-v',
    'data:/d:ro',
    '-v',
    '/own',
    '-v',
    `${src}/../src:/src`,
    '--tmpfs',
    '/t:size=1m',
    '--read-only',
  );
  const [spec] = JSON.parse(host.minict('inspect', 'c1').stdout);
  expect(spec.readOnly).toBe(true);
  expect(spec.volumes).toEqual([
    { type: 'volume', name: 'data', target: '/d', readOnly: true, source: volume('data') },
    { type: 'volume', target: '/own', source: join(host.root, 'containers/c1/volumes/1') },
    { type: 'bind', source: src, target: '/src' },
    { type: 'tmpfs', target: '/t', options: 'nosuid,nodev,noexec,size=1m' },
  ]);
});

test('volumes that an image asks for: filled, its own, and not where the host is or the user mounts something', () => {
  const [saved, changed] = ['saved.tar', 'changed.tar'].map((name) => join(host.dir, name)) as [string, string];
  expect(host.minict('image', 'save', 'base', '-o', saved)).toMatchObject({ status: 0, stderr: '' });
  const change = `
import io, json, sys, tarfile
src, out = tarfile.open(sys.argv[1]), tarfile.open(sys.argv[2], 'w')
manifest = json.load(src.extractfile('manifest.json'))
for member in src.getmembers():
    data = src.extractfile(member).read() if member.isfile() else b''
    if member.name == manifest[0]['Config']:
        config = json.loads(data)
        config.setdefault('config', {})['Volumes'] = {'/var/www': {}, '/sys/fs/cgroup': {}, '/data/': {}}
        data = json.dumps(config).encode()
    if member.name == 'manifest.json':
        manifest[0]['RepoTags'] = ['wants:1']
        data = json.dumps(manifest).encode()
    member.size = len(data)
    out.addfile(member, io.BytesIO(data))
out.close()
`;
  expect(host.run(['python3', '-c', change, saved, changed])).toMatchObject({ status: 0 });
  expect(host.minict('image', 'load', '-i', changed)).toMatchObject({ status: 0, stderr: '' });
  expectCreated(host, 'c1', '--image', 'wants:1', '-v', 'mine:/data');
  expect(JSON.parse(host.minict('inspect', 'c1').stdout)[0].volumes).toEqual([
    { type: 'volume', name: 'mine', target: '/data', source: volume('mine') },
    { type: 'volume', target: '/var/www', source: join(host.root, 'containers/c1/volumes/1') },
  ]);
  expect(sh('c1', 'cat /var/www/index.html; echo new >/var/www/index.html').stdout).toBe('minict\n');
  expect(host.minict('clone', 'c1', 'c2')).toMatchObject({ status: 0, stderr: '' });
  sh('c2', 'echo shared >/data/x');
  expect(sh('c1', 'cat /data/x').stdout).toBe('shared\n');
  expect(sh('c2', 'cat /var/www/index.html').stdout).toBe('minict\n');
  host.minict('rm', 'c1', 'c2');
  host.minict('image', 'rm', 'wants:1');
});

test('without any, a create starts ip, as before there were volumes, and nothing else', () => {
  const trace = join(host.dir, 'trace');
  const strace = ['strace', '-f', '-qq', '-e', 'trace=execve', '-e', 'status=successful', '-o', trace];
  expect(host.run([...strace, MINICT, 'create', 'c1']).status).toBe(0);
  const programs = [...readFileSync(trace, 'utf8').matchAll(/execve\("[^"]*?([^"/]+)"/g)].map(([, name]) => name);
  expect(programs.sort()).toEqual(['ip', 'minict']);
});
