/** Network cards of the host's inside containers; a veth's end stands for one. They come back as they were, whatever happens. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { expectCreated, expectRefusedThere } from '../helpers/expect.ts';
import { eventually, Host } from '../helpers/host.ts';
import { readIp } from '../helpers/links.ts';

let host: Host;
const ip = (...words: string[]) => expect(host.run(['ip', ...words])).toMatchObject({ status: 0 });
const does = (...words: string[]) => expect(host.minict(...words)).toMatchObject({ status: 0, stderr: '' });
const CARD = { ifname: 'card0', address: '02:00:00:00:0c:00', mtu: 1400 };
const expectBack = (state = 'UP') => {
  const [card] = readIp(host, 'link', 'show', 'dev', 'card0');
  expect(card).toMatchObject(CARD);
  expect(card?.flags.includes('UP')).toBe(state === 'UP');
};
const create = (name: string, ...words: string[]) =>
  expectCreated(host, name, '--nic', 'phys:card0,name=eth1,ip=10.6.0.1/24,mac=02:00:00:00:00:99,mtu=1300', ...words);

beforeAll(async () => {
  host = await Host.create();
});
afterAll(() => host.destroy());
beforeEach(() => {
  host.minict('rm', '-f', 'n1', 'n2');
  host.run(['ip', 'link', 'del', 'far0']);
  ip('link', 'add', 'name', 'card0', 'address', CARD.address, 'mtu', '1400', 'type', 'veth', 'peer', 'name', 'far0');
  ip('link', 'set', 'card0', 'up');
  ip('link', 'set', 'far0', 'up');
  ip('addr', 'add', '10.6.0.2/24', 'dev', 'far0');
});

/** Of the card; 1: it makes up no link-local address (`addrgenmode none`). */
const SYSCTLS = ['net.ipv4.conf.card0.rp_filter = 2', 'net.ipv6.conf.card0.addr_gen_mode = 1'];
const sysctlsOf = () => host.run(['sysctl', ...SYSCTLS.map((line) => line.split(' ')[0] as string)]).stdout;

test('it moves in with a name, addresses, MAC and MTU of its own, and comes back as it was', () => {
  for (const line of SYSCTLS) host.run(['sysctl', '-qw', line.replaceAll(' ', '')]);
  create('n1');
  expect(readIp(host, '-n', 'n1', 'link', 'show', 'dev', 'eth1')[0]).toMatchObject({
    address: '02:00:00:00:00:99',
    mtu: 1300,
  });
  expect(readIp(host, 'link').map(({ ifname }) => ifname)).not.toContain('card0');
  expect(host.minict('exec', 'n1', 'ping', '-c1', '-W5', '10.6.0.2').status).toBe(0);
  does('stop', '-t', '0', 'n1');
  expect(readIp(host, 'link', 'show', 'dev', 'far0')[0]?.operstate).not.toBe('UP');
  does('start', 'n1');
  expect(host.minict('exec', 'n1', 'ping', '-c1', '-W5', '10.6.0.2').status).toBe(0);
  does('rm', 'n1');
  expectBack();
  expect(sysctlsOf()).toBe(`${SYSCTLS.join('\n')}\n`);
});

test('one that was down comes back down; link rm gives it back while the container runs', () => {
  ip('link', 'set', 'card0', 'down');
  create('n1');
  does('link', 'rm', 'n1:eth1');
  expectBack('DOWN');
  does('rm', 'n1');
});

test('it comes back from a container with processes, and from one whose namespace a process of the host holds', () => {
  create('n1', '--', 'sleep', '300');
  does('start', 'n1');
  const holder = host.spawn(['ip', 'netns', 'exec', 'n1', 'sleep', '300']);
  does('rm', '-f', 'n1');
  expectBack();
  holder.kill();
});

test('where its name is taken meanwhile, rm says so and keeps it, and the next rm gives it back', () => {
  create('n1');
  ip('link', 'add', 'name', 'card0', 'type', 'bridge');
  const refused = host.minict('rm', 'n1');
  expect(refused.status).toBe(125);
  expect(refused.stderr).toMatch(
    /^minict: cannot remove n1: card0 is back as mct\w+, since the host has another card0\n/,
  );
  ip('link', 'del', 'card0');
  expect(host.minict('rm', 'n1')).toMatchObject({ status: 0 });
  expectBack();
});

