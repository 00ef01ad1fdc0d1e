/** Each host command of each verb fails, before or after it did its work: one clear error, and the way back. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { FAILURES } from '../helpers/faults.ts';
import { Host } from '../helpers/host.ts';
import { failAtCommands, MANY_POINTS } from '../helpers/recovery.ts';
import type { Snapshot } from '../helpers/snapshot.ts';
import { CHANGING_VERBS } from '../helpers/verbs.ts';

let host: Host;
let clean: Snapshot;
beforeAll(async () => {
  host = await Host.create();
  host.minict('create', 'keep');
});
beforeEach(() => {
  clean = host.snapshot();
});
afterEach(async () => {
  host.minict('rm', '-f', 'f1');
  await host.linksGone(/f1-eth0/);
});
afterAll(() => host.destroy());

describe.each(CHANGING_VERBS)('$title', (verb) => {
  test.each(FAILURES)('a host command %s', MANY_POINTS, async (fault) => {
    expect(await failAtCommands(host, verb, clean, fault)).toBeGreaterThanOrEqual(verb.commands);
  });
});
