/** Folders of the host's that somebody mounted into minict's own: on the same disk, where rm(1) sees no border. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefused } from '../helpers/expect.ts';
import { Host, type Result } from '../helpers/host.ts';
import { imageTree } from '../helpers/images.ts';

let host: Host;
let treasure: string;
beforeAll(async () => {
  host = await Host.create();
  treasure = join(host.dir, 'treasure');
  mkdirSync(treasure);
  writeFileSync(join(treasure, 'gold'), 'gold');
});
afterAll(() => host.destroy());

function mountTreasure(target: string): void {
  mkdirSync(target, { recursive: true });
  expect(host.run(['mount', '--bind', treasure, target])).toMatchObject({ status: 0 });
}

/** Nothing of it is removed; without the mount the same words remove the rest. */
function expectSpared(target: string, remove: () => Result, refused: (result: Result) => void): void {
  refused(remove());
  expect(readFileSync(join(treasure, 'gold'), 'utf8')).toBe('gold');
  expect(host.run(['umount', target]).status).toBe(0);
  expect(remove()).toMatchObject({ status: 0, stderr: '' });
}

const saysSo = (result: Result) => expectRefused(result, /cannot remove .*: mounted in it: \S+\nhint: /);

test.each(['private', 'host'])('rm of a container with --mounts %s', (mounts) => {
  for (const [place, stopped] of [
    ['upper/srv', false],
    ['rootfs/srv', true],
    ['', true],
  ] as const) {
    expectCreated(host, 'c1', '--mounts', mounts);
    if (stopped) host.minict('stop', 'c1');
    const dir = join(host.root, 'containers/c1');
    const target = join(dir, place);
    if (place === '') cpSync(dir, treasure, { recursive: true });
    mountTreasure(target);
    expectSpared(target, () => host.minict('rm', '-f', 'c1'), saysSo);
    expect(existsSync(dir)).toBe(false);
  }
});

test('image rm, and the prune after it', () => {
  expectCreated(host, 'c1');
  host.run(['tar', '-cf', join(host.dir, 'lab.tar'), '-C', imageTree(host, 'base'), '.']);
  host.minict('image', 'import', join(host.dir, 'lab.tar'), 'lab');
  const data = join(imageTree(host, 'lab'), 'data');
  mountTreasure(data);
  saysSo(host.minict('image', 'rm', 'lab'));
  const trash = join(host.root, '.trash');
  const target = join(trash, readdirSync(trash)[0] as string, 'data');
  expectSpared(target, () => host.minict('system', 'prune'), saysSo);
  expect(readdirSync(trash)).toEqual([]);
  host.minict('rm', 'c1');
});

test('the script of an rm', () => {
  expectCreated(host, 'c1');
  host.minict('stop', 'c1');
  const script = host.minict('rm', 'c1', '--dry-run').stdout;
  const target = join(host.root, 'containers/c1/rootfs/a b');
  mountTreasure(target);
  const { status, stderr } = host.run(['sh'], {}, script);
  expect({ status, stderr }).toEqual({
    status: 1,
    stderr: `${target.replace(' ', '\\040')}/\nnot removed: mounted in it\n`,
  });
  expect(readdirSync(treasure)).toContain('gold');
  host.run(['umount', target]);
  expect(host.minict('rm', 'c1')).toMatchObject({ status: 0, stderr: '' });
});
