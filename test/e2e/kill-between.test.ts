/** minict is killed before each change that it makes itself: every state between two of them is one to recover from. */
import { expect, test } from 'vitest';
import { useFaultHost } from '../helpers/fault-host.ts';
import { killBetween, MANY_POINTS } from '../helpers/recovery.ts';
import { CREATE_RM, CREATE_VOLUMES, RM_TWICE, RUN_RM, START, STOP, STOP_START } from '../helpers/verbs.ts';

const faulty = useFaultHost();

test.each([CREATE_RM, STOP, RM_TWICE])('$title', MANY_POINTS, async (verb) => {
  expect(await killBetween(faulty.host, verb, faulty.clean)).toBeGreaterThanOrEqual(verb.changes);
});

// What these do is in part what those do.
test.each([
  { ...START, first: 1 as const },
  { ...STOP_START, first: 1 as const },
  { ...RUN_RM, first: 1 as const },
  { ...CREATE_VOLUMES, first: 2 as const },
])('$title, before every second one', MANY_POINTS, async ({ first, ...verb }) => {
  expect(await killBetween(faulty.host, verb, faulty.clean, first)).toBeGreaterThanOrEqual(
    first === 1 ? verb.changes / 2 : verb.changes / 3,
  );
});
