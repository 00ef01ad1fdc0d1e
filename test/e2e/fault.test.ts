/** Each host command of each verb fails, before or after it did its work: one clear error, and the way back. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Fault, runWithFault } from '../helpers/faults.ts';
import { Host, type Result } from '../helpers/host.ts';
import type { Snapshot } from '../helpers/snapshot.ts';
import { CHANGING_VERBS, isThere, prepare, wordsFor } from '../helpers/verbs.ts';

const FAULTS: readonly Fault[] = ['fails before it does anything', 'fails when it has done its work'];

/** Tools that only look for firewall rules to warn of. */
const MAY_FAIL = ['nft'];

let host: Host;
let clean: Snapshot;
beforeAll(async () => {
  host = await Host.create();
  host.minict('create', 'keep');
});
beforeEach(() => {
  clean = host.snapshot();
});
afterEach(() => void host.minict('rm', '-f', 'f1'));
afterAll(() => host.destroy());

function expectOneClearError({ status, stderr }: Result, point: string): void {
  expect(status, point).toBe(125);
  expect(stderr, point).toMatch(/^minict: cannot .*: .*injected.*\n(hint: .*\n)?$/);
}

describe.each(CHANGING_VERBS)('$title', (verb) => {
  test.each(FAULTS)('a host command %s', async (fault) => {
    let points = 0;
    for (;;) {
      prepare(host, verb);
      const before = host.snapshot();
      const result = runWithFault(host, wordsFor(host, verb.words), fault, points + 1);
      const { tool } = result;
      const point = `${tool} (${points + 1}): ${result.stderr}`;
      if (result.status === 0) {
        // What has done its work may have failed, where all that counts is that something is gone.
        expect(tool === undefined || MAY_FAIL.includes(tool) || !verb.atomic, point).toBe(true);
        expect(result.stderr).toBe('');
      } else {
        expect(tool, point).toBeDefined();
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
        if (verb.before.length > 0) expect(rest, point).toEqual({ status: 0, stdout: 'f1\n', stderr: '' });
      }
      expect(await host.settled(clean), point).toEqual(clean);
      if (tool === undefined) break;
      points += 1;
    }
    expect(points).toBeGreaterThanOrEqual(verb.commands);
  });
});
