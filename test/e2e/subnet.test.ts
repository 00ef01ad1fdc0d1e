/** Which subnet the default network takes at first use, beside the host's own routes and another's bridge. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { expectCreated, expectRefusedThere } from '../helpers/expect.ts';
import { Host } from '../helpers/host.ts';
import { eth0Of, readIp } from '../helpers/links.ts';

let host: Host;
const ip = (...words: string[]) => readIp(host, ...words);
const inside = (name: string) => eth0Of(host, name);
const addressOf = (name: string) => inside(name).addr_info[0]?.local;
const create = (...words: string[]) => expectCreated(host, ...words);
const refused = (words: string[], message: RegExp) => expectRefusedThere(host, ['create', ...words], message);

beforeEach(async () => {
  host = await Host.create();
  create('none', '--no-network');
});
afterEach(() => host.destroy());

const addRoute = (subnet: string) => {
  for (const words of [
    ['tuntap', 'add', 'dev', 'lan0', 'mode', 'tap'],
    ['link', 'set', 'lan0', 'up'],
  ]) {
    expect(host.run(['ip', ...words]).status).toBe(0);
  }
  expect(host.run(['ip', 'route', 'add', subnet, 'dev', 'lan0']).status).toBe(0);
};
const routes = () => host.run(['ip', '-4', 'route']).stdout;

test.each([
  ['10.20.0.5/16', '10.20.0.1', 16],
  ['172.31.255.2/30', '172.31.255.1', 30],
])('--ip %s makes that private subnet the network', async (address, gateway, prefixlen) => {
  create('c1', '--ip', address);
  expect(ip('addr', 'show', 'dev', 'minict0')[0]?.addr_info[0]).toMatchObject({ local: gateway, prefixlen });
  expect(inside('c1').addr_info[0]).toMatchObject({ prefixlen });
  if (prefixlen === 30) await refused(['c2'], /is full/);
  host.minict('rm', 'c1');
  // Its bridge is there until a prune: the refusal says so.
  await refused(['c2', '--ip', '192.168.5.5'], /outside network minict0.*\nhint: minict system prune/);
  host.minict('system', 'prune');
  create('c2', '--ip', '192.168.5.5');
});

test('public addresses are refused, also as a part of the subnet', async () => {
  for (const address of ['8.8.8.8', '172.32.0.5', '127.0.0.5', '192.168.0.5/15', '172.16.0.5/8']) {
    await refused(['c1', '--ip', address], /is no private subnet\nhint: .*RFC 1918/);
  }
});

test("a route of the host's: the next free /24 without --ip, a refusal with it", async () => {
  addRoute('192.168.0.0/23');
  const before = routes();
  await refused(['c1', '--ip', '192.168.0.11'], /the host has a route 192\.168\.0\.0\/23 on lan0\nhint: /);
  expect(routes()).toBe(before);
  create('c1');
  expect(addressOf('c1')).toBe('192.168.2.2');
  expect(routes()).toContain(before.trim());
});

test("a VPN's routes in a table of its own are the host's, too; those for some packets alone are not", async () => {
  addRoute('192.168.0.0/23');
  const ip = (line: string) => expect(host.run(['ip', ...line.split(' ')]), line).toMatchObject({ status: 0 });
  ip('route flush dev lan0');
  ip('route add 192.168.0.0/23 dev lan0 table 52');
  ip('rule add priority 5270 lookup 52');
  await refused(['c1', '--ip', '192.168.0.11'], /the host has a route 192\.168\.0\.0\/23 in table 52\nhint: /);
  create('c1');
  expect(addressOf('c1')).toBe('192.168.2.2');
  ip('rule del priority 5270');
  ip('rule add priority 5270 from 10.9.9.9 lookup 52');
  expect(host.minict('network', 'create', 'lan', '--subnet', '192.168.0.0/24').status).toBe(0);
});

test('its subnet is left to it by networks that come first', () => {
  expect(host.minict('network', 'create', 'lan').status).toBe(0);
  create('c1', '--ip', '192.168.0.11');
  create('c2', '--network', 'lan');
  expect(addressOf('c2')).toBe('192.168.1.2');
});

test('half of all addresses is a default route in two pieces, and no obstacle', () => {
  addRoute('128.0.0.0/1');
  create('c1', '--ip', '192.168.0.11');
});

test('a route that came while the bridge was gone is not overridden', () => {
  create('c1');
  host.run(['ip', 'link', 'del', 'minict0']);
  addRoute('192.168.0.0/24');
  const before = routes();
  const started = host.minict('start', 'c1');
  expect(started).toMatchObject({ status: 125, stdout: '' });
  expect(started.stderr).toMatch(/the host has a route 192\.168\.0\.0\/24 on lan0\nhint: /);
  expect(routes()).toBe(before);
  host.run(['ip', 'link', 'del', 'lan0']);
  expect(host.minict('start', 'c1').status).toBe(0);
  expect(host.minict('exec', 'c1', 'ping', '-c1', '-W2', '192.168.0.1').status).toBe(0);
});

test("another's bridge minict0 is refused and stays", async () => {
  host.run(['ip', 'link', 'add', 'name', 'minict0', 'type', 'bridge']);
  const before = ip('addr', 'show', 'dev', 'minict0');
  await refused(['c1'], /network minict0: .* not this minict's\nhint: .*--no-network/);
  expect(ip('addr', 'show', 'dev', 'minict0')).toEqual(before);
  host.minict('rm', 'none');
  host.minict('system', 'prune');
  expect(ip('addr', 'show', 'dev', 'minict0')).toEqual(before);
});
