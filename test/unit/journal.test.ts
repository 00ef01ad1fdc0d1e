/** A journal that says more of what came and went than of what is there is written anew, and says the same. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Journal } from '../../src/runner/journal.ts';
import type { Step } from '../../src/step.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'minict-journal-'));
});
afterAll(() => rmSync(dir, { recursive: true }));

const step = (id: string): Step => ({ id, why: id, run: { kind: 'mkdir', path: `/${id}`, mode: 0o755 } });

/** As a verb does it that takes up what an earlier one left. */
function comeAndGo(path: string, id: string): void {
  const journal = new Journal(path);
  journal.read();
  journal.plan([step(id)]);
  journal.done(id, { [id]: '1' });
  journal.undone([id]);
  journal.phase('started');
}

test('what came and went is forgotten, and nothing else', () => {
  const path = join(dir, 'journal');
  const first = new Journal(path);
  first.plan([step('a'), step('b')]);
  first.done('a', { a: '7' });
  first.phase('up');
  // Of one that was killed at it.
  writeFileSync(`${path}.tmp`, 'half a li');
  const sizes: number[] = [];
  for (let round = 0; round < 200; round += 1) {
    comeAndGo(path, `nic ${round}`);
    sizes.push(readFileSync(path, 'utf8').split('\n').length);
  }
  expect(Math.max(...sizes)).toBeLessThan(100);
  expect(sizes.at(-1)).toBeGreaterThan(1);
  expect(existsSync(`${path}.tmp`)).toBe(false);
  const state = new Journal(path).read();
  expect(state?.steps).toEqual([step('a'), step('b')]);
  expect(state?.identities).toEqual(new Map([['a', { a: '7' }]]));
  expect(state).toMatchObject({ phase: 'started', interrupted: new Set(), damaged: false });
});

test('a large one that is all in effect stays as it is', () => {
  const path = join(dir, 'large');
  const journal = new Journal(path);
  const steps = Array.from({ length: 300 }, (_, index) => step(`s${index}`));
  journal.plan(steps);
  for (const { id } of steps) journal.done(id, { [id]: '1' });
  // Who writes it anew takes that along.
  writeFileSync(`${path}.tmp`, '');
  journal.phase('up');
  const text = readFileSync(path, 'utf8');

  const again = new Journal(path);
  expect(again.read()?.steps).toHaveLength(300);
  again.phase('up');
  expect(readFileSync(path, 'utf8')).toBe(`${text}{"phase":"up"}\n`);
  expect(existsSync(`${path}.tmp`)).toBe(true);
});
