/** minict is killed at each host command, and before each change of its own, of every verb that changes images. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHANGING_CALLS, KILLS, killBefore, runWithFault } from '../helpers/faults.ts';
import { Host } from '../helpers/host.ts';
import { ImageLab } from '../helpers/image-verbs.ts';
import { storeFiles } from '../helpers/images.ts';
import { MANY_POINTS } from '../helpers/recovery.ts';

let host: Host;
let lab: ImageLab;
beforeAll(async () => {
  host = await Host.create();
  lab = await ImageLab.create(host);
});
afterAll(async () => {
  await lab?.registry.stop();
  await host.destroy();
});

const TITLES = ['pull', 'import', 'import of a folder', 'load', 'push', 'save', 'rm'];

describe.each(TITLES)('%s', (title) => {
  const verbOf = () => lab.verbs.find((verb) => verb.title === title) as ImageLab['verbs'][number];

  test.each(KILLS)('a host command %s', MANY_POINTS, (fault) => {
    const verb = verbOf();
    const before = storeFiles(host);
    let points = 0;
    for (;;) {
      const { tool } = runWithFault(host, verb.words, fault, points + 1);
      lab.expectRecovery(verb, before, `${tool} (${points + 1})`);
      if (tool === undefined) break;
      points += 1;
    }
    expect(points).toBeGreaterThanOrEqual(verb.commands);
  });

  test('a change of its own', MANY_POINTS, () => {
    const verb = verbOf();
    const before = storeFiles(host);
    let points = 0;
    for (const call of CHANGING_CALLS) {
      for (let k = 1; ; k += 1) {
        const killed = killBefore(host, verb.words, call, k);
        lab.expectRecovery(verb, before, `${call} (${k})`);
        if (!killed) break;
        points += 1;
      }
    }
    expect(points).toBeGreaterThanOrEqual(verb.changes);
  });
});
