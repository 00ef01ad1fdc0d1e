/** NAT, and published ports, with real traffic: from the host, from another machine, from containers; both families. */
import { statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectRefusedThere } from '../helpers/expect.ts';
import { eventually, Host } from '../helpers/host.ts';
import { askUdp, echoUdp, type Neighbour, page, plugIn } from '../helpers/neighbour.ts';
import { startOvsdb, startVswitchd, stopOvs } from '../helpers/ovs.ts';
import type { Snapshot } from '../helpers/snapshot.ts';

let host: Host;
let internet: Neighbour;
let office: Neighbour;
let before: Snapshot;
const here = (argv: readonly string[]) => host.run(argv);
const inside = (name: string) => (argv: readonly string[]) => host.run(['ip', 'netns', 'exec', name, ...argv]);
const ok = (...words: string[]) => expect(host.minict(...words)).toMatchObject({ status: 0 });
const pings = (name: string, to: string) => host.minict('exec', name, 'ping', '-c1', '-W3', to).status === 0;
/** The rules of others, who use the same hooks. */
const THEIRS = `table inet theirs { chain post { type nat hook postrouting priority srcnat; ip daddr 203.0.113.9 masquerade; }
  chain forward { type filter hook forward priority filter; policy accept; ct state invalid drop; }; }`;

beforeAll(async () => {
  host = await Host.create();
  // The first one makes what all containers share.
  ok('create', 'first');
  internet = await plugIn(host, {
    link: 'out0',
    here: ['192.0.2.1/24', '2001:db8::1/64'],
    there: ['192.0.2.9/24', '2001:db8::9/64', '198.51.100.7/32'],
  });
  office = await plugIn(host, { link: 'lan0', here: ['172.20.0.1/24'], there: ['172.20.0.9/24'] });
  for (const words of ['route add default via 192.0.2.9', '-6 route add default via 2001:db8::9']) {
    expect(here(['ip', ...words.split(' ')]).status).toBe(0);
  }
  expect(here(['nft', THEIRS]).status).toBe(0);
  before = host.snapshot();
  ok('network', 'create', 'lan', '--subnet', '10.1.0.0/24', '--subnet', 'fd00:1::/64', '--nat');
  ok('network', 'create', 'quiet', '--subnet', '10.2.0.0/24');
  const ports = ['8080:80', '0.0.0.0:9090:80', '[::]:9090:80', '172.20.0.1:7070:80', '0.0.0.0:5353:53/udp'];
  ok('create', 'web1', '--network', 'lan', ...ports.flatMap((port) => ['-p', port]));
  ok('create', 'c1', '--network', 'lan');
  ok('create', 'q1', '--network', 'quiet');
  ok('exec', '-d', 'web1', 'httpd', '-f', '-p', '80', '-h', '/etc');
  expect(await eventually(() => page(inside('web1'), 'http://127.0.0.1/hostname') === 'web1')).toBe(true);
});
afterAll(async () => {
  await host.destroy();
});

describe('NAT', () => {
  test('leads out with the address of the host, in both families', () => {
    expect(pings('c1', '198.51.100.7')).toBe(true);
    expect(pings('c1', '2001:db8::9')).toBe(true);
    expect(pings('c1', '172.20.0.9')).toBe(true);
    const seen = internet.run(['ip', '-s', 'neigh']).stdout;
    expect(seen).toContain('192.0.2.1');
    expect(seen).not.toContain('10.1.0.');
  });

  test('is for networks that ask for it alone', () => {
    expect(pings('q1', '198.51.100.7')).toBe(false);
    expect(pings('c1', '10.2.0.2')).toBe(false);
    expect(here(['cat', '/proc/sys/net/ipv4/conf/quiet/forwarding']).stdout).toBe('0\n');
    expect(here(['cat', '/proc/sys/net/ipv4/ip_forward']).stdout).toBe('0\n');
    expect(here(['cat', '/proc/sys/net/ipv6/conf/all/forwarding']).stdout).toBe('0\n');
  });

  test('leaves traffic beside it, and to other networks with NAT, as it is', async () => {
    ok('network', 'create', 'next', '--subnet', '10.3.0.0/24', '--nat');
    ok('create', 'n1', '--network', 'next');
    const echo = echoUdp(host, 'web1', 54);
    await (echo.stdout as ReadableStream).getReader().read();
    expect(askUdp(inside('c1'), '10.1.0.2', 54)).toBe('hello from 10.1.0.3');
    expect(askUdp(inside('n1'), '10.1.0.2', 54)).toBe('hello from 10.3.0.2');
    ok('rm', 'n1');
    ok('network', 'rm', 'next');
    echo.kill();
    await echo.exited;
  });
});

