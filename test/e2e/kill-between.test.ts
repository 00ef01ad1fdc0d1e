/** minict is killed before each change that it makes itself: every state between two of them is one to recover from. */
import { expect, test } from 'vitest';
import { useFaultHost } from '../helpers/fault-host.ts';
import { killBetween, MANY_POINTS } from '../helpers/recovery.ts';
import { CREATE_RM, CREATE_VOLUMES, RM_TWICE, RUN_RM, START, STOP, STOP_START } from '../helpers/verbs.ts';

const faulty = useFaultHost();

test.each([CREATE_RM, START, STOP, STOP_START, RM_TWICE, RUN_RM, CREATE_VOLUMES])(
  '$title',
  MANY_POINTS,
  async (verb) => {
    expect(await killBetween(faulty.host, verb, faulty.clean)).toBeGreaterThanOrEqual(verb.changes);
  },
);
