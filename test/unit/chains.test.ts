/** Chains of steps side by side, of which one waits for another. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { applySteps } from '../../src/runner/apply.ts';
import { Journal } from '../../src/runner/journal.ts';
import type { Step } from '../../src/step.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'minict-chains-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const context = { lockFds: [], verbose: false };
const at = (name: string) => join(dir, name);

function step(id: string, argv: readonly string[], more: Partial<Step>): Step {
  return { id, why: id, run: { kind: 'run', argv }, ...more };
}

function touch(id: string, more: Partial<Step>): Step {
  return step(id, ['touch', at(id)], { undo: { kind: 'unlink', path: at(id) }, ...more });
}

test('a step begins when those of other chains are done that it names, also of a plan before', async () => {
  const slow = ['sh', '-c', `until [ -e "$0" ]; do sleep 0.01; done; exec mv "$0" "$1"`, at('early'), at('slow')];
  const first = [step('slow', slow, { chain: 'a' })];
  const rest = () => [
    touch('early', { chain: 'b' }),
    step('late', ['mv', at('slow'), at('late')], { chain: 'b', after: ['slow', 'of no plan'] }),
  ];
  await applySteps('try', first, new Journal(at('journal')), context, { rest });
  expect(existsSync(at('late'))).toBe(true);
});

test('where one fails, nothing begins that waits', async () => {
  const steps = [
    step('bad', ['false'], { chain: 'a' }),
    touch('there', { chain: 'b' }),
    touch('late', { chain: 'b', after: ['bad'] }),
    step('later', ['touch', at('later')], { chain: 'b' }),
  ];
  await expect(applySteps('try', steps, new Journal(at('journal')), context)).rejects.toThrow('cannot try: bad: ');
  expect(['there', 'late', 'later'].filter((id) => existsSync(at(id)))).toEqual([]);
});
