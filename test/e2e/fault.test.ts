/** Each host command of each verb fails, before or after it did its work: one clear error, and the way back. */
import { describe, expect, test } from 'vitest';
import { useFaultHost } from '../helpers/fault-host.ts';
import { FAILURES } from '../helpers/faults.ts';
import { failAtCommands, MANY_POINTS } from '../helpers/recovery.ts';
import { CHANGING_VERBS } from '../helpers/verbs.ts';

const faulty = useFaultHost();

describe.each(CHANGING_VERBS)('$title', (verb) => {
  test.each(FAILURES)('a host command %s', MANY_POINTS, async (fault) => {
    expect(await failAtCommands(faulty.host, verb, faulty.clean, fault)).toBeGreaterThanOrEqual(verb.commands);
  });
});
