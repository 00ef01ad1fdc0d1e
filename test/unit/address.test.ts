import { expect, test } from 'vitest';
import { contains, formatIpv4, formatSubnet, overlap, parseIpv4, parseSubnet } from '../../src/spec/address.ts';
import { hostLinkName, parseContainerName } from '../../src/spec/name.ts';

test('addresses and subnets', () => {
  expect(formatIpv4(parseIpv4('192.168.0.11'))).toBe('192.168.0.11');
  expect(() => parseIpv4('300.1.1.1')).toThrow('not an IPv4 address');
  expect(formatSubnet(parseSubnet('10.1.2.3/16'))).toBe('10.1.0.0/16');
  expect(overlap(parseSubnet('10.0.0.0/8'), parseSubnet('10.1.0.0/16'))).toBe(true);
  expect(overlap(parseSubnet('192.168.0.0/24'), parseSubnet('192.168.1.0/24'))).toBe(false);
  expect(contains(parseSubnet('192.168.0.0/24'), parseIpv4('192.168.1.1'))).toBe(false);
});

test('names', () => {
  expect(parseContainerName('web-1.a')).toBe('web-1.a');
  for (const bad of ['', '..', 'a/b', 'a b', 'a\nb', '-x', 'x'.repeat(64)])
    expect(() => parseContainerName(bad)).toThrow();
  expect(hostLinkName('i', 'web1', 'eth0')).toBe('web1-eth0');
  expect(hostLinkName('i', 've', 'eth0')).toMatch(/^mct[0-9a-f]{12}$/);
  expect(hostLinkName('i', 'x'.repeat(63), 'eth0')).toHaveLength(15);
});
