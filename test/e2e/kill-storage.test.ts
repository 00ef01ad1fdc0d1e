/** minict is killed at each host command, and before each rename, of what it does to files that are one tree: they stay whole. */
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { mountStateDisk } from '../helpers/disk.ts';
import { type Fault, KILLS, killBefore, runWithFault } from '../helpers/faults.ts';
import { Host } from '../helpers/host.ts';
import { MANY_POINTS } from '../helpers/recovery.ts';
import type { Snapshot } from '../helpers/snapshot.ts';

interface Case {
  readonly words: readonly string[];
  /** What the container's file may say afterwards; without any there is no container before. */
  readonly contents: readonly string[];
}

const CASES: readonly Case[] = [
  { words: ['create', 'f1', '--no-network'], contents: [] },
  { words: ['snapshot', 'create', 'f1', 'b'], contents: ['two'] },
  { words: ['snapshot', 'rollback', '-t', '0', 'f1', 'a'], contents: ['two', 'one'] },
  { words: ['clone', 'f1', 'f2'], contents: ['two'] },
  { words: ['rebase', 'f1', 'base', '--keep-changes'], contents: ['two'] },
  { words: ['commit', 'f1', 'lab:1'], contents: ['two'] },
  { words: ['rm', '-f', 'f1'], contents: ['two'] },
];

// What is one tree is one for both drivers: each is killed in another way.
describe.each([
  { driver: 'btrfs', disk: 'btrfs', fault: KILLS[0] as Fault },
  { driver: 'copy', disk: 'ext4', fault: KILLS[1] as Fault },
] as const)('$driver', ({ driver, disk, fault }) => {
  let host: Host;
  let clean: Snapshot;
  const list = (dir: string) => host.run(['ls', '-A', join(host.root, dir)]).stdout;
  const must = (...words: string[]) => {
    const result = host.minict(...words);
    expect(result, words.join(' ')).toMatchObject({ status: 0 });
    return result.stdout;
  };

  beforeAll(async () => {
    host = await Host.create();
    mountStateDisk(host, disk, 256);
    must('create', 'keep', '--no-network', '--storage', driver);
  });
  beforeEach(() => {
    clean = host.snapshot();
  });
  afterAll(() => host.destroy());

  const prepare = ({ contents }: Case) => {
    // The next create makes the image's tree again, where there is one.
    const trees = join(host.root, 'images/trees');
    host.run(['sh', '-c', 'for tree in "$0"/*; do btrfs subvolume delete "$tree"; done', trees]);
    if (contents.length === 0) return;
    must('create', 'f1', '--no-network', '--storage', driver);
    must('exec', 'f1', 'sh', '-c', 'echo one >/file');
    must('snapshot', 'create', 'f1', 'a');
    must('exec', 'f1', 'sh', '-c', 'echo two >/file');
  };
  const expectWhole = async ({ words, contents }: Case, point: string) => {
    must('ps', '-a');
    const again = host.minict(...words, ...(words[0] === 'create' ? ['--storage', driver] : []));
    expect(again.stderr, point).toMatch(
      /^$|there is one of that name|no such container|a container (f2|of that name) is there|snapshot before-/,
    );
    if (words[0] !== 'rm') {
      must('start', 'f1');
      const file = contents.length === 0 ? 'none' : must('exec', 'f1', 'cat', '/file').trim();
      expect(contents.length === 0 ? ['none'] : contents, point).toContain(file);
      if (words[0] === 'clone') expect(must('exec', 'f2', 'cat', '/file'), point).toBe('two\n');
      if (words[0] === 'commit') {
        expect(must('run', '--rm', 'f3', '--image', 'lab:1', '--', 'cat', '/file'), point).toBe('two\n');
        must('image', 'rm', 'lab:1');
        // The one whose name the second commit took.
        must('image', 'prune');
      }
      must('rm', '-f', 'f1', ...(words[0] === 'clone' ? ['f2'] : []));
    }
    must('system', 'prune');
    expect([list('layers'), list('.trash'), list('containers')], point).toEqual(['', '', 'keep\n']);
    must('create', 'f4', '--no-network', '--storage', driver);
    must('rm', 'f4');
    expect(await host.settled(clean), point).toEqual(clean);
  };

  test.each(CASES)('$words', MANY_POINTS, async (each) => {
    const words = [...each.words, ...(each.words[0] === 'create' ? ['--storage', driver] : [])];
    let points = 0;
    for (let k = 1; ; k += 1) {
      prepare(each);
      const { tool } = runWithFault(host, words, fault, k);
      await expectWhole(each, `${tool} (${k}) ${fault}`);
      if (tool === undefined) break;
      points += 1;
    }
    for (let k = 1; ; k += 1) {
      prepare(each);
      const killed = killBefore(host, words, 'rename', k);
      await expectWhole(each, `rename (${k})`);
      if (!killed) break;
      points += 1;
    }
    expect(points).toBeGreaterThanOrEqual(3);
  });
});
