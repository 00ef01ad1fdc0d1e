/** minict is killed at each host command of each verb, alone or together with it. */
import { describe, expect, test } from 'vitest';
import { useFaultHost } from '../helpers/fault-host.ts';
import { KILLS } from '../helpers/faults.ts';
import { killAtCommands, MANY_POINTS } from '../helpers/recovery.ts';
import { CHANGING_VERBS } from '../helpers/verbs.ts';

const faulty = useFaultHost();

describe.each(CHANGING_VERBS)('$title', (verb) => {
  test.each(KILLS)('a host command %s', MANY_POINTS, async (fault) => {
    expect(await killAtCommands(faulty.host, verb, faulty.clean, fault)).toBeGreaterThanOrEqual(verb.commands);
  });
});
