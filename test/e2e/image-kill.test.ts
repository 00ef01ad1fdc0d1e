/** minict is killed at each host command, before each change of its own, and at any time, of every verb that changes images. */
import { describe, expect, test } from 'vitest';
import { CHANGING_CALLS, KILLS, killBefore, runWithFault } from '../helpers/faults.ts';
import { MINICT } from '../helpers/host.ts';
import { IMAGE_VERBS, useImageLab } from '../helpers/image-verbs.ts';
import { storeFiles } from '../helpers/images.ts';
import { MANY_POINTS } from '../helpers/recovery.ts';

const now = useImageLab();

describe.each(IMAGE_VERBS)('%s', (title) => {
  test.each(KILLS)('a host command %s', MANY_POINTS, (fault) => {
    const verb = now.lab.verb(title);
    const before = storeFiles(now.host);
    let points = 0;
    for (;;) {
      const { tool } = runWithFault(now.host, verb.words, fault, points + 1);
      now.lab.expectRecovery(verb, before, `${tool} (${points + 1})`);
      if (tool === undefined) break;
      points += 1;
    }
    expect(points).toBeGreaterThanOrEqual(verb.commands);
  });

  test('a change of its own', MANY_POINTS, () => {
    const verb = now.lab.verb(title);
    const before = storeFiles(now.host);
    let points = 0;
    for (const call of CHANGING_CALLS) {
      for (let k = 1; ; k += 1) {
        const killed = killBefore(now.host, verb.words, call, k);
        now.lab.expectRecovery(verb, before, `${call} (${k})`);
        if (!killed) break;
        points += 1;
      }
    }
    expect(points).toBeGreaterThanOrEqual(verb.changes);
  });

  test('at some time', MANY_POINTS, async () => {
    const verb = now.lab.verb(title);
    const before = storeFiles(now.host);
    for (let round = 1; round <= 5; round += 1) {
      const delayMs = Math.random() * 250;
      const child = now.host.spawn([MINICT, ...verb.words]);
      await Bun.sleep(delayMs);
      child.kill('SIGKILL');
      // Its tools go on, and end with what they have to do.
      await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
      now.lab.expectRecovery(verb, before, `after ${delayMs} ms`);
    }
  });
});