describe('NAT of other drivers', () => {
  const SUBNETS = ['--subnet', '10.4.0.0/24', '--subnet', 'fd00:4::/64', '--nat'];

  async function expectWayOut(...options: string[]): Promise<void> {
    ok('network', 'create', 'n0', ...SUBNETS, ...options);
    ok('create', 'd1', '--network', 'n0', '-p', '8181:80', '-p', '[::]:8181:80');
    ok('exec', '-d', 'd1', 'httpd', '-f', '-p', '80', '-h', '/etc');
    expect(await eventually(() => page(here, 'http://127.0.0.1:8181/hostname') === 'd1')).toBe(true);
    // Of another network, of another machine, and from itself.
    for (const from of [inside('c1'), internet.run, inside('d1')]) {
      expect(page(from, 'http://[2001:db8::1]:8181/hostname')).toBe('d1');
    }
    const serve = 'busybox httpd -f -p 80 -h /usr/bin >/dev/null 2>&1 & echo $!';
    const server = internet.run(['sh', '-c', serve]).stdout.trim();
    expect(await eventually(() => internet.run(['ss', '-Hltn', 'sport', '=', ':80']).stdout !== '')).toBe(true);
    const sizes = ['192.0.2.9', '[2001:db8::9]'].map((to) => {
      const get = `curl -sg --max-time 20 http://${to}/curl | wc -c`;
      return Number(inside('d1')(['sh', '-c', get]).stdout);
    });
    expect(host.run(['kill', server]).status).toBe(0);
    const whole = statSync('/usr/bin/curl').size;
    expect(sizes).toEqual([whole, whole]);
    expect(pings('d1', '198.51.100.7')).toBe(true);
    expect(internet.run(['ip', 'neigh']).stdout).not.toMatch(/10\.4\.0\.|fd00:4:/);
    ok('rm', '-f', 'd1');
    ok('network', 'rm', 'n0');
  }

  test('vxlan, where this host is the gateway', async () => {
    const tunnel = ['--driver', 'vxlan', '--vni', '42', '--local', '172.20.0.1', '--remote', '172.20.0.9'];
    await expectWayOut(...tunnel, '--gateway', '10.4.0.254', '--gateway', 'fd00:4::fe');
  });

  test('ovs', async () => {
    startOvsdb(host);
    startVswitchd(host);
    await expectWayOut('--driver', 'ovs', '-o', 'datapath_type=netdev');
    await stopOvs(host);
  });

  test.each<[string[], RegExp]>([
    [
      ['--driver', 'macvlan', '--uplink', 'lan0', '--gateway', '10.4.0.254'],
      /--nat and driver macvlan together\nhint: /,
    ],
    [
      ['--driver', 'vxlan', '--vni', '42', '--local', '172.20.0.1'],
      /the host has no address in the network\nhint: --gateway/,
    ],
    [['--gateway', 'none'], /the host has no address in the network\nhint: --gateway/],
  ])('%j is refused', async (options, message) => {
    await expectRefusedThere(host, ['network', 'create', 'n0', ...SUBNETS, ...options], message);
  });
});

