/** `network tap` and `network tap rm`, killed or failing at each of their commands: the same again, and nothing is left. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FAILURES, type Fault, KILLS, runWithFault } from '../helpers/faults.ts';
import { Host } from '../helpers/host.ts';
import { readIp } from '../helpers/links.ts';
import { MANY_POINTS } from '../helpers/recovery.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
  expect(host.minict('network', 'create', 'lan').status).toBe(0);
});
afterAll(() => host.destroy());

const TAP = ['network', 'tap', 'lan', 'vm0'];
const TAP_RM = ['network', 'tap', 'rm', 'vm0'];
const isThere = () => readIp(host, 'link').some(({ ifname, master }) => ifname === 'vm0' && master === 'lan');

function expectSame(words: readonly string[], done: RegExp, point: string): void {
  const again = host.minict(...words);
  if (again.status !== 0) expect(again.stderr, point).toMatch(done);
}

function atEachCommand(words: readonly string[], fault: Fault): number {
  for (let points = 0; ; points += 1) {
    if (words === TAP_RM) expectSame(TAP, /network lan has it/, String(points));
    const { tool } = runWithFault(host, words, fault, points + 1);
    const point = `${words.join(' ')}: ${tool} (${points + 1})`;
    if (words === TAP) {
      if (tool !== undefined) expectSame(TAP, /network lan has it/, point);
      expect(isThere(), point).toBe(true);
    }
    expectSame(TAP_RM, /no network has one of that name/, point);
    expect(
      readIp(host, 'link').map(({ ifname }) => ifname),
      point,
    ).toEqual(['lo', 'lan']);
    expect(host.minict('network', 'inspect', 'lan').stdout, point).not.toContain('vm0');
    if (tool === undefined) return points;
  }
}

test.each([...KILLS, ...FAILURES])('a command %s', MANY_POINTS, (fault) => {
  expect(atEachCommand(TAP, fault)).toBeGreaterThanOrEqual(1);
  expect(atEachCommand(TAP_RM, fault)).toBeGreaterThanOrEqual(1);
});
