/**
 * For every network driver a fault at each point of the verbs of networks: a host command fails, or minict is killed, at one or
 * between two. The next command recovers, and nothing is left. (Of the bridge: test/e2e/network-fault.test.ts.)
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { FAILURES, KILLS } from '../helpers/faults.ts';
import { Host } from '../helpers/host.ts';
import { NETWORK_DRIVERS } from '../helpers/network-drivers.ts';
import { networkVerbs } from '../helpers/network-verbs.ts';
import { failAtCommands, killAtCommands, killBetween, MANY_POINTS } from '../helpers/recovery.ts';

/** How a command fails, or is killed, is for the bridge to try in full: the others take turns. */
const OTHERS = NETWORK_DRIVERS.filter(({ title }) => title !== 'bridge').map((driver, index) => ({
  ...driver,
  kills: KILLS.slice(index % KILLS.length).slice(0, 1),
  failures: FAILURES.slice(index % FAILURES.length).slice(0, 1),
}));

describe.each(OTHERS)('$title', ({ prepare, end, options, rows, commands, kills, failures }) => {
  let host: Host;
  beforeAll(async () => {
    host = await Host.create();
    host.minict('create', 'keep');
    prepare(host);
  });
  // One that fails is not to take the next along.
  afterEach(() => {
    host.minict('rm', '-f', 'f1');
    host.minict('network', 'prune');
  });
  afterAll(async () => {
    await end?.(host);
    await host.destroy();
  });

  describe.each(networkVerbs(options, commands))('$title', (verb) => {
    test.each(kills)('a host command %s', MANY_POINTS, async (fault) => {
      const [clean, before] = [host.snapshot(), rows?.(host)];
      expect(await killAtCommands(host, verb, clean, fault)).toBeGreaterThanOrEqual(verb.commands);
      expect(rows?.(host)).toEqual(before);
    });
    test.each(failures)('a host command %s', MANY_POINTS, async (fault) => {
      const [clean, before] = [host.snapshot(), rows?.(host)];
      expect(await failAtCommands(host, verb, clean, fault)).toBeGreaterThanOrEqual(verb.commands);
      expect(rows?.(host)).toEqual(before);
    });
  });

  // Between two commands there is a state of its own only where a network takes several.
  if (commands < 2) return;
  const [create, , connect] = networkVerbs(options, commands);
  test.each([create, connect])('$title, killed before each change of its own', MANY_POINTS, async (verb) => {
    if (verb === undefined) throw new Error('no such verb');
    const [clean, before] = [host.snapshot(), rows?.(host)];
    // A network without addresses takes some fewer than the bridge.
    expect(await killBetween(host, verb, clean)).toBeGreaterThanOrEqual(verb.changes - 3);
    expect(rows?.(host)).toEqual(before);
  });
});
