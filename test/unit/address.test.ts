import { expect, test } from 'vitest';
import {
  contains,
  formatIp,
  formatSubnet,
  lastOf,
  linkLocalOf,
  overlap,
  parseAddress,
  parseIp,
  parseSubnet,
} from '../../src/spec/address.ts';
import { hostLinkName, parseContainerName } from '../../src/spec/name.ts';

test('IPv4 addresses and subnets', () => {
  expect(formatIp(parseIp('192.168.0.11'))).toBe('192.168.0.11');
  for (const bad of [
    '300.1.1.1',
    '1.2.3',
    '01.2.3.4',
    '1.2.3.4.5',
    '',
    '1.2.3.',
    '-0.1.2.3',
    '1e1.2.3.4',
    '1.2.3. 4',
  ]) {
    expect(() => parseIp(bad)).toThrow('not an IPv4 address');
  }
  expect(formatSubnet(parseSubnet('10.1.2.3/16'))).toBe('10.1.0.0/16');
  expect(overlap(parseSubnet('10.0.0.0/8'), parseSubnet('10.1.0.0/16'))).toBe(true);
  expect(overlap(parseSubnet('192.168.0.0/24'), parseSubnet('192.168.1.0/24'))).toBe(false);
  expect(contains(parseSubnet('192.168.0.0/24'), parseIp('192.168.1.1'))).toBe(false);
  expect(formatIp(lastOf(parseSubnet('192.168.0.0/24')))).toBe('192.168.0.255');
  expect(() => parseAddress('10.0.0.1/31')).toThrow('8 to 30');
});

test.each([
  ['fd00:1::', 'fd00:1::'],
  ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['1:0:2:0:0:3:0:0', '1:0:2::3:0:0'],
  ['0:1:0:1:0:1:0:0', '0:1:0:1:0:1::'],
  ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
  ['::ffff:1.2.3.4', '::ffff:102:304'],
  ['FD00::A', 'fd00::a'],
  ['::', '::'],
])('IPv6 address %s is %s', (text, canonical) => {
  expect(formatIp(parseIp(text))).toBe(canonical);
});

test.each(['02:28:8d:67:d4:b3', '02:00:5e:00:00:01', '00:00:00:00:00:00', 'fe:ff:ff:ff:ff:0f'])(
  'the link-local address of %s is written as others are',
  (mac) => {
    const address = linkLocalOf(mac);
    expect(formatIp(parseIp(address))).toBe(address);
  },
);

test('a link-local address', () => {
  expect(linkLocalOf('02:28:8d:67:d4:b3')).toBe('fe80::28:8dff:fe67:d4b3');
  expect(linkLocalOf('00:16:3e:00:0a:00')).toBe('fe80::216:3eff:fe00:a00');
});

test('what is no IPv6 address; subnets', () => {
  for (const bad of ['1::2::3', ':1', '1:', 'g::', '1:2:3:4:5:6:7', '1:2:3:4::5:6:7:8', '::1.2.3.400']) {
    expect(() => parseIp(bad)).toThrow('not an IPv6 address');
  }
  expect(formatSubnet(parseSubnet('fd00:1::5/64'))).toBe('fd00:1::/64');
  expect(contains(parseSubnet('fd00::/16'), parseIp('10.0.0.1'))).toBe(false);
  expect(overlap(parseSubnet('fd00::/16'), parseSubnet('fd00:9::/64'))).toBe(true);
});

test('names', () => {
  expect(parseContainerName('web-1.a')).toBe('web-1.a');
  for (const bad of ['', '..', 'a/b', 'a b', 'a\nb', '-x', 'x'.repeat(64)])
    expect(() => parseContainerName(bad)).toThrow();
  expect(hostLinkName('i', 'web1', 'eth0')).toBe('web1-eth0');
  expect(hostLinkName('i', 've', 'eth0')).toMatch(/^mct[0-9a-f]{12}$/);
  expect(hostLinkName('i', 'x'.repeat(63), 'eth0')).toHaveLength(15);
});
