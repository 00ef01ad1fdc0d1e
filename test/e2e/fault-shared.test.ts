/** What all containers share is made by the first create and removed by prune: both fail, or are killed, at every point. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { FAILURES, KILLS } from '../helpers/faults.ts';
import { Host } from '../helpers/host.ts';
import { failAtCommands, killAtCommands, killBetween, MANY_POINTS } from '../helpers/recovery.ts';
import type { Snapshot } from '../helpers/snapshot.ts';
import { SHARED_VERBS } from '../helpers/verbs.ts';

let host: Host;
let clean: Snapshot;
beforeAll(async () => {
  host = await Host.create();
  host.minict('create', 'f1');
});
beforeEach(async () => {
  host.minict('rm', '-f', 'f1');
  await host.linksGone(/f1-eth0/);
  host.minict('system', 'prune');
  clean = host.snapshot();
});
afterAll(() => host.destroy());

describe.each(SHARED_VERBS)('$title', (verb) => {
  test.each(FAILURES)('a host command %s', MANY_POINTS, async (fault) => {
    expect(await failAtCommands(host, verb, clean, fault)).toBeGreaterThanOrEqual(verb.commands);
  });

  test.each(KILLS)('a host command %s', MANY_POINTS, async (fault) => {
    expect(await killAtCommands(host, verb, clean, fault)).toBeGreaterThanOrEqual(verb.commands);
  });

  test('minict is killed before each change that it makes itself', MANY_POINTS, async () => {
    expect(await killBetween(host, verb, clean)).toBeGreaterThanOrEqual(verb.changes);
  });
});
