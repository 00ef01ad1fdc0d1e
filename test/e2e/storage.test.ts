/** Where a storage driver can work, what it says where it cannot, and what it takes of the disk. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mountStateDisk } from '../helpers/disk.ts';
import { expectRefused, expectRefusedThere } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';
import { imageTree } from '../helpers/images.ts';
import { baseTar } from '../helpers/layer-fixtures.ts';
import { Layout } from '../helpers/oci-layout.ts';
import { hideContainersCache } from '../helpers/registry.ts';
import { archive } from '../helpers/tar.ts';
import { containerFacts } from '../helpers/tree-facts.ts';

let plain: Host;
let disk: Host;
beforeAll(async () => {
  plain = await Host.create();
  disk = await Host.create();
  mountStateDisk(disk, 'btrfs', 256);
});
afterAll(async () => {
  await plain.destroy();
  await disk.destroy();
});

const ok = (host: Host, ...words: string[]) => {
  const result = host.minict(...words);
  expect(result, words.join(' ')).toMatchObject({ status: 0, stderr: '' });
  return result.stdout;
};

test('a driver is chosen by its option, by the environment, and never by minict', () => {
  ok(plain, 'create', 'c1');
  const refused: [string[], RegExp][] = [
    [['--storage', 'btrfs'], /as btrfs subvolumes: it is on another file system\nhint: .*--root DIR.* copy/],
    [['--storage', 'zfs'], /--storage "zfs": no storage driver\nhint: overlay, btrfs or copy/],
    [['--storage', 'copy', '--rootfs', '/tmp'], /--storage and --rootfs together/],
  ];
  return Promise.all(
    refused.map(([options, message]) => expectRefusedThere(plain, ['create', 'c2', ...options], message)),
  );
});

test('MINICT_STORAGE is the default; an option goes before it, and --rootfs has no driver', () => {
  const create = (...words: string[]) =>
    plain.run([MINICT, 'create', 'e1', '--no-network', ...words], { MINICT_STORAGE: 'copy' });
  const storage = () => JSON.parse(ok(plain, 'inspect', 'e1'))[0].storage;
  expect(create()).toMatchObject({ status: 0 });
  expect(storage()).toBe('copy');
  ok(plain, 'rm', 'e1');
  expect(create('--storage', 'overlay')).toMatchObject({ status: 0 });
  expect(storage()).toBeUndefined();
  const tree = join(plain.dir, 'tree');
  plain.run(['cp', '-a', imageTree(plain, 'base'), tree]);
  ok(plain, 'rm', 'e1');
  expect(create('--rootfs', tree)).toMatchObject({ status: 0 });
  ok(plain, 'rm', 'e1');
  expectRefused(plain.run([MINICT, 'create', 'e1'], { MINICT_STORAGE: 'x' }), /MINICT_STORAGE "x": no storage driver/);
});

test('without the program that makes subvolumes, its package is named', () => {
  const tools = join(disk.dir, 'tools');
  mkdirSync(tools);
  disk.run([
    'sh',
    '-c',
    'for t in /usr/bin/* /usr/sbin/* /bin/* /sbin/*; do ln -s "$t" "$0"; done 2>/dev/null; rm "$0/btrfs"',
    tools,
  ]);
  const result = disk.run([MINICT, 'create', 'n1', '--storage', 'btrfs'], { PATH: tools });
  expectRefused(result, /cannot run btrfs: not found in PATH\nhint: apt-get install btrfs-progs/);
});

test('copy works where overlay cannot: on an overlay', () => {
  const [dir, root] = [join(plain.dir, 'nested'), join(plain.dir, 'nested/merged')];
  mkdirSync(root, { recursive: true });
  for (const name of ['lower', 'upper', 'work']) mkdirSync(join(dir, name));
  plain.run([
    'mount',
    '-t',
    'overlay',
    '-o',
    `lowerdir=${dir}/lower,upperdir=${dir}/upper,workdir=${dir}/work`,
    'x',
    root,
  ]);
  const minict = (...words: string[]) => plain.run([MINICT, '--root', root, '--run-dir', '/run/nested', ...words]);
  expectRefused(minict('create', 'o1', '--no-network'), /an overlay's upper directory .*\nhint: --storage copy works/);
  expect(minict('create', 'o1', '--no-network', '--storage', 'copy')).toMatchObject({ status: 0, stderr: '' });
  expect(minict('exec', 'o1', 'sh', '-c', 'echo x >/x; cat /x').stdout).toBe('x\n');
  expect(minict('rm', 'o1')).toMatchObject({ status: 0, stderr: '' });
  minict('system', 'prune');
});

/** What is taken of the disk, in MiB, while `action` is done. */
function mebibytesOf(action: () => void): number {
  const used = () => {
    disk.run(['sync', '-f', disk.root]);
    return Number(disk.run(['df', '--output=used', '-B1', disk.root]).stdout.split('\n')[1]);
  };
  const before = used();
  action();
  return (used() - before) / (1 << 20);
}

