/** What is particular to a driver of networks, and what each of them refuses. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefused, expectRefusedThere } from '../helpers/expect.ts';
import { eventually, Host } from '../helpers/host.ts';
import { readIp } from '../helpers/links.ts';

let host: Host;
const network = (...words: string[]) => host.minict('network', ...words);
const ip = (line: string) => expect(host.run(['ip', ...line.split(' ')]), line).toMatchObject({ status: 0 });
const pings = (from: string, to: string) => host.minict('exec', from, 'ping', '-c1', '-W1', to).status === 0;

beforeAll(async () => {
  host = await Host.create();
  for (const line of [
    'link add name up0 type veth peer name far0',
    'link set dev up0 up',
    'link set dev far0 up',
    'addr add fd00:7::3/64 nodad dev far0',
    'addr add 10.7.0.1/24 dev up0',
    'addr add fd00:7::1/64 nodad dev up0',
    'link add name br9 type bridge',
    'link add name port0 type veth peer name port1',
    'link set dev port0 master br9',
    'link add name down0 type veth peer name down1',
  ]) {
    ip(line);
  }
});
afterAll(() => host.destroy());

test('macvlan: the uplink stays as it is, with its addresses, which nobody else gets', () => {
  // Counts of listeners are the kernel's; so is the state of link-local addresses.
  const uplink = () =>
    host
      .run(['ip', '-d', 'addr', 'show', 'dev', 'up0'])
      .stdout.replace(/promiscuity \d+| tentative|tso_max_\w+ \d+/g, '');
  const before = uplink();
  const subnets = ['--subnet', '10.7.0.0/24', '--subnet', 'fd00:7::/64'];
  expect(network('create', 'm0', '--driver', 'macvlan', '--uplink', 'up0', ...subnets).status).toBe(0);
  // The kernel looks for names of new interfaces here, wherever they go.
  ip('link add name eth0 type veth peer name eth0-far');
  expectCreated(host, 'a', '--network', 'm0');
  expectCreated(host, 'b', '--nic', 'm0,name=up0');
  // far0 has one of them.
  const containers = { a: { eth0: ['10.7.0.2', 'fd00:7::2'] }, b: { up0: ['10.7.0.3', 'fd00:7::4'] } };
  expect(JSON.parse(network('inspect', 'm0').stdout)).toMatchObject([
    { link: 'up0', macvlan: { mode: 'bridge' }, containers },
  ]);
  expectRefused(host.minict('create', 'c', '--network', 'm0', '--ip', '10.7.0.1'), /taken by the host's up0/);
  expect(pings('a', '10.7.0.3')).toBe(true);
  expect(uplink()).toBe(before);
  expect(host.minict('rm', 'a', 'b').status).toBe(0);
  expect(network('rm', 'm0').status).toBe(0);
  expect(uplink()).toBe(before);
  ip('link del eth0');
});

test('macvlan: an uplink that has gone down is named, with what brings it up', () => {
  ip('link set dev down0 up');
  expect(network('create', 'm0', '--driver', 'macvlan', '--uplink', 'down0', '--subnet', '10.8.0.0/24').status).toBe(0);
  ip('link set dev down0 down');
  expectRefused(
    host.minict('create', 'c', '--network', 'm0'),
    /cannot look for 10\.8\.0\.1 on down0: it is down\nhint: ip link set dev down0 up\n/,
  );
  expect(network('rm', 'm0').status).toBe(0);
});

test.each([
  ['bridge', true],
  ['private', false],
  ['vepa', false],
] as const)('macvlan in mode %s: whether its containers reach each other is %s', (mode, reach) => {
  const create = ['create', 'm1', '--driver', 'macvlan', '--uplink', 'up0', '-o', `mode=${mode}`];
  expect(network(...create, '--subnet', '10.17.0.0/24')).toMatchObject({ status: 0, stderr: '' });
  expectCreated(host, 'a', '--network', 'm1');
  expectCreated(host, 'b', '--network', 'm1');
  const [nic] = JSON.parse(host.run(['ip', '-n', 'a', '-j', '-d', 'link', 'show', 'dev', 'eth0']).stdout);
  expect(nic.linkinfo).toMatchObject({ info_kind: 'macvlan', info_data: { mode } });
  expect(pings('a', '10.17.0.2')).toBe(reach);
  expect(host.minict('rm', 'a', 'b').status).toBe(0);
  expect(network('rm', 'm1').status).toBe(0);
});

test('macvlan: what was added by hand outlasts a stop, and a namespace that is held keeps no interface', async () => {
  const subnets = ['--subnet', '10.17.0.0/24', '--subnet', 'fd00:17::/64'];
  expect(network('create', 'm2', '--driver', 'macvlan', '--uplink', 'up0', ...subnets).status).toBe(0);
  expectCreated(host, 'a', '--network', 'm2');
  ip('-n a route add 10.99.0.0/16 via 10.17.0.9');
  ip('-n a route add fd00:99::/64 via fd00:17::9');
  ip('-n a addr add fd00:17::99/64 nodad dev eth0');
  const inside = () =>
    ['-4 route', '-6 route', 'addr show scope global'].flatMap((words) =>
      host
        .run(['ip', '-n', 'a', ...words.split(' ')])
        .stdout.split('\n')
        .sort(),
    );
  const before = inside();
  expect(before.join()).toMatch(/10\.99.*fd00:99.*fd00:17::99/s);
  expect(host.minict('stop', '-t', '0', 'a').status).toBe(0);
  expect(host.minict('start', 'a')).toMatchObject({ status: 0, stderr: '' });
  expect(inside()).toEqual(before);
  const holder = host.spawn(['nsenter', '--net=/run/netns/a', 'sleep', 'infinity']);
  const links = () => host.run(['nsenter', '-t', String(holder.pid), '-n', 'ip', '-o', 'link']).stdout;
  expect(await eventually(() => links().includes('eth0@'))).toBe(true);
  expect(host.minict('rm', 'a')).toMatchObject({ status: 0, stderr: '' });
  expect(links()).not.toContain('eth0');
  expectCreated(host, 'a', '--network', 'm2');
  holder.kill();
  await holder.exited;
  expect(host.minict('rm', 'a').status).toBe(0);
  expect(network('rm', 'm2').status).toBe(0);
});

test('vxlan: the MTU is what the underlay leaves, for the bridge and for all', () => {
  ip('link set dev up0 mtu 9000');
  const create = [
    'create',
    'v0',
    '--driver',
    'vxlan',
    '--vni',
    '7',
    '--local',
    'fd00:7::1',
    '--subnet',
    '10.18.0.0/24',
  ];
  expect(network(...create, '--internal').status).toBe(0);
  expectCreated(host, 'a', '--network', 'v0');
  expect(['v0', 'v0-vx'].map((name) => readIp(host, 'link', 'show', 'dev', name)[0]?.mtu)).toEqual([8930, 8930]);
  expect(readIp(host, '-n', 'a', 'link', 'show', 'dev', 'eth0')[0]?.mtu).toBe(8930);
  // A virtual machine is in it as well.
  expect(network('tap', 'v0', 'vm7').status).toBe(0);
  expect(readIp(host, 'link', 'show', 'dev', 'vm7')[0]).toMatchObject({ master: 'v0', mtu: 8930 });
  expect(network('tap', 'rm', 'vm7').status).toBe(0);
  expect(host.minict('rm', 'a').status).toBe(0);
  expect(network('rm', 'v0').status).toBe(0);
  ip('link set dev up0 mtu 1500');
});

const MACVLAN = ['--driver', 'macvlan', '--uplink'];
const VXLAN = ['--driver', 'vxlan', '--vni', '42', '--local'];

test.each<[string[], RegExp]>([
  [['--driver', 'foo'], /no such driver\nhint: bridge, macvlan, vxlan, ovs\n/],
  [['-o', 'mode=bridge'], /cannot use option mode with driver bridge\nhint: it has none/],
  [['--vni', '3'], /cannot use --vni with driver bridge\nhint: it has --bridge, --uplink/],
  [['--driver', 'ovs', '--uplink', 'up0'], /cannot use --uplink with driver ovs/],
  [['--driver', 'macvlan'], /without --uplink/],
  [[...MACVLAN, 'nolink'], /the host has none of that name/],
  [[...MACVLAN, 'lo'], /it is the loopback/],
  [[...MACVLAN, 'port0'], /it is a port of br9\nhint: .*--uplink br9/],
  [[...MACVLAN, 'down0'], /it is down\nhint: ip link set dev down0 up/],
  [[...MACVLAN, 'up0', '--bridge', 'br9'], /cannot use --bridge with driver macvlan/],
  [[...MACVLAN, 'up0', '--mtu', '1501'], /up0 has 1500/],
  [[...MACVLAN, 'up0', '-o', 'mode=passthru'], /no such mode\nhint: bridge, private, vepa/],
  [
    [...MACVLAN, 'up0', '-o', 'color=red'],
    /cannot use option color with driver macvlan\nhint: it has mode=bridge\|private\|vepa/,
  ],
  [[...MACVLAN, 'up0', '-o', 'mode=vepa', '-o', 'mode=vepa'], /option mode: it is there twice/],
  [[...MACVLAN, 'up0', '-o', 'mode'], /not KEY=VALUE/],
  [['--driver', 'vxlan', '--local', '10.7.0.1'], /without --vni/],
  [['--driver', 'vxlan', '--vni', '42'], /without --local/],
  [['--driver', 'vxlan', '--vni', '16777216', '--local', '10.7.0.1'], /1 to 16777215/],
  [[...VXLAN, '10.7.0.77'], /no interface of the host has it/],
  [[...VXLAN, '10.7.0.1', '--uplink', 'far0'], /far0 has it not/],
  [[...VXLAN, '10.7.0.1', '--remote', 'fd00::2'], /not of the family of --local/],
  [[...VXLAN, '10.7.0.1', '--remote', '10.7.0.2,10.7.0.1'], /it is this host/],
  [[...VXLAN, '10.7.0.1', '--mtu', '1500'], /up0 has 1500, of which 1450 are left/],
  [[...VXLAN, '10.7.0.1', '-o', 'dstport=0'], /no UDP port/],
  [['--driver', 'ovs', '-o', 'datapath_type=dpdk'], /no such datapath\nhint: system, netdev/],
])('network create %j is refused, and changes nothing', async (options, message) => {
  await expectRefusedThere(host, ['network', 'create', 'new', ...options], message);
});

test("a VNI is one network's", async () => {
  expect(network('create', 'v1', ...VXLAN, '10.7.0.1').status).toBe(0);
  await expectRefusedThere(host, ['network', 'create', 'v2', ...VXLAN, '10.7.0.1'], /network v1 has it/);
  expect(network('rm', 'v1').status).toBe(0);
  ip('link add name theirs type vxlan id 42 dstport 4789');
  await expectRefusedThere(
    host,
    ['network', 'create', 'v2', ...VXLAN, '10.7.0.1'],
    /the tunnel to other hosts: .*already exists/,
  );
  ip('link del theirs');
});
