/** Networks by name: several of them, several interfaces of a container, connected and disconnected while it runs. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefusedThere, linksSettle } from '../helpers/expect.ts';
import { FAILURES, killBefore, runWithFault } from '../helpers/faults.ts';
import { Host, MINICT } from '../helpers/host.ts';
import { kernelView } from '../helpers/kernel-view.ts';
import { globalAddresses, readIp } from '../helpers/links.ts';
import { printScript } from '../helpers/script.ts';

let host: Host;
const ip = (...words: string[]) => readIp(host, ...words);
const create = (...words: string[]) => expectCreated(host, ...words);
const network = (...words: string[]) => host.minict('network', ...words);
const refused = (words: string[], message: RegExp) => expectRefusedThere(host, words, message);
const hostsOf = (name: string) => host.minict('exec', name, 'cat', '/etc/hosts').stdout;
const pings = (from: string, to: string, ...options: string[]) =>
  host.minict('exec', from, 'ping', '-c1', '-W5', ...options, to).status === 0;
const addressesOf = (name: string, dev: string) => globalAddresses(host, name, dev);
const defaultRoutes = (name: string, family: string) =>
  ip('-n', name, family, 'route', 'show', 'default').map(({ gateway, dev }) => `${gateway} ${dev}`);

beforeAll(async () => {
  host = await Host.create();
  expect(network('create', 'lan', '--subnet', '10.1.0.0/24', '--subnet', 'fd00:1::/64')).toMatchObject({
    status: 0,
    stdout: 'lan\n',
  });
  expect(network('create', 'inner', '--internal', '--mtu', '9000').status).toBe(0);
});
afterAll(() => host.destroy());

test('a network has a bridge with the gateways of both families, and inspect says so', () => {
  const addresses = ip('addr', 'show', 'dev', 'lan')[0]?.addr_info.filter(({ scope }) => scope === 'global');
  expect(addresses?.map(({ local }) => local)).toEqual(['10.1.0.1', 'fd00:1::1']);
  expect(ip('addr', 'show', 'dev', 'inner')[0]).toMatchObject({ mtu: 9000 });
  expect(ip('-4', 'addr', 'show', 'dev', 'inner')).toEqual([]);
  expect(JSON.parse(network('inspect', 'lan').stdout)).toEqual([
    {
      name: 'lan',
      driver: 'bridge',
      link: 'lan',
      mac: expect.stringMatching(/^02:/),
      subnets: [
        { subnet: '10.1.0.0/24', gateway: '10.1.0.1' },
        { subnet: 'fd00:1::/64', gateway: 'fd00:1::1' },
      ],
      state: 'up',
      containers: {},
    },
  ]);
});

test('interfaces are named and ordered as asked, with addresses of both families and one default route', () => {
  create('a', '--network', 'lan');
  create('b', '--nic', 'lan,ip=10.1.0.9,ip=fd00:1::9,name=net0,mac=02:00:00:00:00:99', '--nic', 'inner');
  expect(addressesOf('a', 'eth0')).toEqual(['10.1.0.2/24', 'fd00:1::2/64']);
  expect(ip('-n', 'b', 'link').map(({ ifname }) => ifname)).toEqual(['lo', 'net0', 'eth0']);
  expect(ip('-n', 'b', 'link', 'show', 'dev', 'net0')[0]).toMatchObject({ address: '02:00:00:00:00:99' });
  expect(addressesOf('b', 'net0')).toEqual(['10.1.0.9/24', 'fd00:1::9/64']);
  expect(ip('-n', 'b', 'link', 'show', 'dev', 'eth0')[0]).toMatchObject({ mtu: 9000 });
  expect(defaultRoutes('b', '-4')).toEqual(['10.1.0.1 net0']);
  expect(defaultRoutes('b', '-6')).toEqual(['fd00:1::1 net0']);
  expect(pings('a', 'b')).toBe(true);
  expect(pings('a', 'fd00:1::9')).toBe(true);
  expect(hostsOf('a')).toContain('10.1.0.9\tb\nfd00:1::9\tb\n');
  expect(hostsOf('b')).toMatch(/# network lan\n(.+\n)+\n# network inner\n192\.168\.1\.1\tb\n$/);
});

test('connect and disconnect while it runs: hosts files of all, addresses given back', () => {
  create('c');
  expect(network('connect', 'lan', 'c', '--ip', '10.1.0.7')).toMatchObject({ status: 0, stdout: 'c:eth1\n' });
  expect(addressesOf('c', 'eth1')).toEqual(['10.1.0.7/24', 'fd00:1::3/64']);
  // The lab's own network comes before the default one.
  expect(hostsOf('c')).toMatch(/# network lan\n[^#]*10\.1\.0\.7\tc\n[^#]*# network minict0\n/);
  expect(hostsOf('a')).toContain('10.1.0.7\tc\n');
  expect(pings('c', 'a')).toBe(true);
  expect(defaultRoutes('c', '-4')).toEqual([expect.stringContaining('eth0')]);
  create('d', '--network', 'lan');
  expect(hostsOf('c')).toMatch(/\td\n/);
  host.minict('rm', 'd');
  expect(hostsOf('c')).not.toMatch(/\td\n/);
  expect(network('connect', 'lan', 'c', '--ip', 'none', '--name', 'bare').status).toBe(0);
  expect(addressesOf('c', 'bare')).toEqual([]);
  expect(network('disconnect', 'lan', 'c', '--name', 'bare').status).toBe(0);
  expect(network('disconnect', 'lan', 'c').status).toBe(0);
  expect(ip('-n', 'c', 'link').map(({ ifname }) => ifname)).toEqual(['lo', 'eth0']);
  expect(hostsOf('c')).not.toContain('10.1.0');
  expect(hostsOf('a')).not.toContain('\tc\n');
  expect(host.minict('ps', '--format', 'json').stdout).not.toContain('broken');
  create('e', '--network', 'lan', '--ip', '10.1.0.7');
  host.minict('rm', 'c', 'e');
});

test('a stopped one is connected by its next start, and a process inside keeps the rest', () => {
  create('s');
  expect(host.minict('stop', '-t', '0', 's').status).toBe(0);
  expect(network('connect', 'inner', 's', '--name', 'second').status).toBe(0);
  expect(host.minict('start', 's').status).toBe(0);
  expect(ip('-n', 's', 'link').map(({ ifname }) => ifname)).toEqual(['lo', 'eth0', 'second']);
  expect(host.minict('exec', '-d', 's', 'tail', '-f', '/etc/hosts').status).toBe(0);
  expect(network('disconnect', 'inner', 's').status).toBe(0);
  expect(network('connect', 'inner', 's').stdout).toBe('s:eth1\n');
  expect(JSON.parse(host.minict('ps', '--format', 'json').stdout)).toContainEqual(
    expect.objectContaining({ name: 's', state: 'running' }),
  );
  expect(host.minict('rm', '-f', 's').status).toBe(0);
});

test('a bridge of the host is used as it is, and stays', () => {
  for (const words of [
    'link add name br9 address 02:00:00:00:00:09 type bridge',
    'link set br9 up',
    'addr add 10.9.0.1/24 dev br9',
  ]) {
    expect(host.run(['ip', ...words.split(' ')]).status).toBe(0);
  }
  const before = host.run(['ip', '-4', 'addr', 'show', 'dev', 'br9']).stdout;
  expect(network('create', 'theirs', '--bridge', 'br9', '--subnet', '10.9.0.0/24').status).toBe(0);
  create('t', '--network', 'theirs');
  expect(addressesOf('t', 'eth0')).toEqual(['10.9.0.2/24']);
  expect(defaultRoutes('t', '-4')).toEqual(['10.9.0.1 eth0']);
  expect(pings('t', '10.9.0.1')).toBe(true);
  expect(network('create', 'plain', '--bridge', 'br9').status).toBe(0);
  create('u', '--nic', 'plain,ip=10.9.0.50/24');
  expect(pings('u', '10.9.0.2')).toBe(true);
  create('v', '--network', 'plain');
  expect(addressesOf('v', 'eth0')).toEqual([]);
  host.minict('rm', 't', 'u', 'v');
  expect(network('rm', 'theirs', 'plain').stdout).toBe('theirs\nplain\n');
  const after = host.run(['ip', '-4', 'addr', 'show', 'dev', 'br9']).stdout;
  const still = (text: string) => text.replace(/<[^>]*>|state \w+/g, '');
  expect(still(after)).toBe(still(before));
});

test('a bridge of the host keeps its MAC address and its MTU, those of its ports', async () => {
  for (const words of [
    'link add name br8 up type bridge',
    'link add name up8 address 52:54:00:aa:bb:cc type veth peer name far8',
    'link set up8 mtu 9000 master br8 up',
  ]) {
    expect(host.run(['ip', ...words.split(' ')]).status).toBe(0);
  }
  const theirs = { address: '52:54:00:aa:bb:cc', mtu: 9000 };
  expect(ip('link', 'show', 'dev', 'br8')[0]).toMatchObject(theirs);
  expect(network('create', 'eight', '--bridge', 'br8').status).toBe(0);
  create('m', '--network', 'eight');
  expect(ip('-n', 'm', 'link', 'show', 'dev', 'eth0')[0]).toMatchObject({ mtu: 9000 });
  // Its end on the host keeps the bridge's.
  create('l', '--nic', 'eight,mtu=1200');
  expect(ip('-n', 'l', 'link', 'show', 'dev', 'eth0')[0]).toMatchObject({ mtu: 1200 });
  expect(ip('link', 'show', 'dev', 'br8')[0]).toMatchObject(theirs);
  await refused(['create', 'bad', '--nic', 'eight,mtu=9001'], /MTU 9001: network eight has 9000\nhint: /);
  expect(network('tap', 'eight', 'vm8').status).toBe(0);
  expect(host.run(['ip', 'link', 'del', 'vm8']).status).toBe(0);
  expect(network('reload')).toEqual({ status: 0, stdout: 'network eight: tap vm8\n', stderr: '' });
  expect(ip('link', 'show', 'dev', 'vm8')[0]).toMatchObject({ master: 'br8', mtu: 9000 });
  expect(ip('link', 'show', 'dev', 'br8')[0]).toMatchObject(theirs);
  expect(network('tap', 'rm', 'vm8').status).toBe(0);
  host.minict('rm', 'm', 'l');
  expect(network('rm', 'eight').status).toBe(0);
  for (const link of ['br8', 'up8']) expect(host.run(['ip', 'link', 'del', link]).status).toBe(0);
});

test("a killed connect's interface is taken back, or finished, by the next one", () => {
  create('k', '--network', 'inner');
  const names = () => ip('-n', 'k', 'link').map(({ ifname }) => ifname);
  const recorded = () =>
    (JSON.parse(host.minict('inspect', 'k').stdout) as [{ nics: { name: string }[] }])[0].nics.map(({ name }) => name);
  for (const at of [1, 2]) {
    runWithFault(host, ['network', 'connect', 'lan', 'k', '--name', 'k1'], 'goes on while minict is killed', at);
    expect(network('connect', 'lan', 'k', '--name', 'k2').stdout).toBe('k:k2\n');
    expect(names()).toEqual(['lo', ...recorded()]);
    expect(host.minict('ps').stdout).toMatch(/^k +ready/m);
    for (const name of recorded().filter((each) => each !== 'eth0')) {
      expect(network('disconnect', 'lan', 'k', '--name', name).status).toBe(0);
    }
  }
  expect(host.minict('rm', 'k').status).toBe(0);
});

test('where a network is full, the address of a killed create is taken back, and none of one that is under way', async () => {
  expect(network('create', 'tiny', '--subnet', '10.55.0.0/30').status).toBe(0);
  create('x', '--network', 'inner');
  const ways: [string[], string[]][] = [
    [
      ['create', 'y', '--network', 'tiny'],
      ['rm', 'y'],
    ],
    [
      ['create', 'y', '--network', 'tiny', '--ip', '10.55.0.2'],
      ['rm', 'y'],
    ],
    [
      ['network', 'connect', 'tiny', 'x'],
      ['network', 'disconnect', 'tiny', 'x'],
    ],
    [
      ['network', 'tap', 'tiny', 'vm0'],
      ['network', 'tap', 'rm', 'vm0'],
    ],
  ];
  for (const [words, back] of ways) {
    const isMember = () => network('inspect', 'tiny').stdout.includes('"half"');
    // Its record is put into its place after the network's.
    for (let k = 1; !isMember(); k += 1) {
      expect(killBefore(host, ['create', 'half', '--network', 'tiny'], 'rename', k)).toBe(true);
    }
    const holder = host.spawn([
      'flock',
      '--no-fork',
      '/run/minict/.lock-half',
      'sh',
      '-c',
      'echo held; exec sleep infinity',
    ]);
    await (holder.stdout as ReadableStream).getReader().read();
    await refused(words, /is full|taken by container half/);
    holder.kill();
    await holder.exited;
    expect(host.minict(...words)).toMatchObject({ status: 0, stderr: '' });
    expect(isMember()).toBe(false);
    expect(existsSync(join(host.root, 'containers/half'))).toBe(false);
    await refused(['create', 'z', '--network', 'tiny'], /is full\nhint: minict network inspect tiny\n/);
    expect(host.minict(...back).status).toBe(0);
  }
  expect(host.minict('rm', 'x').status).toBe(0);
  expect(network('rm', 'tiny').status).toBe(0);
});

test("the next hop that is asked for is nobody's automatic address", () => {
  expect(network('create', 'routed', '--subnet', '10.66.0.0/24', '--gateway', 'none').status).toBe(0);
  create('n', '--nic', 'routed,gateway=10.66.0.1');
  expect(addressesOf('n', 'eth0')).toEqual(['10.66.0.2/24']);
  host.minict('rm', 'n');
  expect(network('rm', 'routed').status).toBe(0);
});

test('without a gateway the first address is left to a router, while another one is free', () => {
  const subnets = ['--subnet', '10.66.0.0/30', '--subnet', 'fd66::/64'];
  expect(network('create', 'routed', ...subnets, '--gateway', 'none').status).toBe(0);
  create('n', '--network', 'routed');
  create('m', '--network', 'routed');
  expect(['n', 'm'].map((name) => addressesOf(name, 'eth0').filter((address) => !address.startsWith('fe80')))).toEqual([
    ['10.66.0.2/30', 'fd66::2/64'],
    ['10.66.0.1/30', 'fd66::3/64'],
  ]);
  expect(host.minict('rm', 'n', 'm').status).toBe(0);
  expect(network('rm', 'routed').status).toBe(0);
});

test('a network comes back after its bridge was removed by hand, and after a reboot', () => {
  expect(host.run(['ip', 'link', 'del', 'lan']).status).toBe(0);
  expect(JSON.parse(network('ls', '--format', 'json').stdout)).toContainEqual(
    expect.objectContaining({ name: 'lan', state: 'missing' }),
  );
  expect(host.minict('ps').stdout).toMatch(/a +broken \(missing: a-eth0 in bridge lan/);
  expect(host.minict('start', 'a', 'b').status).toBe(0);
  expect(pings('a', 'b')).toBe(true);
});

test('scripts of network create and rm, connect and disconnect leave the kernel as the verbs do', async () => {
  const kernel = () => kernelView(host, 'a');
  const runScript = (script: string) =>
    expect(host.run(['sh'], {}, script)).toEqual({ status: 0, stdout: '', stderr: '' });
  const both = async (words: readonly string[], back: readonly string[]) => {
    const [before, script] = [kernel(), printScript(host, 'network', ...words, '--dry-run')];
    const undo = printScript(host, 'network', ...words, '--dry-run-undo');
    runScript(script);
    const scripted = kernel();
    expect(scripted).not.toEqual(before);
    runScript(undo);
    await linksSettle(host);
    expect(kernel()).toEqual(before);
    expect(network(...words).status).toBe(0);
    expect(kernel()).toEqual(scripted);
    runScript(printScript(host, 'network', ...back, '--dry-run'));
    expect(kernel()).toEqual(before);
    expect(network(...back).status).toBe(0);
    expect(kernel()).toEqual(before);
  };
  // From then on it has a hosts file of its own, which is mounted once.
  expect(network('connect', 'inner', 'a').status).toBe(0);
  expect(network('disconnect', 'inner', 'a').status).toBe(0);
  await both(['create', 'drawn', '--subnet', '10.77.0.0/24'], ['rm', 'drawn']);
  await both(['connect', 'inner', 'a'], ['disconnect', 'inner', 'a']);
});

test('a connect that fails leaves the mounts and the hosts file of a container that was in one network', () => {
  create('once', '--network', 'lan');
  const [before, hosts] = [kernelView(host, 'once'), hostsOf('once')];
  for (const fault of FAILURES) {
    const { status, tool } = runWithFault(host, ['network', 'connect', 'inner', 'once'], fault, 1);
    expect([fault, status, tool]).toEqual([fault, 125, 'ip']);
    expect(kernelView(host, 'once')).toEqual(before);
    expect(hostsOf('once')).toBe(hosts);
  }
  expect(network('connect', 'inner', 'once').status).toBe(0);
  expect(hostsOf('once')).toContain('# network inner\n');
  expect(host.minict('rm', 'once').status).toBe(0);
});

test.each<[string[], RegExp]>([
  [['create', 'lan'], /it is there already/],
  [['create', 'new', '--subnet', '10.1.0.128/25'], /another network's overlaps/],
  [
    ['create', 'new', '--subnet', '10.2.0.5/24'],
    /10\.2\.0\.5 is an address in 10\.2\.0\.0\/24\nhint: --subnet 10\.2\.0\.0\/24; with --gateway 10\.2\.0\.5 /,
  ],
  [['create', 'new', '--subnet', 'fd00:2::1/64'], /fd00:2::1 is an address in fd00:2::\/64/],
  [['create', 'new', '--subnet', '10.2.0.0/24', '--subnet', '10.3.0.0/24'], /a second one of its family/],
  [['create', 'new', '--subnet', '10.2.0.0/33'], /prefix length/],
  [['create', 'new', '--subnet', 'lan'], /not an IPv4 address/],
  [['create', 'new', '--subnet', '127.1.0.0/24'], /127\.0\.0\.0\/8 is not for networks\nhint: /],
  [['create', 'new', '--subnet', '239.1.0.0/24', '--gateway', 'none'], /224\.0\.0\.0\/4 is not for networks/],
  [['create', 'new', '--subnet', 'ff05::/64'], /ff00::\/8 is not for networks/],
  [['create', 'new', '--subnet', 'fe80::/64'], /fe80::\/10 is not for networks/],
  [['create', 'new', '--subnet', '10.2.0.0/24', '--gateway', '10.3.0.1'], /outside the network's subnets/],
  [['create', 'new', '--internal', '--gateway', '10.3.0.1'], /together/],
  [['create', 'new', '--subnet', 'fd00:9::/64', '--mtu', '1200'], /MTU 1200: IPv6 needs 1280\nhint: /],
  [['create', 'new', '--bridge', 'nobridge'], /the host has none of that name/],
  [['create', 'new', '--bridge', 'lo'], /it is hardware/],
  [['create', 'new', '--uplink', 'lo'], /it is the loopback/],
  [['create', 'new', '--bridge', 'lan', '--uplink', 'lo'], /--uplink and --bridge together/],
  [['create', 'none'], /a word of its own/],
  [['create', '../x'], /not a valid name/],
  [['create', 'lo'], /the host has an interface lo/],
  [['rm', 'lan'], /in use by a, b\nhint: minict network disconnect lan a/],
  [['rm', 'nonet'], /no such network\nhint: minict network ls; minict network create nonet\n/],
  [['rm', 'default'], /a word of its own\nhint: .*the default network, which is minict0\n/],
  [['rm', 'default', '--dry-run'], /a word of its own/],
  [['connect', 'nonet', 'a'], /no such network/],
  [['connect', 'lan', 'nobody'], /no such container/],
  [['connect', 'lan', 'a', '--name', 'eth0'], /a has one of that name/],
  [['connect', 'lan', 'a', '--name', 'x'.repeat(16)], /not a valid name/],
  [['connect', 'lan', 'a', '--ip', '10.1.0.9'], /taken by container b/],
  [['connect', 'lan', 'a', '--ip', '10.1.0.2'], /taken by a's eth0/],
  [['connect', 'lan', 'a', '--ip', '10.5.0.2'], /outside network lan/],
  [['connect', 'lan', 'a', '--gateway', '10.1.0.77'], /another gateway: a has a default route by eth0\nhint: /],
  [['disconnect', 'inner', 'a'], /it has no interface in network inner/],
  [['disconnect', 'lan', 'a', '--name', 'eth7'], /no interface eth7/],
])('network %j is refused, and changes nothing', async (words, message) => {
  await refused(['network', ...words], message);
});

test.each<[string[], RegExp]>([
  [['--network', 'nonet'], /no such network/],
  [['--nic', 'lan,color=red'], /'color=red' is no setting/],
  [['--nic', 'lan,name=a,name=b'], /name twice/],
  [['--nic', 'lan,name=eth0', '--nic', 'lan,name=eth0'], /interface name eth0/],
  [['--nic', 'lan,gateway=10.1.0.4', '--nic', 'lan,gateway=10.1.0.5'], /two gateways/],
  // The bridge would take on the least of its ports, and lose its IPv6 address.
  [['--nic', 'lan,ip=none,mtu=1200'], /MTU 1200: IPv6 needs 1280\nhint: /],
  [['--nic', 'lan', '--ip', '10.1.0.5'], /without --network\nhint: --nic/],
  [['--no-network', '--nic', 'lan'], /--nic and --no-network together/],
])('create %j is refused, and leaves nothing', async (words, message) => {
  await refused(['create', 'bad', ...words], message);
});

test('twenty connects at once: twenty interfaces with addresses of their own', async () => {
  create('many', '--no-network');
  const done = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      host.spawn([MINICT, 'network', 'connect', index % 2 === 0 ? 'lan' : 'inner', 'many']),
    ).map(async (child) => [await child.exited, await new Response(child.stdout as ReadableStream).text()] as const),
  );
  expect(done.map(([status]) => status)).toEqual(Array(20).fill(0));
  expect(new Set(done.map(([, stdout]) => stdout)).size).toBe(20);
  const names = ip('-n', 'many', 'link').map(({ ifname }) => ifname);
  expect(names).toHaveLength(21);
  const all = names.slice(1).flatMap((name) => addressesOf('many', name as string));
  expect(new Set(all).size).toBe(all.length);
  expect(host.minict('rm', 'many').status).toBe(0);
});

test('removed, nothing is left of them', () => {
  expect(host.minict('rm', 'a', 'b').status).toBe(0);
  expect(network('prune').status).toBe(0);
  expect(network('ls', '-q').stdout).toBe('');
  expect(ip('link').map(({ ifname }) => ifname)).toEqual(expect.not.arrayContaining(['lan', 'inner', 'minict0']));
});
