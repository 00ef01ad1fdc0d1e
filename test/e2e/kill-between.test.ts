/** minict is killed before each change that it makes itself: every state between two of them is one to recover from. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { Host } from '../helpers/host.ts';
import { killBetween, MANY_POINTS } from '../helpers/recovery.ts';
import type { Snapshot } from '../helpers/snapshot.ts';
import { CREATE_RM, RM_TWICE, RUN_RM, START, STOP, STOP_START } from '../helpers/verbs.ts';

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

test.each([CREATE_RM, START, STOP, STOP_START, RM_TWICE, RUN_RM])('$title', MANY_POINTS, async (verb) => {
  expect(await killBetween(host, verb, clean)).toBeGreaterThanOrEqual(verb.changes);
});
