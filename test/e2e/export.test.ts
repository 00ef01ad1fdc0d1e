/** export: the root file system whole and unchanged, for minict, podman and docker to import. */
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefused } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';
import { imageTree } from '../helpers/images.ts';
import { EVERYTHING, factsOf } from '../helpers/tree.ts';

let host: Host;
let dir: string;
/** The image's files, with one of everything in /srv. */
let image: string;
beforeAll(async () => {
  host = await Host.create();
  dir = join(host.dir, 'here');
  image = join(host.dir, 'image');
  mkdirSync(dir);
  expectCreated(host, 'first');
  expect(host.run(['cp', '-a', imageTree(host, 'base'), image])).toMatchObject({ status: 0 });
  expect(host.run(['sh', '-ec', `cd "$1"; ${EVERYTHING}`, 'sh', join(image, 'srv')])).toMatchObject({ status: 0 });
  mkdirSync(join(image, 'dev/extra'));
  writeFileSync(join(image, 'etc/hostname'), "the image's\n");
});
afterEach(() => void host.minict('rm', '-f', 'c1'));
afterAll(() => host.destroy());

const done = { status: 0, stdout: '', stderr: '' };

/** Unpacks it, and says what is in there. */
function unpacked(tarball: string): string[] {
  const to = join(dir, 'unpacked');
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to);
  const tar = ['tar', '-xpf', tarball, '-C', to, '--xattrs', '--xattrs-include=*', '--acls', '--numeric-owner'];
  expect(host.run(tar)).toEqual(done);
  return factsOf(host, to);
}

test.each(['up', 'stopped'])(
  'a container that is %s: what its layers make, and nothing that is mounted in it',
  (state) => {
    expectCreated(host, 'c1', '--image', image);
    const change = 'rm -r /srv/tree/dir /var/www/index.html; echo new >/srv/new; mkdir -p /opt/a; chown 7:8 /opt/a';
    expect(host.minict('exec', 'c1', 'sh', '-ec', change)).toMatchObject({ status: 0, stderr: '' });
    if (state === 'stopped') host.minict('stop', 'c1');
    const before = host.snapshot();
    const tarball = join(dir, 'c1.tar');
    expect(host.minict('export', 'c1', '--output', tarball)).toEqual(done);
    // Not the same bytes: of a sparse file, tar's stream has the number of tar's process.
    expect(host.run(['sh', '-c', '"$0" export c1 | wc -c', MINICT]).stdout).toBe(`${statSync(tarball).size}\n`);
    expect(host.snapshot()).toEqual(before);
    expect(statSync(tarball).mode & 0o777).toBe(0o600);
    // The same by hand, on a copy of the image.
    const want = join(dir, 'want');
    const script = `rm -rf "$1"; cp -a "$0" "$1"; cd "$1"; rm -r srv/tree/dir var/www/index.html dev/extra
    echo new >srv/new; mkdir -p opt/a; chown 7:8 opt/a; touch -r srv/tree "$1/srv"`;
    expect(host.run(['sh', '-ec', script, image, want])).toMatchObject({ status: 0, stderr: '' });
    const timeless = (facts: string[]) =>
      facts.filter((line) => !/^b'\/(srv|srv\/new|srv\/tree|var\/www|opt|opt\/a|dev)' /.test(line));
    expect(timeless(unpacked(tarball))).toEqual(timeless(factsOf(host, want)));
    expect(readFileSync(join(dir, 'unpacked/etc/hostname'), 'utf8')).toBe("the image's\n");
    for (const folder of ['proc', 'sys', 'dev']) expect(existsSync(join(dir, 'unpacked', folder))).toBe(true);
    expect(statSync(join(dir, 'unpacked/opt/a'))).toMatchObject({ uid: 7, gid: 8 });
    expect(host.minict('rm', 'c1').status).toBe(0);
  },
);

