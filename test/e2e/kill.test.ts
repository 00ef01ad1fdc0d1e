/** minict is killed at each host command of each verb, alone or together with it. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Fault, runWithFault } from '../helpers/faults.ts';
import { Host } from '../helpers/host.ts';
import { expectRecovery } from '../helpers/recovery.ts';
import type { Snapshot } from '../helpers/snapshot.ts';
import { CHANGING_VERBS, prepare, wordsFor } from '../helpers/verbs.ts';

const FAULTS: readonly Fault[] = ['goes on while minict is killed', 'is killed together with minict'];

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

describe.each(CHANGING_VERBS)('$title', (verb) => {
  test.each(FAULTS)('a host command %s', async (fault) => {
    let points = 0;
    for (;;) {
      prepare(host, verb);
      const { tool } = runWithFault(host, wordsFor(host, verb.words), fault, points + 1);
      await expectRecovery(host, verb, clean, `${tool} (${points + 1})`);
      if (tool === undefined) break;
      points += 1;
    }
    expect(points).toBeGreaterThanOrEqual(verb.commands);
  });
});
