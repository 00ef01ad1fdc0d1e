/**
 * A fault at every point of a verb, one after the other until it comes to its end without, and what has to hold after each.
 * `clean` is the host without the container. All return how many points there were.
 */
import { expect } from 'vitest';
import { CHANGING_CALLS, type Fault, type Faulty, killBefore, runWithFault } from './faults.ts';
import type { Host, Result } from './host.ts';
import type { Snapshot } from './snapshot.ts';
import { isThere, prepare, said, type Verb, wordsFor } from './verbs.ts';

/** For a test with many points, on a machine that is busy. */
export const MANY_POINTS = { timeout: 900_000 };

/** What a verb may say where the killed one came so far that there is nothing to do. */
const NOTHING_TO_DO =
  /^minict: cannot .*(a container of that name is there|no such container|it is there already|no such network)\n(hint: .*\n)?$/;

/** Tools that only look for firewall rules to warn of. */
const MAY_FAIL = ['nft'];

async function expectNothingLeft(host: Host, verb: Verb, clean: Snapshot, point: string): Promise<void> {
  for (const words of verb.after ?? []) expect(host.minict(...words), point).toMatchObject({ status: 0, stderr: '' });
  expect(await host.settled(clean), point).toEqual(clean);
}

/** The way on for who finds that a verb was killed: ps, the same again mostly, start or create, exec, rm. */
async function expectRecovery(host: Host, verb: Verb, clean: Snapshot, point: string): Promise<void> {
  expect(host.minict('ps', '-a'), point).toMatchObject({ status: 0, stderr: '' });
  const again = host.minict(...wordsFor(host, verb.next ?? verb.words));
  if (again.status === 0) expect(again.stderr, point).toBe(said(verb, verb.next ?? verb.words));
  else expect(again.stderr, point).toMatch(NOTHING_TO_DO);
  if (verb.ends) return expectNothingLeft(host, verb, clean, point);
  const next = isThere(host) ? ['start', 'f1'] : ['create', 'f1', ...wordsFor(host, verb.options)];
  expect(host.minict(...next), point).toEqual({ status: 0, stdout: 'f1\n', stderr: said(verb, next) });
  expect(host.minict('exec', 'f1', 'hostname'), point).toEqual({ status: 0, stdout: 'f1\n', stderr: '' });
  expect(host.minict('rm', '-f', 'f1'), point).toEqual({ status: 0, stdout: 'f1\n', stderr: '' });
  await expectNothingLeft(host, verb, clean, point);
}

export async function killAtCommands(host: Host, verb: Verb, clean: Snapshot, fault: Fault): Promise<number> {
  for (let points = 0; ; points += 1) {
    prepare(host, verb);
    const { tool } = runWithFault(host, wordsFor(host, verb.words), fault, points + 1);
    await expectRecovery(host, verb, clean, `${tool} (${points + 1})`);
    if (tool === undefined) return points;
  }
}

/** Where another verb goes the same way every second change will do, from the `first` of a kind on. */
export async function killBetween(host: Host, verb: Verb, clean: Snapshot, first?: 1 | 2): Promise<number> {
  let points = 0;
  for (const call of CHANGING_CALLS) {
    for (let k = first ?? 1; ; k += first === undefined ? 1 : 2) {
      prepare(host, verb);
      const killed = killBefore(host, wordsFor(host, verb.words), call, k);
      await expectRecovery(host, verb, clean, `${call} (${k})`);
      if (!killed) break;
      points += 1;
    }
  }
  return points;
}

function expectOneClearError({ status, stderr }: Result, point: string): void {
  expect(status, point).toBe(125);
  expect(stderr, point).toMatch(/^minict: cannot .*: .*injected.*\n(hint: .*\n)?$/);
}

/** A failure is told; what is atomic is as before at once, and the rest goes on as its user would. */
async function expectFailure(host: Host, verb: Verb, before: Snapshot, result: Faulty, point: string): Promise<void> {
  if (result.status === 0) {
    // What has done its work may have failed, where all that counts is that something is gone.
    expect(result.tool === undefined || MAY_FAIL.includes(result.tool) || !verb.atomic, point).toBe(true);
    expect(result.stderr, point).toBe(said(verb, verb.words));
  } else {
    expect(result.tool, point).toBeDefined();
    expectOneClearError(result, point);
    if (verb.atomic) expect(await host.settled(before), point).toEqual(before);
  }
  if (isThere(host)) {
    expect(host.minict('start', 'f1'), point).toMatchObject({ status: 0, stderr: '' });
    expect(host.minict('exec', 'f1', 'hostname').stdout, point).toBe('f1\n');
    expect(host.minict('rm', '-f', 'f1'), point).toMatchObject({ status: 0, stderr: '' });
  } else if (result.status !== 0) {
    // What an rm that failed half-way left is removed by the next one.
    const rest = host.minict('rm', 'f1');
    if (verb.words[0] === 'rm') expect(rest, point).toEqual({ status: 0, stdout: 'f1\n', stderr: '' });
  }
}

export async function failAtCommands(host: Host, verb: Verb, clean: Snapshot, fault: Fault): Promise<number> {
  for (let points = 0; ; points += 1) {
    prepare(host, verb);
    const before = host.snapshot();
    const result = runWithFault(host, wordsFor(host, verb.words), fault, points + 1);
    const point = `${result.tool} (${points + 1}): ${result.stderr}`;
    await expectFailure(host, verb, before, result, point);
    await expectNothingLeft(host, verb, clean, point);
    if (result.tool === undefined) return points;
  }
}
