/** minict is killed before each change that it makes itself: every state between two of them is one to recover from. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { CHANGING_CALLS, killBefore } from '../helpers/faults.ts';
import { Host } from '../helpers/host.ts';
import { expectRecovery } from '../helpers/recovery.ts';
import type { Snapshot } from '../helpers/snapshot.ts';
import { CREATE, prepare, RM_FORCE, RUN_RM, START, STOP, wordsFor } from '../helpers/verbs.ts';

let host: Host;
let clean: Snapshot;
beforeAll(async () => {
  host = await Host.create();
  host.minict('create', 'keep');
});
beforeEach(() => {
  clean = host.snapshot();
});
afterEach(() => void host.minict('rm', '-f', 'f1'));
afterAll(() => host.destroy());

test.each([
  { verb: CREATE, calls: 25 },
  { verb: START, calls: 20 },
  { verb: STOP, calls: 8 },
  { verb: RM_FORCE, calls: 10 },
  { verb: RUN_RM, calls: 35 },
])('$verb.title', async ({ verb, calls }) => {
  let points = 0;
  for (const call of CHANGING_CALLS) {
    for (let k = 1; ; k += 1) {
      prepare(host, verb);
      const killed = killBefore(host, wordsFor(host, verb.words), call, k);
      await expectRecovery(host, verb, clean, `${call} (${k})`);
      if (!killed) break;
      points += 1;
    }
  }
  expect(points).toBeGreaterThanOrEqual(calls);
});
