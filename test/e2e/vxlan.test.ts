/** Containers of two hosts in one network: over a VXLAN, with its hosts in a list, or found by BGP EVPN. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { askFrr, startEvpn, stopEvpn } from '../helpers/frr.ts';
import { eventually, type Host } from '../helpers/host.ts';
import { eth0Of, readIp } from '../helpers/links.ts';
import { useTwoHosts } from '../helpers/two-hosts.ts';

const hosts = useTwoHosts();
const { ok, over } = hosts;
const A = ['--ip', '10.5.0.11', '--ip', 'fd00:5::11'];
const B = ['--ip', '10.5.0.12', '--ip', 'fd00:5::12'];
const SUBNETS = ['--subnet', '10.5.0.0/24', '--subnet', 'fd00:5::/64'];

const ip = (host: Host, line: string) =>
  expect(host.run(['ip', ...line.split(' ')]), line).toMatchObject({ status: 0 });
const fdb = (host: Host) => host.run(['bridge', 'fdb', 'show', 'dev', 'v0-vx']).stdout;
const pings = (host: Host, from: string, to: string, ...options: string[]) =>
  host.run(['ip', 'netns', 'exec', from, 'ping', '-n', '-c1', '-W5', ...options, to]).status === 0;

/** One cable between the hosts, with addresses of both families on it. */
beforeAll(() => {
  ip(hosts.here, `link add name ul0 type veth peer name ul0 netns ${hosts.there.pid}`);
  for (const [host, number] of [
    [hosts.here, 1],
    [hosts.there, 2],
  ] as const) {
    ip(host, `addr add 10.0.0.${number}/24 dev ul0`);
    ip(host, `addr add fd00::${number}/64 nodad dev ul0`);
    ip(host, 'link set dev ul0 up');
  }
});

// One that fails is not to take the next along.
afterEach(() => {
  for (const host of [hosts.here, hosts.there]) {
    host.minict('rm', '-f', 'a', 'b', 'c', 'd');
    host.minict('network', 'prune');
  }
});

function makeNetworks(here: readonly string[], there: readonly string[]): void {
  const make = ['network', 'create', 'v0', '--driver', 'vxlan', '--vni', '42', ...SUBNETS];
  ok(...make, ...here);
  over(...make, ...there);
  ok('create', 'a', '--network', 'v0', ...A);
  over('create', 'b', '--network', 'v0', ...B);
}

function removeNetworks(): void {
  ok('rm', 'a');
  over('rm', 'b');
  ok('network', 'rm', 'v0');
  over('network', 'rm', 'v0');
  for (const host of [hosts.here, hosts.there]) {
    expect(readIp(host, 'link').map(({ ifname }) => ifname)).toEqual(['lo', 'ul0']);
  }
}

/** Packets as long as the MTU go through in one piece; longer ones are refused at once. */
function expectFullSize(mtuBytes: number): void {
  expect(eth0Of(hosts.here, 'a').mtu).toBe(mtuBytes);
  expect(readIp(hosts.there, 'link', 'show', 'dev', 'v0')[0]?.mtu).toBe(mtuBytes);
  const [ipv4, ipv6] = [mtuBytes - 28, mtuBytes - 48].map(String) as [string, string];
  expect(pings(hosts.here, 'a', '10.5.0.12', '-M', 'do', '-s', ipv4)).toBe(true);
  expect(pings(hosts.there, 'b', 'fd00:5::11', '-M', 'do', '-s', ipv6)).toBe(true);
  expect(pings(hosts.here, 'a', '10.5.0.12', '-M', 'do', '-s', String(mtuBytes - 27))).toBe(false);
  const pieces = hosts.here.run(['nstat', '-asz', 'IpFragCreates', 'Ip6FragCreates']).stdout;
  expect(pieces).toMatch(/IpFragCreates +0 .*\n.*Ip6FragCreates +0 /);
}

/** What the other host's container has as its MAC address is what this one's has as its neighbour's. */
function expectSameWire(): void {
  const neighbours = readIp(hosts.here, '-n', 'a', 'neigh', 'show', 'dev', 'eth0') as unknown as { dst: string }[];
  expect(neighbours).toContainEqual(
    expect.objectContaining({ dst: '10.5.0.12', lladdr: eth0Of(hosts.there, 'b').address }),
  );
}

