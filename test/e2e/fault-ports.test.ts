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

  test('minict is killed before each change that it makes itself', MANY_POINTS, async () => {
    expect(await killBetween(faulty.host, verb, faulty.clean)).toBeGreaterThanOrEqual(verb.changes);
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
