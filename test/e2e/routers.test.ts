/** Containers as routers: forwarding, static routes and settings inside, a container at the network's first address. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefusedThere } from '../helpers/expect.ts';
import { runWithFault } from '../helpers/faults.ts';
import { Host } from '../helpers/host.ts';
import { readIp } from '../helpers/links.ts';

let host: Host;
const create = (...words: string[]) => expectCreated(host, ...words);
const network = (...words: string[]) => expect(host.minict('network', ...words).status).toBe(0);
const pings = (from: string, to: string) => host.minict('exec', from, 'ping', '-c1', '-W5', to).status === 0;
const setting = (name: string, path: string) =>
  host.run(['ip', 'netns', 'exec', name, 'cat', `/proc/sys/net/${path}`]).stdout.trim();
const routesOf = (name: string) =>
  readIp(host, '-n', name, 'route').map(
    (route) => `${(route as unknown as { dst: string }).dst} ${route.gateway ?? route.dev}`,
  );

beforeAll(async () => {
  host = await Host.create();
  network('create', 'lan', '--subnet', '192.168.7.0/24', '--gateway', 'none');
  network('create', 'wan', '--subnet', '10.7.0.0/24', '--subnet', 'fd00:7::/64', '--gateway', 'none');
});
afterAll(() => host.destroy());

const R1 = [
  ...['--nic', 'lan,ip=192.168.7.1,name=eth0', '--nic', 'wan,ip=10.7.0.1,ip=fd00:7::1,name=eth1'],
  ...['--router', '--route', '10.2.0.0/16,via=10.7.0.2', '--route', 'fd00:2::/64,via=fd00:7::2'],
  ...['--route', '10.3.0.0/16,dev=eth1'],
  ...['--sysctl', 'net.ipv4.conf.all.rp_filter=0', '--sysctl', 'net.ipv4.conf.eth1.rp_filter=2'],
  ...['--sysctl', 'net.ipv4.ping_group_range=0 100', '--sysctl', 'net/ipv4/conf/default/rp_filter=1'],
];

function expectRouter(name: string): void {
  expect(setting(name, 'ipv4/ip_forward')).toBe('1');
  expect(setting(name, 'ipv6/conf/eth1/forwarding')).toBe('1');
  expect(setting(name, 'ipv4/conf/all/rp_filter')).toBe('0');
  expect(setting(name, 'ipv4/conf/eth0/rp_filter')).toBe('1');
  expect(setting(name, 'ipv4/conf/eth1/rp_filter')).toBe('2');
  expect(setting(name, 'ipv4/ping_group_range')).toBe('0\t100');
  expect(routesOf(name)).toEqual(expect.arrayContaining(['10.2.0.0/16 10.7.0.2', '10.3.0.0/16 eth1']));
  expect(host.run(['ip', '-n', name, '-6', 'route']).stdout).toContain('fd00:2::/64 via fd00:7::2 dev eth1');
}

test('two hosts reach each other through a router, and the host itself does not forward more than before', () => {
  const before = readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8');
  const inHost = () =>
    host.run(['cat', '/proc/sys/net/ipv4/ip_forward', '/proc/sys/net/ipv6/conf/all/forwarding']).stdout;
  const hostBefore = inHost();
  create('r1', ...R1);
  create('h1', '--nic', 'lan,gateway=192.168.7.1');
  create('h2', '--nic', 'wan,gateway=10.7.0.1,gateway=fd00:7::1');
  expectRouter('r1');
  expect(pings('h1', '10.7.0.2')).toBe(true);
  expect(inHost()).toBe(hostBefore);
  expect(readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8')).toBe(before);
  // Nobody of the host's is in a network without a gateway.
  expect(readIp(host, '-4', 'addr', 'show', 'dev', 'lan')).toEqual([]);
  expect(JSON.parse(host.minict('inspect', 'r1').stdout)[0]).toMatchObject({
    router: true,
    routes: [
      { to: '10.2.0.0/16', via: '10.7.0.2' },
      { to: 'fd00:2::/64', via: 'fd00:7::2' },
      { to: '10.3.0.0/16', dev: 'eth1' },
    ],
    sysctls: { 'net.ipv4.conf.all.rp_filter': '0' },
  });
});

test('it forwards IPv6 at once: nothing has to be looked for where there are containers alone', async () => {
  const linkLocal = (name: string) => host.run(['ip', '-n', name, '-6', 'addr', 'show', 'scope', 'link']).stdout;
  create('r6', '--nic', 'wan', '--nic', 'p2p:r7,ip=fd00:6::1/64,name=p0', '--router');
  const isReady = () => /^(\d+: (eth0|p0)@.*\n +inet6 fe80::\S+ scope link nodad \n.*\n){2}$/.test(linkLocal('r6'));
  expect(isReady(), linkLocal('r6')).toBe(true);
  expect(host.minict('stop', '-t', '0', 'r6').status).toBe(0);
  expect(host.minict('start', 'r6').status).toBe(0);
  expect(isReady(), linkLocal('r6')).toBe(true);
  // Beyond an uplink there may be somebody who has it.
  for (const words of ['link add name up0 type veth peer name far0', 'link set far0 up']) {
    expect(host.run(['ip', ...words.split(' ')]).status).toBe(0);
  }
  network('create', 'out', '--uplink', 'up0', '--subnet', 'fd00:8::/64');
  expect(host.minict('network', 'connect', 'out', 'r6', '--name', 'out0').status).toBe(0);
  expect(linkLocal('r6')).toMatch(/out0@.*\n +inet6 fe80::\S+ scope link (tentative )?(proto kernel_ll )?\n/);
  expect(host.minict('rm', 'r6').status).toBe(0);
  network('rm', 'out');
  expect(host.run(['ip', 'link', 'del', 'up0']).status).toBe(0);
});

test('stop and start keep it; an interface that was removed by hand comes back with its routes and settings', () => {
  expect(host.minict('stop', '-t', '0', 'r1').status).toBe(0);
  expect(host.minict('start', 'r1').status).toBe(0);
  expectRouter('r1');
  expect(host.run(['ip', '-n', 'r1', 'link', 'del', 'eth1']).status).toBe(0);
  expect(host.minict('start', 'r1')).toMatchObject({ status: 0, stderr: '' });
  expectRouter('r1');
  expect(host.minict('ps', '--format', 'json').stdout).not.toContain('broken');
});

test('start puts back addresses and routes that somebody took away inside, and leaves those that were changed', () => {
  const ip = (...words: string[]) => expect(host.run(['ip', '-n', 'r1', ...words])).toMatchObject({ status: 0 });
  const inside = () => ['-4', '-6'].map((family) => host.run(['ip', '-n', 'r1', family, 'route']).stdout.split('\n'));
  const before = inside();
  ip('addr', 'del', '10.7.0.1/24', 'dev', 'eth1');
  ip('-6', 'addr', 'flush', 'dev', 'eth1');
  ip('route', 'replace', '10.3.0.0/16', 'via', '192.168.7.9');
  ip('addr', 'add', '10.7.0.77/24', 'dev', 'eth1');
  const script = host.minict('start', 'r1', '--dry-run').stdout;
  expect(script).toMatch(/# its address\nip -n r1 addr replace 10\.7\.0\.1\/24 /);
  expect(script).not.toMatch(/10\.3\.0\.0|192\.168\.7\.1/);
  expect(host.minict('start', 'r1')).toEqual({ status: 0, stdout: 'r1\n', stderr: '' });
  expect(routesOf('r1')).toContain('10.3.0.0/16 192.168.7.9');
  expect(host.run(['ip', '-n', 'r1', 'addr']).stdout).toContain('inet 10.7.0.77/24');
  ip('route', 'del', '10.3.0.0/16');
  ip('addr', 'del', '10.7.0.77/24', 'dev', 'eth1');
  // The script is the same as the verb.
  const again = host.minict('start', 'r1', '--dry-run').stdout;
  expect(host.run(['sh'], {}, again)).toEqual({ status: 0, stdout: '', stderr: '' });
  expectRouter('r1');
  const sorted = (all: string[][]) => all.map((lines) => lines.toSorted());
  expect(sorted(inside())).toEqual(sorted(before));
  const done = host.minict('--verbose', 'start', 'r1');
  expect(done).toMatchObject({ status: 0 });
  expect(done.stderr).not.toMatch(/ addr | route /);
  // One that fails takes nothing along: no interface is made anew for it.
  const links = () => readIp(host, '-n', 'r1', 'link').map((link) => (link as unknown as { ifindex: number }).ifindex);
  const these = links();
  for (let at = 1; ; at += 1) {
    ip('route', 'del', '10.2.0.0/16');
    const { tool, status, stderr } = runWithFault(host, ['start', 'r1'], 'fails before it does anything', at);
    if (tool === undefined) break;
    // What others say of mounts has nothing to do with it.
    if (tool === 'ip')
      expect([status, stderr]).toEqual([125, expect.stringMatching(/^minict: cannot .*injected.*\n$/)]);
    expect(host.minict('start', 'r1'), tool).toMatchObject({ status: 0, stderr: '' });
    expectRouter('r1');
  }
  expect(links()).toEqual(these);
});

test('a clone, and one that was saved and loaded, are routers too', () => {
  expect(host.minict('clone', 'r1', 'r2').status).toBe(0);
  expectRouter('r2');
  expect(host.minict('save-container', 'r1', '-o', `${host.dir}/r1.tar`).status).toBe(0);
  expect(host.minict('load-container', '-i', `${host.dir}/r1.tar`, '--name', 'r3', '--start').status).toBe(0);
  expectRouter('r3');
  expect(host.minict('rm', 'r2', 'r3').status).toBe(0);
});

test('a printed script makes the same router', () => {
  const script = host.minict(
    'create',
    'r4',
    '--dry-run',
    '--router',
    '--no-network',
    '--sysctl',
    'net.ipv4.ip_default_ttl=33',
  );
  expect(script.stdout).toContain('ip netns exec r4 sh -c');
  expect(host.run(['sh', '-c', script.stdout])).toMatchObject({ status: 0 });
  expect(setting('r4', 'ipv4/ip_default_ttl')).toBe('33');
  expect(setting('r4', 'ipv4/ip_forward')).toBe('1');
  const back = host.minict('create', 'r4', '--dry-run-undo', '--no-network').stdout;
  expect(host.run(['sh', '-c', back]).status).toBe(0);
});

test('after a reboot it is what it was', async () => {
  await host.reboot();
  expect(host.minict('start', 'r1', 'h1', 'h2').status).toBe(0);
  expectRouter('r1');
  expect(pings('h1', '10.7.0.2')).toBe(true);
});

test.each<[string[], RegExp]>([
  [['--route', '10.2.0.0/16'], /without a next hop/],
  [['--route', '10.2.0.0/16,via=10.99.0.1'], /no interface reaches 10\.99\.0\.1/],
  [['--route', '10.2.0.0/16,dev=eth7'], /there is no interface eth7/],
  [['--route', '10.2.0.1/16,via=10.7.0.1'], /10\.2\.0\.1 is an address in 10\.2\.0\.0\/16/],
  [['--route', 'default,via=10.7.0.1'], /a default route is an interface's/],
  [['--route', '0.0.0.0/0,via=10.7.0.1'], /a default route is an interface's/],
  [['--route', '10.2.0.0/33,via=10.7.0.1'], /no prefix length/],
  [['--route', '10.2.0.0/16,via=fd00:7::1'], /of the other family/],
  [['--route', '10.2.0.0/16,via=10.7.0.1,color=red'], /'color=red' is no setting/],
  [['--route', '10.2.0.0/16,via=10.7.0.1,via=10.7.0.2'], /is no setting/],
  [['--route', '10.2.0.0/16,dev=a b'], /not a valid name/],
  [['--route', '10.2.0.0/16,via=10.7.0.1', '--route', '10.2.0.0/16,dev=eth0'], /there are two of it\nhint: /],
  [['--sysctl', 'kernel.pid_max=99'], /not of a network namespace/],
  [['--sysctl', 'net.ipv4/../../kernel/x=1'], /not the name of one/],
  [['--sysctl', 'net/../kernel/pid_max=1'], /not the name of one/],
  [['--sysctl', 'net.ipv4.ip_forward'], /not KEY=VALUE/],
  [['--sysctl', 'net.ipv4.ip_forward='], /not one line/],
  [['--sysctl', 'net.ipv4.ip_forward=1\n2'], /not one line/],
  [['--sysctl', 'net.ipv4.nope=1'], /nope: No such file or directory/],
  [['--sysctl', 'net.core.rmem_max=abc'], /rmem_max: /],
])('create --nic wan %j is refused, and leaves nothing', async (words, message) => {
  await expectRefusedThere(host, ['create', 'bad', '--nic', 'wan', ...words], message);
});

test('network create --gateway none and an address is refused', async () => {
  const words = ['network', 'create', 'new', '--subnet', '10.9.0.0/24', '--gateway', 'none', '--gateway', '10.9.0.1'];
  await expectRefusedThere(host, words, /none and another one together/);
});
