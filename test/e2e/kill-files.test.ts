/** minict is killed before each change that it makes to a container's files: they are those of before or of after, whole. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { useFaultHost } from '../helpers/fault-host.ts';
import { CHANGING_CALLS, killBefore } from '../helpers/faults.ts';
import { MANY_POINTS } from '../helpers/recovery.ts';

const faulty = useFaultHost();

interface Case {
  readonly words: readonly string[];
  /** Whether the container runs meanwhile. */
  readonly runs: boolean;
  /** What its file may say afterwards. */
  readonly contents: readonly string[];
  /** At least as many changes has it. */
  readonly changes: number;
}

const CASES: readonly Case[] = [
  { words: ['snapshot', 'create', 'f1', 'b'], runs: false, contents: ['two'], changes: 6 },
  { words: ['snapshot', 'create', 'f1', 'b'], runs: true, contents: ['two'], changes: 4 },
  { words: ['snapshot', 'rollback', '-t', '0', 'f1', 'a'], runs: false, contents: ['two', 'one'], changes: 6 },
  { words: ['snapshot', 'rollback', '-t', '0', 'f1', 'a'], runs: true, contents: ['two', 'one'], changes: 20 },
  { words: ['snapshot', 'rm', 'f1', 'a'], runs: false, contents: ['two'], changes: 2 },
  { words: ['clone', 'f1', 'f2'], runs: false, contents: ['two'], changes: 25 },
  { words: ['clone', 'f1', 'f2'], runs: true, contents: ['two'], changes: 25 },
  { words: ['rebase', 'f1', 'base', '--keep-changes'], runs: false, contents: ['two'], changes: 8 },
  { words: ['commit', 'f1', 'lab:1'], runs: true, contents: ['two'], changes: 8 },
];

test.each(CASES)('$words, running: $runs', MANY_POINTS, async ({ words, runs, contents, changes }) => {
  const { host, clean } = faulty;
  const must = (...more: string[]) => {
    const result = host.minict(...more);
    expect(result, more.join(' ')).toMatchObject({ status: 0 });
    return result.stdout;
  };
  const prepare = () => {
    must('run', '-d', 'f1', '--', 'sleep', '300');
    must('exec', 'f1', 'sh', '-c', 'echo one >/file');
    must('stop', '-t', '0', 'f1');
    must('snapshot', 'create', 'f1', 'a');
    must('start', 'f1');
    must('exec', 'f1', 'sh', '-c', 'echo two >/file');
    if (!runs) must('stop', '-t', '0', 'f1');
  };
  const expectWhole = async (point: string) => {
    must('ps', '-a');
    const again = host.minict(...words);
    expect(again.stderr, point).toMatch(
      /^$|there is one of that name|no such snapshot|a container f2 is there|snapshot before-/,
    );
    must('start', 'f1');
    expect(contents, point).toContain(must('exec', 'f1', 'cat', '/file').trim());
    if (words[0] === 'clone') expect(must('exec', 'f2', 'cat', '/file'), point).toBe('two\n');
    if (words[0] === 'commit') {
      expect(must('run', '--rm', 'f3', '--image', 'lab:1', '--', 'cat', '/file'), point).toBe('two\n');
      must('image', 'rm', 'lab:1');
      // The one whose name the second commit took.
      must('image', 'prune');
    }
    must('rm', '-f', 'f1', ...(words[0] === 'clone' ? ['f2'] : []));
    // Without its network and images: those are the other container's, too.
    must('system', 'prune');
    expect(readdirSync(join(host.root, 'layers')), point).toEqual([]);
    expect(await host.settled(clean), point).toEqual(clean);
  };
  // Of what it does most is the same, up or stopped: one takes the odd ones, and one the others.
  const isShared = words[0] === 'clone';
  let points = 0;
  for (const call of CHANGING_CALLS) {
    for (let k = isShared && runs ? 2 : 1; ; k += isShared ? 2 : 1) {
      prepare();
      const killed = killBefore(host, words, call, k);
      await expectWhole(`${call} (${k})`);
      if (!killed) break;
      points += 1;
    }
  }
  expect(points).toBeGreaterThanOrEqual(isShared ? changes / 3 : changes);
});