test('a --rootfs container, up and stopped', () => {
  const rootfs = join(dir, 'rootfs');
  expect(host.run(['cp', '-a', image, rootfs]).status).toBe(0);
  rmSync(join(rootfs, 'dev/extra'), { recursive: true });
  expectCreated(host, 'c1', '--rootfs', rootfs);
  for (const state of ['up', 'stopped']) {
    if (state === 'stopped') host.minict('stop', 'c1');
    expect(host.minict('export', 'c1', '-o', join(dir, 'c1.tar'))).toEqual(done);
    expect(unpacked(join(dir, 'c1.tar'))).toEqual(factsOf(host, rootfs));
  }
  host.minict('rm', 'c1');
});

test('layers of snapshots are in it, and what they took away is not', () => {
  expectCreated(host, 'c1', '--image', image);
  host.minict('exec', 'c1', 'sh', '-ec', 'echo 1 >/srv/one; rm -r /srv/tree');
  expect(host.minict('snapshot', 'create', 'c1', 's1').status).toBe(0);
  host.minict('exec', 'c1', 'sh', '-ec', 'rm /srv/one; mkdir /srv/tree; echo 2 >/srv/tree/two');
  host.minict('export', 'c1', '-o', join(dir, 'c1.tar'));
  const { stdout } = host.run(['sh', '-c', 'tar tf "$0" | grep "^./srv/" | sort', join(dir, 'c1.tar')]);
  expect(stdout).toBe('./srv/\n./srv/tree/\n./srv/tree/two\n');
  host.minict('rm', 'c1');
});

test('a file that was there stays until the new one is whole', () => {
  const tarball = join(dir, 'old.tar');
  writeFileSync(tarball, 'old');
  expectRefused(host.minict('export', 'nope', '-o', tarball), /no such container/);
  expect(readFileSync(tarball, 'utf8')).toBe('old');
  expect(host.minict('export', 'first', '-o', tarball)).toEqual(done);
  expect(host.run(['tar', 'tf', tarball]).stdout).toContain('./bin/busybox\n');
  expect(host.run(['sh', '-c', 'ls "$0" | grep old', dir]).stdout).toBe('old.tar\n');
});

test('minict imports what it exports', () => {
  expect(host.run(['sh', '-c', '"$0" export first | "$0" image import - again', MINICT]).status).toBe(0);
  expectCreated(host, 'c1', '--image', 'again');
  expect(host.minict('exec', 'c1', 'cat', '/var/www/index.html').stdout).toBe('minict\n');
  host.minict('rm', 'c1');
});

test('podman imports it, and runs it', () => {
  expectCreated(host, 'c1', '--image', image);
  const podman = [
    ...['podman', '--root', join(dir, 'podman'), '--runroot', '/run/podman', '--tmpdir', '/run/libpod'],
    ...['--cgroup-manager=cgroupfs', '--events-backend=file', '--storage-driver=vfs'],
  ];
  const script = '"$0" export c1 | "$@" import - lab:1';
  expect(host.run(['sh', '-c', script, MINICT, ...podman])).toMatchObject({ status: 0 });
  expect(host.run([...podman, 'create', '--name', 'p1', '--network=none', 'lab:1', 'sh'])).toMatchObject({ status: 0 });
  const mounted = host.run([...podman, 'mount', 'p1']).stdout.trim();
  // Podman itself keeps neither access lists, nor holes, nor second names of symlinks.
  const kept = (at: string) =>
    factsOf(host, join(at, 'srv'))
      .filter((line) => !/^b'\/tree\/(up2?|empty)' /.test(line))
      .map((line) => line.replace(' sparse ', '  '));
  expect(kept(mounted)).toEqual(kept(image));
  expect(kept(mounted).join()).toContain('security.capability');
  host.run([...podman, 'rm', '-f', 'p1']);
  host.run([...podman, 'rmi', '-f', '-a']);
  host.minict('rm', 'c1');
});
