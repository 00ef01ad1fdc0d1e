/** Published ports: each host command fails or is killed, and minict itself is killed before each change that it makes. */
import { describe, expect, test } from 'vitest';
import { useFaultHost } from '../helpers/fault-host.ts';
import { FAILURES, KILLS, runWithFault } from '../helpers/faults.ts';
import { failAtCommands, killAtCommands, killBetween, MANY_POINTS } from '../helpers/recovery.ts';
import { PUBLISHING_VERBS } from '../helpers/verbs.ts';

const faulty = useFaultHost();

describe.each(PUBLISHING_VERBS)('$title', (verb) => {
  test.each(FAILURES)('a host command %s', MANY_POINTS, async (fault) => {
    expect(await failAtCommands(faulty.host, verb, faulty.clean, fault)).toBeGreaterThanOrEqual(verb.commands);
  });

  test.each(KILLS)('a host command %s', MANY_POINTS, async (fault) => {
    expect(await killAtCommands(faulty.host, verb, faulty.clean, fault)).toBeGreaterThanOrEqual(verb.commands);
  });

  // All of them without ports: kill-between.test.ts.
  test('minict is killed before every second change that it makes itself', MANY_POINTS, async () => {
    expect(await killBetween(faulty.host, verb, faulty.clean, 1)).toBeGreaterThanOrEqual(verb.changes / 2);
  });
});

const CREATE = ['network', 'create', 'lan', '--nat', '--subnet', '10.1.0.0/24'];

describe('a network with NAT', () => {
  test.each(FAILURES)('is not made at all where a host command %s', MANY_POINTS, async (fault) => {
    const { host, clean } = faulty;
    for (let k = 1; ; k += 1) {
      const { tool, status, stderr } = runWithFault(host, CREATE, fault, k);
      if (tool === undefined) break;
      if (tool === 'nft' || status !== 0) {
        expect(stderr, `${tool} (${k})`).toMatch(/^minict: cannot .*injected.*\n$/);
        expect(host.snapshot(), `${tool} (${k})`).toEqual(clean);
      } else host.minict('network', 'rm', 'lan');
    }
    expect(host.minict('network', 'rm', 'lan').status).toBe(0);
    expect(host.snapshot()).toEqual(clean);
  });

  test.each(KILLS)('is used or removed where a host command %s', MANY_POINTS, async (fault) => {
    const { host, clean } = faulty;
    for (let k = 1; ; k += 1) {
      const { tool } = runWithFault(host, CREATE, fault, k);
      const point = `${tool} (${k})`;
      host.minict(...CREATE);
      expect(host.minict('create', 'f1', '--network', 'lan'), point).toMatchObject({ status: 0, stderr: '' });
      expect(host.snapshot().firewall.join('\n'), point).toContain('10.1.0.0/24');
      expect(host.minict('rm', 'f1').status, point).toBe(0);
      // Killed again, on the way back.
      runWithFault(host, ['network', 'rm', 'lan'], fault, k);
      host.minict('network', 'rm', 'lan');
      host.minict('system', 'prune');
      expect(await host.settled(clean), point).toEqual(clean);
      if (tool === undefined) break;
    }
  });
});

test.each([...FAILURES, ...KILLS])('network reload, where a host command %s, and again', MANY_POINTS, async (fault) => {
  const { host, clean } = faulty;
  expect(host.minict(...CREATE).status).toBe(0);
  expect(host.minict('create', 'f1', '--network', 'lan', '-p', '0.0.0.0:8080:80').status).toBe(0);
  const whole = host.snapshot();
  for (let k = 1; ; k += 1) {
    const taken = 'nft flush ruleset; ip link set f1-eth0 nomaster; ip addr flush dev lan';
    expect(host.run(['sh', '-c', taken]).status).toBe(0);
    const { tool } = runWithFault(host, ['network', 'reload'], fault, k);
    expect(host.minict('network', 'reload'), `${tool} (${k})`).toMatchObject({ status: 0, stderr: '' });
    expect(host.minict('start', 'f1'), `${tool} (${k})`).toMatchObject({ status: 0, stderr: '' });
    expect(host.snapshot(), `${tool} (${k})`).toEqual(whole);
    if (tool === undefined) break;
  }
  expect(host.minict('rm', 'f1').status).toBe(0);
  expect(host.minict('network', 'rm', 'lan').status).toBe(0);
  expect(await host.settled(clean)).toEqual(clean);
});