test.each([
  ['IPv4, by the underlay', ['10.0.0.1', '10.0.0.2'], ['--uplink', 'ul0'], 1450],
  ['IPv4, by its address alone', ['10.0.0.1', '10.0.0.2'], [], 1450],
  ['IPv6, at another port', ['fd00::1', 'fd00::2'], ['-o', 'dstport=8472'], 1430],
] as const)('containers of two hosts are on one wire over %s', (_, [first, second], more, mtuBytes) => {
  makeNetworks(['--local', first, '--remote', second, ...more], ['--local', second, '--remote', first, ...more]);
  expect([pings(hosts.here, 'a', '10.5.0.12'), pings(hosts.here, 'a', 'fd00:5::12')]).toEqual([true, true]);
  expectSameWire();
  expectFullSize(mtuBytes);
  expect(fdb(hosts.here)).toContain(`00:00:00:00:00:00 dst ${second} self permanent`);
  removeNetworks();
});

test('a gateway that only one of the hosts has is the way out for both', () => {
  const gateway = ['--gateway', '10.5.0.1'];
  makeNetworks(
    ['--local', '10.0.0.1', '--remote', '10.0.0.2', ...gateway],
    ['--local', '10.0.0.2', '--remote', '10.0.0.1'],
  );
  expect(pings(hosts.there, 'b', '10.5.0.1')).toBe(true);
  removeNetworks();
});

test('the address of a container of the other host is not given out', () => {
  makeNetworks(['--local', '10.0.0.1', '--remote', '10.0.0.2'], ['--local', '10.0.0.2', '--remote', '10.0.0.1']);
  ok('create', 'c', '--network', 'v0');
  over('create', 'd', '--network', 'v0');
  const addresses = [eth0Of(hosts.here, 'c'), eth0Of(hosts.there, 'd')].map(({ addr_info }) =>
    addr_info.filter(({ scope }) => scope === 'global').map(({ local }) => local),
  );
  expect(addresses).toEqual([
    ['10.5.0.1', 'fd00:5::1'],
    ['10.5.0.2', 'fd00:5::2'],
  ]);
  for (const address of ['10.5.0.11', 'fd00:5::11']) {
    const taken = hosts.there.minict('create', 'e', '--network', 'v0', '--ip', address);
    expectRefused(taken, new RegExp(`taken by the machine with ${eth0Of(hosts.here, 'a').address}`));
  }
  ok('rm', 'c');
  over('rm', 'd');
  removeNetworks();
});

describe('BGP EVPN by FRR', () => {
  const [first, second] = [
    { address: '10.0.0.1', as: 65001 },
    { address: '10.0.0.2', as: 65002 },
  ] as const;
  beforeAll(() => {
    startEvpn(hosts.here, first, second);
    startEvpn(hosts.there, second, first);
  });
  afterAll(() => {
    stopEvpn(hosts.here);
    stopEvpn(hosts.there);
  });

  test('it says which hosts there are and who is where; nothing is learnt from packets', async () => {
    makeNetworks(['--local', '10.0.0.1'], ['--local', '10.0.0.2']);
    expect(await eventually(() => pings(hosts.here, 'a', '10.5.0.12'))).toBe(true);
    expect(await eventually(() => pings(hosts.there, 'b', 'fd00:5::11'))).toBe(true);
    const mac = eth0Of(hosts.there, 'b').address;
    // RFC 7432, section 7: 2 is who has a MAC address, 3 is whom to send to what is for all.
    const macs = () => askFrr(hosts.here, 'show bgp l2vpn evpn route type macip');
    expect(await eventually(() => new RegExp(`\\[2\\]:.*\\[${mac}\\]`).test(macs()))).toBe(true);
    expect(askFrr(hosts.here, 'show bgp l2vpn evpn route type multicast')).toMatch(/\[3\]:.*\[10\.0\.0\.2\]/);
    expect(await eventually(() => new RegExp(`${mac} dst 10\\.0\\.0\\.2 .*extern_learn`).test(fdb(hosts.here)))).toBe(
      true,
    );
    expectSameWire();
    expectFullSize(1450);
    removeNetworks();
  });
});
