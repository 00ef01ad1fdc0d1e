import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readInRoot, resolveInRoot, showsFromBelow } from '../../src/storage/resolve.ts';

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
  expect(resolveInRoot(layers, '/etc/passwd')).toMatchObject({ path: '/etc/passwd', stat: undefined, merged: [] });
});

test('an opaque directory hides what the layers below have in it, and what another one below all would have', () => {
  mkdirSync(join(top, 'upper/etc'));
  expect(showsFromBelow(layers, '/etc/new')).toBe(true);
  const mark = 'import os, sys; os.setxattr(sys.argv[1], "trusted.overlay.opaque", b"y")';
  expect(Bun.spawnSync(['python3', '-c', mark, join(top, 'upper/etc')]).exitCode).toBe(0);
  expect(readInRoot(layers, '/etc/passwd')).toBeUndefined();
  expect(showsFromBelow(layers, '/etc/new')).toBe(false);
  expect(showsFromBelow(layers, '/srv')).toBe(true);
});

test('a mount is in front of the layers; a link in it leads on from the root', () => {
  mkdirSync(join(top, 'outside/in'));
  symlinkSync('/etc/passwd', join(top, 'outside/link'));
  symlinkSync('../../..', join(top, 'outside/up'));
  const mounted = [{ path: '/etc', source: join(top, 'outside'), dirs: [join(top, 'outside')] }];
  expect(readInRoot(layers, '/etc/passwd', mounted)).toBe('outside');
  expect(readInRoot(layers, '/etc/link', mounted)).toBe('outside');
  expect(resolveInRoot(layers, '/etc/up/etc/in', mounted)).toMatchObject({ path: '/etc/in', inside: mounted[0] });
  expect(resolveInRoot(layers, '/srv', mounted)).toMatchObject({ path: '/srv', inside: undefined });
});

test('of a tmpfs nothing is known but that it is empty; a file may be mounted', () => {
  const file = join(top, 'outside/passwd');
  const mounted = [
    { path: '/etc', dirs: [] },
    { path: '/etc/passwd', source: file, dirs: [] },
  ];
  expect(readInRoot(layers, '/etc/passwd', mounted.slice(0, 1))).toBeUndefined();
  expect(readInRoot(layers, '/etc/passwd', mounted)).toBe('outside');
  expect(resolveInRoot(layers, '/etc/passwd/x', mounted)).toMatchObject({ stat: undefined, inside: mounted[1] });
});