test('the kernel gives it back under the name that it had inside: rm gives it its own', () => {
  create('n1');
  const hostPid = `/proc/${(host as unknown as { pid: number }).pid}/ns/net`;
  ip('-n', 'n1', 'link', 'set', 'eth1', 'netns', hostPid);
  expect(host.run(['umount', '/run/netns/n1']).status).toBe(0);
  expect(host.minict('ps', '-a').stdout).toMatch(/n1 +broken/);
  expect(host.minict('rm', '-f', 'n1').status).toBe(0);
  expectBack();
});

test('where its namespace has lost its file, and processes are in it, rm takes it out all the same', async () => {
  create('n1', '--', 'sleep', '300');
  does('start', 'n1');
  expect(await eventually(() => host.run(['ip', 'netns', 'pids', 'n1']).stdout !== '')).toBe(true);
  expect(host.run(['umount', '/run/netns/n1']).status).toBe(0);
  expect(host.minict('ps').stdout).toMatch(/n1 +broken/);
  does('rm', '-f', 'n1');
  expectBack();
});

test('one that vanished is missing, start says so, and rm goes on', () => {
  create('n1');
  ip('-n', 'n1', 'link', 'del', 'eth1');
  expect(host.minict('ps').stdout).toMatch(/n1 +broken \(missing: eth1 inside\)/);
  const refused = host.minict('start', 'n1');
  expect(refused.status).toBe(125);
  expect(refused.stderr).toMatch(/^minict: cannot start n1: .*card0.*\n/);
  does('rm', 'n1');
});

test('it is there again after a reboot, and start takes it', async () => {
  create('n1');
  await host.reboot();
  ip('link', 'add', 'name', 'card0', 'address', CARD.address, 'mtu', '1400', 'type', 'veth', 'peer', 'name', 'far0');
  does('start', 'n1');
  expect(readIp(host, '-n', 'n1', 'link', 'show', 'dev', 'eth1')).toHaveLength(1);
  does('rm', 'n1');
  expectBack();
});

test('what the host uses, and what another container has, is refused', async () => {
  const refused = (device: string, message: RegExp) =>
    expectRefusedThere(host, ['create', 'n2', '--nic', `phys:${device}`], message);
  await refused('nocard', /the host has none of that name/);
  await refused('lo', /it is the loopback/);
  await refused('far0', /the host has the address 10\.6\.0\.2\/24 on it/);
  await refused('a b', /not the name of one/);
  await refused('', /not the name of one/);
  await refused('../x', /not the name of one/);
  ip('route', 'add', 'default', 'dev', 'card0');
  await refused('card0', /it carries the host's default route/);
  ip('route', 'del', 'default');
  // Of the host's own traffic, by a rule.
  ip('route', 'add', 'default', 'dev', 'card0', 'table', '77');
  await refused('card0', /it carries the host's default route\nhint: ip route show table all default\n/);
  ip('route', 'del', 'default', 'table', '77');
  // The way to the host's default route would go along.
  ip('link', 'add', 'link', 'card0', 'name', 'child0', 'type', 'macvlan');
  await refused('card0', /the host's child0 is on it\nhint: ip link del dev child0\n/);
  ip('link', 'del', 'child0');
  does('network', 'create', 'lan');
  await refused('lan', /has the address|a bridge/);
  ip('link', 'set', 'card0', 'master', 'lan');
  await refused('card0', /it is a port of lan/);
  ip('link', 'set', 'card0', 'nomaster');
  expectCreated(host, 'c1', '--nic', 'p2p:c2');
  const end = readIp(host, 'link').find(({ ifname }) => ifname.startsWith('mct'))?.ifname as string;
  await refused(end, /it is minict's own/);
  does('rm', 'c1');
  does('network', 'rm', 'lan');
  create('n1');
  await refused('card0', /container n1 has it\nhint: minict rm n1 gives it back/);
  does('stop', '-t', '0', 'n1');
  await refused('card0', /container n1 has it/);
  await expectRefusedThere(host, ['create', 'n2', '--nic', 'phys:card0', '--nic', 'phys:card0'], /container n1 has it/);
});
