/** Hostile tarballs: none writes outside of its image, and none leaves one. */
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { Host } from '../helpers/host.ts';
import { storeFiles } from '../helpers/images.ts';
import { archive, type Member, member, pax } from '../helpers/tar.ts';

let host: Host;
let dir: string;
beforeAll(async () => {
  host = await Host.create();
  dir = join(host.root, 'data', 'here');
  mkdirSync(dir, { recursive: true });
});
afterAll(() => host.destroy());

const images = () => storeFiles(host);

test.each<[string, () => Member[], RegExp]>([
  ['dots', () => [{ name: 'a/../../evil' }], /member a\/\.\.\/\.\.\/evil leads out/],
  ['dots by pax', () => [pax('path', '../../evil'), { name: 'ok' }], /member \.\.\/\.\.\/evil leads out/],
  ['dots by a sparse name', () => [pax('GNU.sparse.name', '../../evil'), { name: 'ok' }], /\.\.\/\.\.\/evil leads out/],
  ['dots by pax for all', () => [pax('path', '../../evil', 'g'), { name: 'ok' }], /\.\.\/\.\.\/evil/],
  [
    'dots by a GNU name',
    () => [{ name: 'x', flag: 'L', content: '../../evil\0' }, { name: 'ok' }],
    /\.\.\/evil leads out/,
  ],
  ['dots of a folder', () => [{ name: '../../evil/', flag: '5' }], /member \.\.\/\.\.\/evil\/ leads out/],
  ['through a symlink', () => [{ name: 'd', flag: '2', target: dir }, { name: 'd/evil' }], /member d\/evil .*symlink/],
  [
    'a folder over a symlink',
    () => [{ name: 'd', flag: '2', target: dir }, { name: './d/', flag: '5' }, { name: 'd/evil' }],
    /member \.\/d\/ .*symlink/,
  ],
  [
    'through a second name of a symlink',
    () => [{ name: 'd', flag: '2', target: dir }, { name: 'e', flag: '1', target: 'd' }, { name: 'e/evil' }],
    /member e\/evil .*symlink/,
  ],
  ['hard link by dots', () => [{ name: 'l', flag: '1', target: '../../data/here/victim' }], /member l is a hard link/],
  [
    'hard link by pax',
    () => [pax('linkpath', '../../data/here/victim'), { name: 'l', flag: '1', target: 'ok' }],
    /member l is a hard/,
  ],
  [
    'hard link through a symlink',
    () => [
      { name: 'd', flag: '2', target: dir },
      { name: 'l', flag: '1', target: 'd/victim' },
    ],
    /member l .*symlink/,
  ],
  [
    'a header in the data of a folder',
    () => [{ name: 'd/', flag: '5', content: member({ name: '../../evil' }).toString('latin1') }],
    /member d\/ has content/,
  ],
])('refuses %s', (_, members, message) => {
  writeFileSync(join(dir, 'victim'), 'safe');
  writeFileSync(join(dir, 'hostile.tar'), archive({ name: 'first', content: 'x' }, ...members()));
  const before = images();
  const here = readdirSync(dir);
  expectRefused(host.minict('image', 'import', join(dir, 'hostile.tar'), 'hostile'), message);
  expect(images()).toEqual(before);
  expect(readdirSync(dir)).toEqual(here);
  expect(existsSync(join(host.root, 'evil'))).toBe(false);
  expect(statSync(join(dir, 'victim')).nlink).toBe(1);
});
