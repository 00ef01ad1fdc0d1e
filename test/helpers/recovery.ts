/** The way on for who finds that a verb was killed: ps, the same again, start or create, exec, rm; then nothing is left. */
import { expect } from 'vitest';
import type { Host } from './host.ts';
import type { Snapshot } from './snapshot.ts';
import { isThere, type Verb, wordsFor } from './verbs.ts';

/** What the verb may say where the killed one came so far that there is nothing to do. */
const NOTHING_TO_DO = /^minict: cannot .*(a container of that name is there|no such container)\n(hint: .*\n)?$/;

/** `clean` is the host without the container; `point` says where the verb was killed. */
export async function expectRecovery(host: Host, verb: Verb, clean: Snapshot, point: string): Promise<void> {
  expect(host.minict('ps', '-a'), point).toMatchObject({ status: 0, stderr: '' });
  const again = host.minict(...wordsFor(host, verb.words));
  if (again.status === 0) expect(again.stderr, point).toBe('');
  else expect(again.stderr, point).toMatch(NOTHING_TO_DO);
  const next = isThere(host) ? ['start', 'f1'] : ['create', 'f1', ...wordsFor(host, verb.options)];
  expect(host.minict(...next), point).toEqual({ status: 0, stdout: 'f1\n', stderr: '' });
  expect(host.minict('exec', 'f1', 'hostname'), point).toEqual({ status: 0, stdout: 'f1\n', stderr: '' });
  expect(host.minict('rm', '-f', 'f1'), point).toEqual({ status: 0, stdout: 'f1\n', stderr: '' });
  expect(await host.settled(clean), point).toEqual(clean);
}