describe('a published port', () => {
  const url = (address: string, port: number) => `http://${address}:${port}/hostname`;

  test.each<[string, number]>([
    ['127.0.0.1', 8080],
    ['127.0.0.1', 9090],
    ['10.1.0.1', 9090],
    ['192.0.2.1', 9090],
    ['[2001:db8::1]', 9090],
    ['172.20.0.1', 7070],
  ])('is there for the host at %s:%i', (address, port) => {
    expect(page(here, url(address, port))).toBe('web1');
  });

  test('is there for other machines at the address that it is bound to, and at no other', () => {
    expect(page(internet.run, url('192.0.2.1', 9090))).toBe('web1');
    expect(page(internet.run, url('[2001:db8::1]', 9090))).toBe('web1');
    expect(page(office.run, url('172.20.0.1', 9090))).toBe('web1');
    expect(page(office.run, url('172.20.0.1', 7070))).toBe('web1');
    // Refused at once.
    for (const [address, port] of [['192.0.2.1', 8080] as const, ['192.0.2.1', 7070] as const]) {
      expect(page(internet.run, url(address, port))).toBe('curl: 7');
    }
    expect(page(here, url('[::1]', 9090))).toBe('curl: 7');
  });

  test('is there for containers: beside it, and for itself', () => {
    for (const address of ['10.1.0.1', '192.0.2.1', '[fd00:1::1]', '[2001:db8::1]']) {
      expect(page(inside('c1'), url(address, 9090)), address).toBe('web1');
      expect(page(inside('web1'), url(address, 9090)), address).toBe('web1');
    }
  });

  test("opens no way to the host's loopback", async () => {
    const server = host.spawn(['busybox', 'httpd', '-f', '-p', '127.0.0.1:6060', '-h', '/etc']);
    expect(await eventually(() => page(here, url('127.0.0.1', 6060)) !== 'curl: 7')).toBe(true);
    const way = ['ip', 'route', 'add', '127.0.0.1', 'via', '10.1.0.1', 'dev', 'eth0', 'table', '99'];
    const rules = [way, ['ip', 'rule', 'add', 'pref', '0', 'to', '127.0.0.1', 'lookup', '99']];
    for (const argv of [['ip', 'rule', 'add', 'pref', '1', 'lookup', 'local'], ...rules]) inside('c1')(argv);
    inside('c1')(['ip', 'rule', 'del', 'pref', '0', 'lookup', 'local']);
    inside('c1')(['sysctl', '-qw', 'net.ipv4.conf.eth0.route_localnet=1']);
    const answer = () => page(inside('c1'), url('127.0.0.1', 6060));
    expect(answer()).toBe('curl: 28');
    const table = `minict_${here(['cat', `${host.root}/instance`]).stdout.trim()}`;
    expect(here(['nft', 'flush', 'chain', 'inet', table, 'loopback']).status).toBe(0);
    expect(answer()).not.toMatch(/^curl/);
    ok('network', 'reload');
    expect(answer()).toBe('curl: 28');
    server.kill();
    await server.exited;
  });

  test('of UDP, from the host and from other machines', async () => {
    const echo = echoUdp(host, 'web1', 53);
    await (echo.stdout as ReadableStream).getReader().read();
    expect(askUdp(here, '127.0.0.1', 5353)).toBe('hello from 10.1.0.1');
    expect(askUdp(internet.run, '192.0.2.1', 5353)).toBe('hello from 192.0.2.9');
    expect(askUdp(inside('c1'), '10.1.0.1', 5353)).toBe('hello from 10.1.0.1');
    echo.kill();
    await echo.exited;
  });
});

test('other tables are never touched, and the last container takes all of ours along', async () => {
  ok('rm', '-f', 'web1', 'c1', 'q1');
  ok('network', 'rm', 'lan', 'quiet');
  expect(await host.settled(before)).toEqual(before);
  expect(host.snapshot().firewall.join('\n')).toContain('table inet theirs');
});

test("a host's own switch that is on by then stays on", async () => {
  ok('network', 'create', 'lan', '--subnet', '10.1.0.0/24', '--nat');
  expect(here(['sysctl', '-qw', 'net.ipv4.ip_forward=1']).status).toBe(0);
  ok('network', 'rm', 'lan');
  expect(here(['cat', '/proc/sys/net/ipv4/conf/out0/forwarding']).stdout).toBe('1\n');
  expect(here(['sysctl', '-qw', 'net.ipv4.ip_forward=0']).status).toBe(0);
  expect(await host.settled(before)).toEqual(before);
  await internet.unplug();
  await office.unplug();
});
