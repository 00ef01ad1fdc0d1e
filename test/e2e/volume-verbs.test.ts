/** minict volume ls, create, rm, inspect, prune; damaged ones; several verbs at once; what a killed create left. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { expectCreated, expectRefused } from '../helpers/expect.ts';
import { killBefore } from '../helpers/faults.ts';
import { Host, MINICT } from '../helpers/host.ts';
import type { Snapshot } from '../helpers/snapshot.ts';

let host: Host;
let clean: Snapshot;
beforeAll(async () => {
  host = await Host.create();
  expectCreated(host, 'keep');
});
beforeEach(() => {
  clean = host.snapshot();
});
afterEach(async () => {
  host.minict('rm', '-f', 'c1', 'c2', 'c3');
  expect(host.minict('volume', 'prune', '-f')).toMatchObject({ status: 0, stderr: '' });
  expect(await host.settled(clean)).toEqual(clean);
});
afterAll(() => host.destroy());

const folder = (path = '') => join(host.root, 'volumes', path);
const volumes = (...words: string[]) => host.minict('volume', ...words);
const done = (stdout: string) => ({ status: 0, stdout, stderr: '' });

test('create, ls, inspect, rm, with docker’s words', () => {
  expect(volumes('create', 'one')).toEqual(done('one\n'));
  writeFileSync(folder('one/data/kept'), '');
  expect(volumes('create', 'one')).toEqual(done('one\n'));
  expect(readdirSync(folder('one/data'))).toEqual(['kept']);
  expectCreated(host, 'c1', '-v', 'two:/srv', '-v', 'two:/srv/again:ro', '-v', '/own');
  expectCreated(host, 'c2', '-v', 'two:/srv');
  expect(volumes('ls').stdout).toBe('NAME  USED BY\none\ntwo   c1, c2\n');
  expect(volumes('ls', '-q')).toEqual(done('one\ntwo\n'));
  expect(volumes('ls', '-q', '--filter', 'dangling=true').stdout).toBe('one\n');
  expect(volumes('ls', '-q', '--filter', 'dangling=false', '--filter', 'name=^tw', '--filter', 'name=x').stdout).toBe(
    'two\n',
  );
  const [one, two] = JSON.parse(volumes('ls', '--format', 'json').stdout);
  expect(one).toEqual({ name: 'one', mountpoint: folder('one/data'), createdAt: expect.any(String), usedBy: [] });
  expect(JSON.parse(volumes('inspect', 'two').stdout)).toEqual([two]);
  expect(two.usedBy).toEqual(['c1', 'c2']);
  const missing = volumes('inspect', 'two', 'none');
  expect(missing).toMatchObject({
    status: 125,
    stderr: 'minict: cannot find volume none: no such volume\nhint: minict volume ls\n',
  });
  expect(JSON.parse(missing.stdout)).toHaveLength(1);

  const removed = volumes('rm', 'none', 'two', 'one');
  expect(removed).toMatchObject({ status: 125, stdout: 'one\n' });
  expect(removed.stderr).toMatch(
    /none: no such volume\nhint: .*\nminict: .*two: used by c1, c2\nhint: minict rm c1 c2\n$/,
  );
  host.minict('stop', 'c1', 'c2');
  expect(volumes('rm', 'two').status).toBe(125);
  host.minict('rm', 'c1', 'c2');
  expect(volumes('rm', 'two')).toEqual(done('two\n'));
  expect(readdirSync(folder())).toEqual([]);
  for (const words of [
    ['ls', '--format', 'xml'],
    ['ls', '--filter', 'label=x'],
    ['ls', '--filter', 'dangling=yes'],
    ['create', 'a/b'],
    ['rm', '../containers'],
  ]) {
    expectRefused(volumes(...words), /^minict: cannot use /);
  }
});

test('prune takes those that nobody uses, and says which before', () => {
  for (const name of ['a', 'b']) volumes('create', name);
  expectCreated(host, 'c1', '-v', 'b:/srv');
  expect(volumes('prune', '--dry-run')).toEqual(done('a\n'));
  expect(volumes('ls', '-q').stdout).toBe('a\nb\n');
  expect(volumes('prune')).toEqual(done('a\n'));
  expect(volumes('ls', '-q').stdout).toBe('b\n');
});

test('a damaged volume.json: said, never overwritten; the others go on', () => {
  for (const name of ['bad', 'good', 'newer']) volumes('create', name);
  const json = folder('bad/volume.json');
  writeFileSync(json, '{"version": 1');
  writeFileSync(folder('newer/volume.json'), '{"version": 2}');
  expect(volumes('ls', '-q')).toMatchObject({ status: 125, stdout: 'good\n' });
  expect(volumes('ls').stderr).toMatch(/volume bad: .* is damaged .*\n.*\nminict: .*newer minict\n/);
  for (const words of [
    ['create', 'bad'],
    ['inspect', 'bad'],
  ])
    expect(volumes(...words).stderr).toMatch(/is damaged/);
  expectRefused(host.minict('create', 'c1', '-v', 'bad:/srv'), /cannot read volume bad: .* is damaged/);
  const pruned = volumes('prune');
  expect(pruned).toMatchObject({ status: 125, stdout: 'good\n' });
  expect(readFileSync(json, 'utf8')).toBe('{"version": 1');
  expect(volumes('rm', 'bad', 'newer')).toEqual(done('bad\nnewer\n'));
});

test('a folder whose files somebody removed, and one that is no volume', () => {
  volumes('create', 'bare');
  rmSync(folder('bare/data'), { recursive: true });
  expectRefused(host.minict('create', 'c1', '-v', 'bare:/srv'), /volume bare: its folder .*\/data is gone\nhint: /);
  expect(volumes('rm', 'bare')).toEqual(done('bare\n'));
  mkdirSync(folder('theirs'));
  writeFileSync(folder('theirs/file'), '');
  expectRefused(
    host.minict('create', 'c1', '-v', 'theirs:/srv'),
    /volume theirs: .* is there, without a volume.json\nhint: /,
  );
  expectRefused(volumes('rm', 'theirs'), /no such volume/);
  expect(readdirSync(folder('theirs'))).toEqual(['file']);
  rmSync(folder('theirs'), { recursive: true });
});

test('what somebody mounted in a volume is not removed with it', () => {
  volumes('create', 'held');
  const inner = folder('held/data/inner');
  mkdirSync(inner);
  const treasure = join(host.dir, 'treasure');
  mkdirSync(treasure, { recursive: true });
  host.run(['mount', '--bind', treasure, inner]);
  expectRefused(volumes('rm', 'held'), /mounted in it: \S+\nhint: umount /);
  expect(volumes('ls', '-q').stdout).toBe('held\n');
  host.run(['umount', inner]);
  expect(volumes('rm', 'held').status).toBe(0);
  expect(existsSync(treasure)).toBe(true);
});

test('a create that fails leaves neither a new volume, nor one that it filled', () => {
  volumes('create', 'empty');
  host.run(['chown', '7:8', folder('empty/data')]);
  const before = host.run(['stat', '-c', '%a %u %g', folder('empty/data')]).stdout;
  const words = ['-v', 'empty:/var/www', '-v', 'new:/srv', '-v', 'data:/etc/passwd'];
  expectRefused(host.minict('create', 'c1', ...words), /cannot mount at \/etc\/passwd/);
  expect(volumes('ls', '-q').stdout).toBe('empty\n');
  expect(readdirSync(folder('empty/data'))).toEqual([]);
  expect(host.run(['stat', '-c', '%a %u %g', folder('empty/data')]).stdout).toBe(before);
});

const ROUNDS = [1, 2, 3, 4, 5];

test('two creates with the same new volume: both have it, filled once', async () => {
  for (const _ of ROUNDS) {
    const all = ['c1', 'c2', 'c3'].map((name) => host.spawn([MINICT, 'create', name, '-v', 'web:/var/www']));
    expect(await Promise.all(all.map((child) => child.exited))).toEqual([0, 0, 0]);
    host.minict('exec', 'c1', 'sh', '-c', 'echo one >>/var/www/index.html');
    for (const name of ['c2', 'c3']) {
      expect(host.minict('exec', name, 'cat', '/var/www/index.html').stdout).toBe('minict\none\n');
    }
    expect(volumes('ls').stdout).toBe('NAME  USED BY\nweb   c1, c2, c3\n');
    host.minict('rm', 'c1', 'c2', 'c3');
    volumes('rm', 'web');
    expect(readdirSync(folder())).toEqual([]);
  }
});

test('a create and volume rm, or prune, at once: either the container has its volume, or it makes a new one', async () => {
  for (const verb of [['rm', 'web'], ['prune']]) {
    for (const _ of ROUNDS) {
      volumes('create', 'web');
      const create = host.spawn([MINICT, 'create', 'c1', '-v', 'web:/var/www']);
      const other = host.spawn([MINICT, 'volume', ...verb]);
      expect(await create.exited).toBe(0);
      expect([0, 125]).toContain(await other.exited);
      expect(host.minict('exec', 'c1', 'cat', '/var/www/index.html').stdout).toBe('minict\n');
      expect(volumes('ls', '-q').stdout).toBe('web\n');
      host.minict('rm', 'c1');
      volumes('rm', 'web');
    }
  }
});

test('create of a new volume, killed before each change: the next one is whole, prune takes the rest', async () => {
  const words = ['create', 'c1', '-v', 'web:/var/www'];
  let points = 0;
  for (const call of ['mkdir', 'rename', 'unlink']) {
    for (let k = 1; killBefore(host, words, call, k); k += 1) {
      points += 1;
      expect(volumes('ls')).toMatchObject({ status: 0, stderr: '' });
      expect(host.minict(...words), `${call} ${k}`).toEqual(done('c1\n'));
      expect(host.minict('exec', 'c1', 'cat', '/var/www/index.html').stdout).toBe('minict\n');
      host.minict('rm', 'c1');
      expect(volumes('prune')).toEqual(done('web\n'));
      expect(host.minict('system', 'prune')).toMatchObject({ status: 0, stderr: '' });
      expect(await host.settled(clean), `${call} ${k}`).toEqual(clean);
    }
    host.minict('rm', '-f', 'c1');
    volumes('prune');
  }
  expect(points).toBeGreaterThanOrEqual(10);
});
