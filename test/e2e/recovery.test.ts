/** What somebody removed by hand, or a reboot took away: ps says so, start repairs, rm removes. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Host } from '../helpers/host.ts';

describe('removed by hand', () => {
  let host: Host;
  beforeAll(async () => {
    host = await Host.create();
    host.minict('create', 'keep');
  });
  afterAll(() => host.destroy());

  test('a veth or a namespace file removed by hand: ps says broken, start repairs', () => {
    host.run(['ip', 'link', 'del', 'keep-eth0']);
    expect(host.minict('ps').stdout).toMatch(/keep +broken .*keep-eth0/);
    expect(host.minict('start', 'keep').status).toBe(0);
    expect(host.minict('ps').stdout).toMatch(/keep +ready/);
    host.run(['umount', '/run/utsns/keep']);
    expect(host.minict('ps').stdout).toMatch(/keep +broken/);
    expect(host.minict('start', 'keep').status).toBe(0);
    expect(host.minict('exec', 'keep', 'hostname').stdout).toBe('keep\n');
  });
});
