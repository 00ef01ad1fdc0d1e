/** `link` and `link rm`, killed at each point: the next verb on either container finishes them, or takes them back. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectCreated } from '../helpers/expect.ts';
import { CHANGING_CALLS, FAILURES, type Fault, KILLS, killBefore, runWithFault } from '../helpers/faults.ts';
import { Host } from '../helpers/host.ts';
import { readIp } from '../helpers/links.ts';
import { MANY_POINTS } from '../helpers/recovery.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
  for (const name of ['a', 'b']) expectCreated(host, name, '--no-network');
  does('network', 'create', 'lan');
});
afterAll(() => host.destroy());

const LINK = ['link', 'a:eth3,ip=10.0.13.1/30', 'b:eth4,ip=10.0.13.2/30'];
const does = (...words: string[]) => expect(host.minict(...words)).toMatchObject({ status: 0, stderr: '' });
const has = (name: string, nic: string) =>
  (JSON.parse(host.minict('inspect', name).stdout) as [{ nics: { name: string }[] }])[0].nics.some(
    (each) => each.name === nic,
  );
const links = (...words: string[]) => readIp(host, ...words, 'link').map(({ ifname }) => ifname);

/** What the user may do next, who does not know that it was killed: on either container, or on none. */
const NEXT = [
  ['start', 'a'],
  ['start', 'b'],
  ['stop', '-t', '0', 'a'],
  ['stop', '-t', '0', 'b'],
  ['network', 'connect', 'lan', 'b', '--name', 'l0'],
  ['system', 'prune'],
];

/** Both ends or none, in the records and in the kernel; then none, and it can be made again. */
function expectWhole(next: readonly string[], point: string): void {
  does(...next);
  expect(has('a', 'eth3'), point).toBe(has('b', 'eth4'));
  expect(host.minict('ps', '-a').stdout, point).not.toContain('broken');
  expect(readdirSync(join(host.root, 'cables')), point).toEqual([]);
  does('start', 'a', 'b');
  const isThere = has('a', 'eth3');
  const own = next[0] === 'network' ? ['l0'] : [];
  expect(links('-n', 'a').sort(), point).toEqual(isThere ? ['eth3', 'lo'] : ['lo']);
  expect(links('-n', 'b').sort(), point).toEqual([...(isThere ? ['eth4'] : []), ...own, 'lo']);
  expect(
    links().filter((name) => !['lan', 'b-l0'].includes(name)),
    point,
  ).toEqual(['lo']);
  if (next[0] === 'network') does('network', 'disconnect', 'lan', 'b', '--name', 'l0');
  if (!isThere) expect(host.minict(...LINK), point).toMatchObject({ status: 0, stderr: '' });
  expect(host.minict('exec', 'a', 'ping', '-c1', '-W5', '10.0.13.2').status, point).toBe(0);
}

const LINK_RM = ['link', 'rm', 'a:eth3'];

/** Each point is followed by the next one of what the user may do. Returns how many points there were. */
function atEachPoint(words: readonly string[], meet: (point: number) => boolean): number {
  for (let points = 0; ; points += 1) {
    if (has('a', 'eth3') !== (words === LINK_RM)) does(...(words === LINK ? LINK_RM : LINK));
    if (!meet(points + 1)) return points;
    const next = NEXT[points % NEXT.length] as string[];
    expectWhole(next, `${words.join(' ')}, then ${next.join(' ')} (${points + 1})`);
  }
}

function atEachCommand(words: readonly string[], fault: Fault): number {
  return atEachPoint(words, (point) => {
    const { tool, status } = runWithFault(host, words, fault, point);
    // One that fails at the first end, or takes the first back, has no end left.
    const isFailure = FAILURES.includes(fault) && words === LINK && status !== 0;
    if (isFailure) expect(has('b', 'eth4') || has('a', 'eth3'), String(point)).toBe(false);
    return tool !== undefined;
  });
}

describe.each([...KILLS, ...FAILURES])('a command %s', (fault) => {
  test('link', MANY_POINTS, () => {
    expect(atEachCommand(LINK, fault)).toBeGreaterThanOrEqual(6);
  });
  test('link rm', MANY_POINTS, () => {
    expect(atEachCommand(LINK_RM, fault)).toBeGreaterThanOrEqual(4);
  });
});

test.each([
  ['link', LINK],
  ['link rm', LINK_RM],
] as const)('%s, killed before each change that minict makes itself', MANY_POINTS, (_, words) => {
  let points = 0;
  for (const call of CHANGING_CALLS) points += atEachPoint(words, (point) => killBefore(host, words, call, point));
  expect(points).toBeGreaterThanOrEqual(10);
});

test('the end of a killed cable goes with the other container, and a dry run of prune only names it', () => {
  if (has('a', 'eth3')) does(...LINK_RM);
  runWithFault(host, LINK, 'goes on while minict is killed', 4);
  const [cable] = readdirSync(join(host.root, 'cables'));
  expect(host.minict('system', 'prune', '--dry-run').stdout).toContain(`cable ${cable}\n`);
  expect([has('a', 'eth3'), has('b', 'eth4')]).toContain(true);
  does('rm', '-f', 'b');
  expect(has('a', 'eth3')).toBe(false);
  expect(links('-n', 'a')).toEqual(['lo']);
  expect(links()).not.toContain(cable);
});

test('it keeps nobody from a rename', () => {
  expectCreated(host, 'c', '--no-network');
  expectCreated(host, 'd', '--no-network');
  does('stop', '-t', '0', 'c', 'd');
  // At the last host command for the first one.
  runWithFault(host, ['link', 'c:eth0', 'd:eth0'], 'is killed together with minict', 7);
  expect(has('c', 'eth0')).toBe(true);
  does('rename', 'd', 'e');
  expect(has('c', 'eth0')).toBe(false);
  does('rm', 'c', 'e');
});
