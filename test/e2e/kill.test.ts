/** minict is killed at each host command of each verb, alone or together with it. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { KILLS } from '../helpers/faults.ts';
import { Host } from '../helpers/host.ts';
import { killAtCommands, MANY_POINTS } from '../helpers/recovery.ts';
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
  test.each(KILLS)('a host command %s', MANY_POINTS, async (fault) => {
    expect(await killAtCommands(host, verb, clean, fault)).toBeGreaterThanOrEqual(verb.commands);
  });
});
