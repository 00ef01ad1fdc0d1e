/** `link` and `link rm`, killed at each of their commands: the user's way on is `link rm`, and then both are as before. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectCreated } from '../helpers/expect.ts';
import { FAILURES, type Fault, KILLS, runWithFault } from '../helpers/faults.ts';
import { Host } from '../helpers/host.ts';
import { readIp } from '../helpers/links.ts';
import { MANY_POINTS } from '../helpers/recovery.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
  for (const name of ['a', 'b']) expectCreated(host, name, '--no-network');
});
afterAll(() => host.destroy());

const LINK = ['link', 'a:eth3,ip=10.0.13.1/30', 'b:eth4,ip=10.0.13.2/30'];
const does = (...words: string[]) => expect(host.minict(...words)).toMatchObject({ status: 0, stderr: '' });
const has = (name: string, nic: string) =>
  (JSON.parse(host.minict('inspect', name).stdout) as [{ nics: { name: string }[] }])[0].nics.some(
    (each) => each.name === nic,
  );
const links = (...words: string[]) => readIp(host, ...words, 'link').map(({ ifname }) => ifname);

function expectBefore(point: string): void {
  if (has('a', 'eth3')) does('link', 'rm', 'a:eth3');
  if (has('b', 'eth4')) does('link', 'rm', 'b:eth4');
  does('start', 'a', 'b');
  for (const name of ['a', 'b']) expect(links('-n', name), point).toEqual(['lo']);
  expect(links(), point).toEqual(['lo']);
  expect(host.minict('ps', '-a').stdout, point).not.toContain('broken');
  expect(host.minict(...LINK), point).toMatchObject({ status: 0, stderr: '' });
  expect(host.minict('exec', 'a', 'ping', '-c1', '-W5', '10.0.13.2').status, point).toBe(0);
}

/** Returns how many points there were. */
function atEachCommand(words: readonly string[], fault: Fault): number {
  for (let points = 0; ; points += 1) {
    const { tool, status } = runWithFault(host, words, fault, points + 1);
    if (tool === undefined) return points;
    // One that fails at the first end, or takes the first back, has no end left.
    if (FAILURES.includes(fault) && words === LINK && status !== 0)
      expect(has('b', 'eth4'), String(points)).toBe(false);
    expectBefore(`${tool} (${points + 1})`);
    if (words === LINK) does('link', 'rm', 'a:eth3');
  }
}

describe.each([...KILLS, ...FAILURES])('a command %s', (fault) => {
  test('link', MANY_POINTS, () => {
    expect(atEachCommand(LINK, fault)).toBeGreaterThanOrEqual(6);
  });
  test('link rm', MANY_POINTS, () => {
    expect(atEachCommand(['link', 'rm', 'a:eth3'], fault)).toBeGreaterThanOrEqual(4);
  });
});
