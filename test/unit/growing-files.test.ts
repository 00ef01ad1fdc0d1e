/** Files that are renamed while they are looked at are read without a gap; what is none is not read. */
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readGrowing } from '../../src/state/growing-files.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'minict-growing-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const write = (name: string, text: string) => writeFileSync(join(dir, name), text);
const rename = (from: string, to: string) => renameSync(join(dir, from), join(dir, to));
const list = () => {
  const names = readdirSync(dir).sort();
  return names.map((name) => join(dir, name));
};

/** After each look at the names that many of `moves` are made. */
async function readAll(...moves: (() => void)[]): Promise<string> {
  const parts: Buffer[] = [];
  const moving = () => {
    const paths = list();
    moves.shift()?.();
    return paths;
  };
  await readGrowing(moving, { isOver: () => true }, (bytes) => parts.push(bytes) > 0);
  return Buffer.concat(parts).toString();
}

/** The written one is the last by name. */
const rotate = (to: string, text: string) => () => {
  rename('z', to);
  write('z', text);
};

test('one gets a name that was not listed yet', async () => {
  write('a', 'one ');
  write('z', 'two ');
  expect(await readAll(rotate('b', 'three '), rotate('c', 'four '))).toBe('one two three four ');
});

test('a gap between the names is filled meanwhile', async () => {
  write('a', 'one ');
  write('c', 'two ');
  write('d', 'three ');
  write('z', 'four ');
  const shift = () => {
    rename('c', 'b');
    rename('d', 'c');
  };
  expect(await readAll(shift)).toBe('one two three four ');
});

test('what is removed while it is followed is read to its end', async () => {
  write('z', 'one ');
  let said = '';
  let looks = 0;
  const isOver = () => {
    looks += 1;
    if (looks === 2) {
      appendFileSync(join(dir, 'z'), 'two ');
      rmSync(join(dir, 'z'));
    }
    return looks > 2;
  };
  await readGrowing(list, { isOver }, (bytes) => {
    said += bytes.toString();
    return true;
  });
  expect(said).toBe('one two ');
});

test('what is no file is not read', async () => {
  mkdirSync(join(dir, 'a'));
  Bun.spawnSync(['mkfifo', join(dir, 'b')]);
  write('z', 'one');
  expect(await readAll()).toBe('one');
});
