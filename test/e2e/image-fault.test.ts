/** Each host command of each verb that changes images fails, before or after it did its work: one clear error, nothing left. */
import { describe, expect, test } from 'vitest';
import { FAILURES, runWithFault } from '../helpers/faults.ts';
import { IMAGE_VERBS, useImageLab } from '../helpers/image-verbs.ts';
import { imageNames, storeFiles } from '../helpers/images.ts';
import { MANY_POINTS } from '../helpers/recovery.ts';

const now = useImageLab();

describe.each(IMAGE_VERBS)('%s', (title) => {
  test.each(FAILURES)('a host command %s', MANY_POINTS, (fault) => {
    const verb = now.lab.verb(title);
    const before = storeFiles(now.host);
    const names = imageNames(now.host);
    let points = 0;
    for (;;) {
      const { tool, status, stderr } = runWithFault(now.host, verb.words, fault, points + 1);
      const point = `${tool} (${points + 1}): ${stderr}`;
      if (status !== 0) {
        expect(status, point).toBe(125);
        expect(stderr, point).toMatch(/^minict: cannot .*\n(hint: .*\n)?$/);
        // What could not be removed is there until the next prune; an image's name goes first.
        if (tool !== 'rm') expect(storeFiles(now.host), point).toEqual(before);
        if (!verb.removes && tool !== 'rm') expect(imageNames(now.host), point).toEqual(names);
      }
      now.lab.expectRecovery(verb, before, point);
      if (tool === undefined) break;
      points += 1;
    }
    expect(points).toBeGreaterThanOrEqual(verb.commands);
  });
});
