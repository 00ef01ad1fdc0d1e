/** A fault at each point of the verbs of networks: a host command fails, or minict is killed, at one or between two. */
import { describe, expect, test } from 'vitest';
import { useFaultHost } from '../helpers/fault-host.ts';
import { FAILURES, KILLS } from '../helpers/faults.ts';
import { NETWORK_VERBS } from '../helpers/network-verbs.ts';
import { failAtCommands, killAtCommands, killBetween, MANY_POINTS } from '../helpers/recovery.ts';

const faulty = useFaultHost();

describe.each(NETWORK_VERBS)('$title', (verb) => {
  test.each(FAILURES)('a host command %s', MANY_POINTS, async (fault) => {
    expect(await failAtCommands(faulty.host, verb, faulty.clean, fault)).toBeGreaterThanOrEqual(verb.commands);
  });
  test.each(KILLS)('a host command %s', MANY_POINTS, async (fault) => {
    expect(await killAtCommands(faulty.host, verb, faulty.clean, fault)).toBeGreaterThanOrEqual(verb.commands);
  });
  test('killed before each change of its own', MANY_POINTS, async () => {
    expect(await killBetween(faulty.host, verb, faulty.clean)).toBeGreaterThanOrEqual(verb.changes);
  });
});
