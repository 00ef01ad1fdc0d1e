/**
 * What every storage driver has to do, the same for all: the files of containers, of their snapshots and clones, and what is
 * left of them. Each has a disk of its own.
 */
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type FileSystem, mountStateDisk, mountStateDiskAgain } from '../helpers/disk.ts';
import { expectRefused } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';
import { richLayers } from '../helpers/layer-fixtures.ts';
import { Layout } from '../helpers/oci-layout.ts';
import { hideContainersCache } from '../helpers/registry.ts';
import { containerFacts } from '../helpers/tree-facts.ts';

interface Driver {
  readonly driver: 'overlay' | 'btrfs' | 'copy';
  readonly disk: FileSystem;
}

const DRIVERS: readonly Driver[] = [
  { driver: 'overlay', disk: 'ext4' },
  { driver: 'btrfs', disk: 'btrfs' },
  { driver: 'copy', disk: 'ext4' },
];

describe.each(DRIVERS)('$driver on $disk', ({ driver, disk }) => {
  let host: Host;
  const ok = (...words: string[]) => {
    const result = host.run([MINICT, ...words], { MINICT_STORAGE: driver });
    expect(result, words.join(' ')).toMatchObject({ status: 0, stderr: '' });
    return result.stdout;
  };
  const sh = (name: string, script: string) => ok('exec', name, 'sh', '-ec', script);
  const list = (dir: string) => host.run(['ls', '-A', join(host.root, dir)]).stdout;
  /** What is left of a container, wherever. */
  const expectNoFiles = () => {
    expect([list('containers'), list('layers'), list('.trash')]).toEqual(['', '', '']);
    const subvolumes = disk === 'btrfs' ? host.run(['btrfs', 'subvolume', 'list', host.root]).stdout : '';
    expect(subvolumes.split('\n').filter((line) => !line.includes('images/trees/'))).toEqual(['']);
  };

  beforeAll(async () => {
    host = await Host.create();
    hideContainersCache(host);
    mountStateDisk(host, disk, 256);
    const layout = new Layout(join(host.dir, 'layout'));
    layout.add('rich', { layers: richLayers(host).map((tar) => ({ tar })) });
    ok('image', 'pull', layout.source('rich'), 'rich:1');
  });
  afterAll(() => host.destroy());
  // One that fails is not to take the next along.
  afterEach(() => {
    for (const name of host.minict('ps', '-a', '-q').stdout.split('\n').filter(Boolean)) host.minict('rm', '-f', name);
  });

  test('the files of an image, whole: whiteouts, links, holes, capabilities; and the image stays as it is', () => {
    expect(host.minict('create', 'plain', '--image', 'rich:1', '--no-network')).toMatchObject({ status: 0 });
    const facts = containerFacts(host, 'plain');
    ok('create', 'c1', '--image', 'rich:1');
    expect(containerFacts(host, 'c1')).toEqual(facts);
    expect(JSON.parse(ok('inspect', 'c1'))[0].storage ?? 'overlay').toBe(driver);
    sh('c1', 'rm -r /t/*; echo mine >/etc/passwd; chmod 700 /bin; echo x >>/etc/group');
    expect(containerFacts(host, 'plain')).toEqual(facts);
    ok('create', 'c2', '--image', 'rich:1');
    expect(containerFacts(host, 'c2')).toEqual(facts);
    ok('rm', 'c1', 'c2', 'plain');
    expectNoFiles();
  });

  test('what a container wrote stays over stop, start and a reboot; nobody else sees it', async () => {
    ok('run', '-d', 'c1', '--', 'sh', '-c', 'echo started >>/starts; exec sleep 300');
    ok('create', 'c2');
    sh('c1', 'echo one >/file; rm -r /var/www; mkdir /var/www; echo new >/var/www/new; ln /file /link; mknod /n c 1 3');
    const facts = () => containerFacts(host, 'c1').filter((line) => !line.includes("b'starts'"));
    const before = facts();
    ok('stop', '-t', '0', 'c1');
    ok('start', 'c1');
    expect(facts()).toEqual(before);
    await host.reboot();
    mountStateDiskAgain(host);
    ok('start', 'c1', 'c2');
    expect(facts()).toEqual(before);
    expect(sh('c1', 'cat /file /starts; ls /var/www')).toBe('one\nstarted\nstarted\nstarted\nnew\n');
    expect(sh('c2', 'ls /var/www; ! test -e /file')).toBe('index.html\n');
    ok('rm', '-f', 'c1', 'c2');
    expectNoFiles();
  });

  test.each(['stopped', 'running'])('snapshots of a %s container: made, gone back to, forgotten', (state) => {
    ok('run', '-d', 's1', '--image', 'rich:1', '--', 'sleep', '300');
    sh('s1', 'echo one >/file; rm -r /t/deep; mkdir /t/deep; chmod 700 /srv');
    const before = containerFacts(host, 's1');
    if (state === 'stopped') ok('stop', '-t', '0', 's1');
    ok('snapshot', 'create', 's1', 'a');
    for (const round of ['two', 'three']) {
      ok('start', 's1');
      sh('s1', `echo ${round} >/file; rm -r /t; mkdir /t /t/new; chmod 755 /srv`);
      if (state === 'stopped') ok('stop', '-t', '0', 's1');
      ok('snapshot', 'create', 's1', round);
      ok('snapshot', 'rollback', '-t', '0', 's1', 'a');
      ok('start', 's1');
      expect(containerFacts(host, 's1')).toEqual(before);
    }
    ok('snapshot', 'rollback', '-t', '0', 's1', 'two');
    expect(sh('s1', 'cat /file; ls /t')).toBe('two\nnew\n');
    expect(ok('snapshot', 'ls', '-q', 's1')).toBe('a\ntwo\nthree\n');
    ok('snapshot', 'rm', 's1', 'a', 'three');
    ok('snapshot', 'rollback', '-t', '0', 's1', 'two');
    expect(sh('s1', 'cat /file')).toBe('two\n');
    ok('rm', '-f', 's1');
    expectNoFiles();
  });

  test('clones, of a container that is up or stopped and of a snapshot, have files of their own', () => {
    ok('create', 's1', '--image', 'rich:1');
    sh('s1', 'echo one >/file; rm -r /t/deep');
    const before = containerFacts(host, 's1');
    ok('clone', 's1', 's2');
    ok('snapshot', 'create', 's1', 'a');
    sh('s1', 'echo later >/file');
    ok('stop', 's1');
    ok('clone', 's1', 's3');
    ok('clone', 's1', 's4', '--snapshot', 'a');
    expect(containerFacts(host, 's2')).toEqual(before);
    expect(containerFacts(host, 's4')).toEqual(before);
    sh('s2', 'echo two >/file');
    sh('s4', 'rm /file');
    ok('rm', 's1');
    expect([sh('s2', 'cat /file'), sh('s3', 'cat /file'), sh('s4', '[ -e /file ] || echo gone')]).toEqual([
      'two\n',
      'later\n',
      'gone\n',
    ]);
    ok('rm', 's2', 's3', 's4');
    expectNoFiles();
  });

  test.each(['stopped', 'running'])('an image of a %s container has all of its files', (state) => {
    ok('run', '-d', 'k1', '--image', 'rich:1', '--', 'sleep', '300');
    sh('k1', 'rm /t/pipe; chmod 750 /t/two; rm -r /t/deep/er /new; echo new >/t/deep/new; ln /t/again /t/linked-again');
    sh(
      'k1',
      'mv /t/cap /t/moved; chmod 0123 /t/changed; touch -d @1 /t/empty; mknod /t/n c 1 3; rm -r /t/becomes-file',
    );
    const facts = containerFacts(host, 'k1');
    if (state === 'stopped') ok('stop', '-t', '0', 'k1');
    ok('commit', 'k1', 'made:1');
    for (const storage of [driver, 'overlay']) {
      ok('create', 'k2', '--image', 'made:1', '--storage', storage);
      expect(containerFacts(host, 'k2')).toEqual(facts);
      ok('rm', 'k2');
    }
    ok('rm', '-f', 'k1');
    ok('image', 'rm', 'made:1');
    expectNoFiles();
  });

  test('another image under a container, and back', () => {
    ok('create', 'r1', '-e', 'A=b');
    sh('r1', 'echo mine >/mine; rm /var/www/index.html');
    const before = containerFacts(host, 'r1');
    ok('create', 'r2', '--image', 'rich:1');
    const facts = containerFacts(host, 'r2');
    expect(host.minict('rebase', 'r1', 'rich:1')).toMatchObject({ status: 0, stdout: 'r1\n' });
    expect(containerFacts(host, 'r1')).toEqual(facts);
    ok('snapshot', 'rollback', 'r1', 'before-rebase');
    expect(containerFacts(host, 'r1')).toEqual(before);
    expect(host.minict('rebase', 'r1', 'rich:1', '--keep-changes')).toMatchObject({ status: 0, stdout: 'r1\n' });
    expect(sh('r1', 'cat /mine /t/again; ls /var/www')).toBe('mine\nagain\n');
    ok('rm', 'r1', 'r2');
    expectNoFiles();
  });

  test('what was changed, and files in and out, up or stopped', () => {
    ok('create', 'd1', '--image', 'rich:1');
    expect(ok('diff', 'd1')).toBe('');
    sh('d1', 'echo x >/t/new; rm /t/pipe; chmod 700 /t/changed; rm -r /t/deep; mkdir /t/deep; : >/t/deep/z');
    sh('d1', 'touch -r /t/again /tmp/time; printf "gone!\\n" >/t/again; touch -r /tmp/time /t/again; rm /tmp/time');
    const changes = [
      'C /t',
      ...(driver === 'overlay' ? [] : ['C /t/again']),
      'C /t/changed',
      'C /t/deep',
      'D /t/deep/er',
      'D /t/deep/three',
      'A /t/deep/z',
      'A /t/new',
      'D /t/pipe',
    ];
    expect(sh('d1', 'stat -c %s /t/again')).toBe('6\n');
    expect(ok('diff', 'd1').split('\n').filter(Boolean)).toEqual(changes);
    ok('snapshot', 'create', 'd1', 'a');
    sh('d1', 'rm /t/new; echo y >/t/newer');
    const later = ['C /t', 'D /t/new', 'A /t/newer'];
    expect(ok('snapshot', 'diff', 'd1', 'a').split('\n').filter(Boolean)).toEqual(later);
    for (const state of ['up', 'stopped']) {
      if (state === 'stopped') ok('stop', 'd1');
      expect(ok('cp', 'd1:/t/newer', '-')).toContain('y\n');
      ok('cp', join(host.dir, 'layout/oci-layout'), `d1:/t/in-${state}`);
      const tar = join(host.dir, `${state}.tar`);
      ok('export', '-o', tar, 'd1');
      expect(host.run(['tar', '-tf', tar]).stdout).toMatch(new RegExp(`(^|/)t/in-${state}$`, 'm'));
    }
    expect(ok('snapshot', 'diff', 'd1', 'a').split('\n').filter(Boolean)).toEqual([
      later[0],
      'A /t/in-stopped',
      'A /t/in-up',
      ...later.slice(1),
    ]);
    ok('start', 'd1');
    expect(sh('d1', 'cat /t/in-up')).toBe(sh('d1', 'cat /t/in-stopped'));
    ok('rm', 'd1');
    expectNoFiles();
  });

  test('volumes, binds and memory where the image has nothing; a root that is read only', () => {
    const bound = join(host.root, '..', 'bound');
    host.run(['mkdir', '-p', bound]);
    const mounts = ['-v', 'data:/not/there', '-v', `${bound}:/t/here`, '--tmpfs', '/memory', '-v', '/t/changed'];
    ok('create', 'v1', '--image', 'rich:1', ...mounts);
    sh('v1', 'echo a >/not/there/a; echo b >/t/here/b; echo c >/memory/c; echo d >/t/changed/d; stat -c %a /t/changed');
    expect(host.run(['cat', join(bound, 'b')]).stdout).toBe('b\n');
    ok('stop', 'v1');
    ok('start', 'v1');
    expect(sh('v1', 'cat /not/there/a /t/here/b /t/changed/d; ls /memory')).toBe('a\nb\nd\n');
    expect(ok('diff', 'v1')).toBe('');
    const facts = containerFacts(host, 'v1');
    host.minict('rebase', 'v1', 'base');
    expect(sh('v1', 'cat /not/there/a /t/here/b /t/changed/d')).toBe('a\nb\nd\n');
    ok('snapshot', 'rollback', 'v1', 'before-rebase');
    expect(containerFacts(host, 'v1')).toEqual(facts);
    ok('create', 'v2', '--image', 'rich:1', '--read-only', '--tmpfs', '/tmp');
    expect(host.minict('exec', 'v2', 'sh', '-c', 'echo x >/t/x').stderr).toMatch(/Read-only file system/);
    expect(sh('v2', 'echo x >/tmp/x; cat /tmp/x')).toBe('x\n');
    ok('rm', 'v1', 'v2');
    ok('volume', 'rm', 'data');
    expectNoFiles();
  });

  test('a container that is moved elsewhere has its files, and those of its snapshots', () => {
    ok('create', 'm1', '--image', 'rich:1', '--no-network');
    sh('m1', 'echo one >/file; rm -r /t/deep/er; ln /t/again /t/linked-again');
    const first = containerFacts(host, 'm1');
    ok('snapshot', 'create', 'm1', 'a');
    sh('m1', 'echo two >/file; rm /t/pipe; mkdir /t/deep/new; chmod 700 /t/two');
    const second = containerFacts(host, 'm1');
    const tar = join(host.dir, 'm1.tar');
    ok('save-container', 'm1', '-o', tar);
    ok('stop', 'm1');
    const stopped = join(host.dir, 'm1-stopped.tar');
    ok('save-container', 'm1', '-o', stopped);
    ok('rm', 'm1');
    for (const saved of [tar, stopped]) {
      ok('load-container', '-i', saved);
      ok('start', 'm1');
      expect(containerFacts(host, 'm1')).toEqual(second);
      ok('snapshot', 'rollback', 'm1', 'a');
      expect(containerFacts(host, 'm1')).toEqual(first);
      ok('rm', 'm1');
    }
    expectNoFiles();
  });

  test('mounts in the table of the host are none of the files', () => {
    ok('create', 'h1', '--mounts', 'host');
    sh('h1', 'echo one >/file; ls /proc/self /sys/kernel /dev/null >/dev/null; cat /etc/hostname');
    ok('snapshot', 'create', 'h1', 'a');
    ok('clone', 'h1', 'h2');
    expect(sh('h2', 'cat /file')).toBe('one\n');
    ok('stop', 'h1');
    ok('start', 'h1');
    ok('rm', 'h1', 'h2');
    expectNoFiles();
    expect(host.run(['grep', '-c', host.root, '/proc/self/mountinfo']).stdout).toBe('1\n');
  });

  test('a printed script makes the same container, and its way back removes it', () => {
    const script = ok('create', 'd1', '--image', 'rich:1', '--no-network', '--dry-run');
    const back = ok('create', 'd1', '--image', 'rich:1', '--no-network', '--dry-run-undo');
    expect(host.run(['sh', '-c', script])).toEqual({ status: 0, stdout: expect.any(String), stderr: '' });
    ok('create', 'd2', '--image', 'rich:1', '--no-network');
    expect(containerFacts(host, 'd1')).toEqual(containerFacts(host, 'd2'));
    expect(host.run(['sh', '-c', back])).toMatchObject({ status: 0, stderr: '' });
    expect(host.run(['sh', '-c', ok('rm', 'd2', '--dry-run')])).toMatchObject({ status: 0, stderr: '' });
    ok('system', 'prune');
    expectNoFiles();
  });

  test('two at once: containers of one image, clones of one container', async () => {
    const exits = (all: string[][]) =>
      Promise.all(all.map((words) => host.spawn([MINICT, ...words, '--no-network']).exited));
    const storage = ['--storage', driver];
    expect(await exits(['p1', 'p2', 'p3'].map((name) => ['create', name, '--image', 'rich:1', ...storage]))).toEqual([
      0, 0, 0,
    ]);
    sh('p1', 'echo one >/file');
    const clones = ['p4', 'p5'].map((name) => host.spawn([MINICT, 'clone', 'p1', name]).exited);
    expect(await Promise.all(clones)).toEqual([0, 0]);
    expect(sh('p4', 'cat /file') + sh('p5', 'cat /file')).toBe('one\none\n');
    ok('rm', 'p1', 'p2', 'p3', 'p4', 'p5');
    expectNoFiles();
  });

  test('a full disk is one clear error, and what was there stays', () => {
    ok('create', 'f1');
    sh('f1', 'echo one >/file; head -c 30000000 /dev/zero | tr "\\0" x >/big');
    ok('stop', 'f1');
    ok('snapshot', 'create', 'f1', 'a');
    const filler = join(host.root, 'filler');
    host.run(['sh', '-c', 'head -c 300000000 /dev/zero | tr "\\0" y >"$0"; sync -f "$0"', filler]);
    for (const words of [
      ['create', 'f2', '--image', 'rich:1', '--storage', driver],
      ['clone', 'f1', 'f2'],
      ['snapshot', 'create', 'f1', 'b'],
      ['snapshot', 'rollback', 'f1', 'a'],
      ['commit', 'f1', 'full:1'],
    ]) {
      const result = host.minict(...words);
      if (result.status !== 0) expectRefused(result, /no space left/i);
    }
    host.run(['rm', filler]);
    ok('start', 'f1');
    expect(sh('f1', 'cat /file; wc -c </big')).toBe('one\n30000000\n');
    ok('snapshot', 'rollback', 'f1', 'a');
    expect(sh('f1', 'cat /file; wc -c </big')).toBe('one\n30000000\n');
    const rest = host.minict('rm', '-f', 'f1', 'f2');
    if (rest.status !== 0) expectRefused({ ...rest, stdout: '' }, /f2: no such container/);
    host.minict('image', 'rm', 'full:1');
    ok('system', 'prune');
    expectNoFiles();
  });
});
