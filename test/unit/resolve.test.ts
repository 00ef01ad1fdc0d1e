import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readInRoot, resolveInRoot } from '../../src/storage/resolve.ts';

let top: string;
let layers: string[];
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'minict-resolve-'));
  layers = ['upper', 'lower'].map((name) => join(top, name));
  for (const dir of ['upper', 'lower/etc', 'outside']) mkdirSync(join(top, dir), { recursive: true });
  writeFileSync(join(top, 'outside/passwd'), 'outside');
  writeFileSync(join(top, 'lower/etc/passwd'), 'lower');
});
afterEach(() => rmSync(top, { recursive: true }));

test('the upper layer hides the lower, and directories are merged', () => {
  mkdirSync(join(top, 'upper/etc'));
  expect(readInRoot(layers, '/etc/passwd')).toBe('lower');
  writeFileSync(join(top, 'upper/etc/passwd'), 'upper');
  expect(readInRoot(layers, '/etc/passwd')).toBe('upper');
  expect(readInRoot(layers, '/etc/nope')).toBeUndefined();
  expect(readInRoot(layers, '/etc')).toBeUndefined();
});

test('links lead within the root: absolute ones, and those with more .. than folders', () => {
  symlinkSync('/etc/passwd', join(top, 'lower/absolute'));
  symlinkSync(`../../../../../../${top}/outside/passwd`, join(top, 'lower/relative'));
  symlinkSync('loop', join(top, 'lower/loop'));
  expect(resolveInRoot(layers, '/absolute')?.path).toBe('/etc/passwd');
  expect(readInRoot(layers, '/relative')).toBeUndefined();
  expect(resolveInRoot(layers, '/loop')).toBeUndefined();
});

test('a link of the lower layer that a directory of the upper hides is not followed', () => {
  symlinkSync(join(top, 'outside'), join(top, 'lower/home'));
  mkdirSync(join(top, 'upper/home'));
  expect(readInRoot(layers, '/home/passwd')).toBeUndefined();
});

test('a file of the upper layer hides what the lower has below it', () => {
  writeFileSync(join(top, 'upper/etc'), '');
  expect(resolveInRoot(layers, '/etc/passwd')).toEqual({ path: '/etc/passwd', stat: undefined, layer: undefined });
});