test.each(['btrfs', 'copy'])('%s shares the blocks of what is alike, also of images of several layers', (storage) => {
  ok(disk, 'create', 'b0');
  ok(disk, 'exec', 'b0', 'sh', '-c', 'head -c 30000000 /dev/urandom >/big; ln /big /bin/big; rm -r /var/www');
  ok(disk, 'commit', 'b0', 'big:1');
  ok(disk, 'rm', 'b0');
  // An image's layers are unpacked when it is first used.
  ok(disk, 'run', '--rm', 'b0', '--image', 'big:1', '--', 'true');
  const create = ['create', 'b1', '--image', 'big:1', '--storage', storage];
  expect(mebibytesOf(() => ok(disk, ...create))).toBeLessThan(8);
  expect(mebibytesOf(() => ok(disk, 'snapshot', 'create', 'b1', 'a'))).toBeLessThan(4);
  expect(mebibytesOf(() => ok(disk, 'clone', 'b1', 'b2'))).toBeLessThan(4);
  expect(mebibytesOf(() => ok(disk, 'snapshot', 'rollback', 'b1', 'a'))).toBeLessThan(4);
  expect(containerFacts(disk, 'b2')).toEqual(containerFacts(disk, 'b1'));
  expect(ok(disk, 'exec', 'b2', 'sh', '-c', 'stat -c "%s %h" /big /bin/big')).toBe('30000000 2\n30000000 2\n');
  ok(disk, 'rm', 'b1', 'b2');
  ok(disk, 'image', 'rm', 'big:1');
});

test('120 layers, in a state folder with a path of 1,000 bytes, become one tree', () => {
  const layout = new Layout(join(plain.dir, 'layout'));
  // Each takes away what the one below brought.
  const layers = Array.from({ length: 119 }, (_, i) => ({
    tar: archive({ name: 'lab/', flag: '5' }, { name: `lab/${i}`, content: 'x' }, { name: `lab/.wh.${i - 1}` }),
  }));
  layout.add('x', { layers: [{ tar: baseTar(plain) }, ...layers] });
  const root = join(plain.dir, ...Array.from({ length: 5 }, () => 'r, '.repeat(66)));
  mkdirSync(root, { recursive: true, mode: 0o700 });
  const minict = (...words: string[]) => plain.run([MINICT, '--root', root, '--run-dir', '/run/long', ...words]);
  hideContainersCache(plain);
  expect(minict('image', 'pull', layout.source('x'), 'x').stderr).toBe('');
  expect(minict('create', 'l1', '--no-network', '--image', 'x', '--storage', 'copy').stderr).toBe('');
  expect(minict('exec', 'l1', 'ls', '/lab').stdout).toBe('118\n');
  expect(minict('rm', 'l1').stderr).toBe('');
  minict('system', 'prune');
});

test('a directory as an image is copied as it is then; one that minict has, once for all', () => {
  const dir = join(disk.root, '..', 'dir');
  disk.run(['cp', '-a', imageTree(disk, 'base'), dir]);
  writeFileSync(join(dir, 'version'), '1');
  ok(disk, 'create', 'd1', '--image', dir, '--storage', 'btrfs');
  writeFileSync(join(dir, 'version'), '2');
  ok(disk, 'create', 'd2', '--image', dir, '--storage', 'btrfs');
  expect(ok(disk, 'exec', 'd1', 'cat', '/version') + ok(disk, 'exec', 'd2', 'cat', '/version')).toBe('12');
  ok(disk, 'create', 'd3', '--storage', 'btrfs');
  const trees = () =>
    disk
      .run(['ls', join(disk.root, 'images/trees')])
      .stdout.split('\n')
      .filter(Boolean);
  expect(trees()).toHaveLength(1);
  ok(disk, 'rm', 'd1', 'd2', 'd3');
  ok(disk, 'image', 'rm', 'base');
  expect(trees()).toEqual([]);
});

test('subvolumes that programs in a container make go with it', () => {
  ok(disk, 'create', 'v1', '--storage', 'btrfs');
  const files = join(disk.root, 'containers/v1/files');
  disk.run(['sh', '-ec', 'cd "$0"; btrfs subvolume create "$1"; btrfs subvolume create "$1/deep"', files, 'a b\nc']);
  ok(disk, 'snapshot', 'create', 'v1', 'a');
  ok(disk, 'snapshot', 'rollback', 'v1', 'a');
  disk.run(['btrfs', 'subvolume', 'create', join(files, 'again')]);
  ok(disk, 'rm', 'v1');
  expect(disk.run(['btrfs', 'subvolume', 'list', disk.root]).stdout).not.toMatch(/containers|layers|trash/);
  expect(disk.run(['ls', '-A', join(disk.root, '.trash')]).stdout).toBe('');
});
