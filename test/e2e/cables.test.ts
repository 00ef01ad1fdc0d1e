/** Cables between two containers: who comes first, who goes first, carrier, what a stop and a start keep. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefusedThere } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';
import { readIp } from '../helpers/links.ts';

let host: Host;
const create = (...words: string[]) => expectCreated(host, ...words);
const does = (...words: string[]) => expect(host.minict(...words)).toMatchObject({ status: 0, stderr: '' });
const pings = (from: string, to: string) => host.minict('exec', from, 'ping', '-c1', '-W5', to).status === 0;
const stateOf = (name: string, dev: string) => readIp(host, '-n', name, 'link', 'show', 'dev', dev)[0]?.operstate;
const linksOf = (name: string) => readIp(host, '-n', name, 'link').map(({ ifname }) => ifname);
const addresses = (name: string, dev: string) =>
  (readIp(host, '-n', name, 'addr', 'show', 'dev', dev)[0]?.addr_info ?? [])
    .filter(({ scope }) => scope === 'global')
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`);
const routes = (name: string, family: string) => host.run(['ip', '-n', name, family, 'route']).stdout;
/** Loose ends on the host. */
const loose = () => readIp(host, 'link').filter(({ ifname }) => ifname !== 'lo');
const broken = () => host.minict('ps', '-a').stdout.includes('broken');

beforeAll(async () => {
  host = await Host.create();
});
afterAll(() => host.destroy());

const R1 = ['r1', '--nic', 'p2p:r2,name=eth2,ip=10.0.12.1/30,ip=fd00:12::1/64', '--route', '10.9.0.0/16,via=10.0.12.2'];
const R2 = ['r2', '--nic', 'p2p:r1,name=eth5,ip=10.0.12.2/30,ip=fd00:12::2/64,gateway=10.0.12.1'];

test('who comes first has an interface without carrier; its other end waits on the host, and says whose it is', () => {
  create(...R1);
  expect(addresses('r1', 'eth2')).toEqual(['10.0.12.1/30', 'fd00:12::1/64']);
  expect(readIp(host, '-n', 'r1', 'link', 'show', 'dev', 'eth2')[0]?.flags).toContain('NO-CARRIER');
  expect(loose()).toEqual([expect.objectContaining({ ifalias: expect.stringMatching(/^minict:[^:]+:p2p:r1:r2$/) })]);
  expect(broken()).toBe(false);
  create(...R2);
  expect(loose()).toEqual([]);
  expect(stateOf('r1', 'eth2')).toBe('UP');
  expect(pings('r1', '10.0.12.2')).toBe(true);
  expect(pings('r2', 'fd00:12::1')).toBe(true);
  expect(routes('r2', '-4')).toContain('default via 10.0.12.1 dev eth5');
});

test('a stop takes the carrier; addresses and routes, also those set by hand, are there after the start', () => {
  expect(host.run(['ip', '-n', 'r1', 'route', 'add', '10.8.0.0/16', 'via', '10.0.12.2', 'table', '77']).status).toBe(0);
  expect(host.run(['ip', '-n', 'r1', 'route', 'add', 'fd08::/64', 'via', 'fd00:12::2']).status).toBe(0);
  expect(host.run(['ip', '-n', 'r1', 'addr', 'add', 'fd00:99::1/64', 'dev', 'eth2', 'nodad']).status).toBe(0);
  const [four, six] = [routes('r1', '-4'), routes('r1', '-6')];
  does('stop', '-t', '0', 'r1');
  expect(stateOf('r2', 'eth5')).toBe('DOWN');
  expect(addresses('r2', 'eth5')).toEqual(['10.0.12.2/30', 'fd00:12::2/64']);
  does('stop', '-t', '0', 'r1');
  does('start', 'r1');
  expect(stateOf('r2', 'eth5')).toBe('UP');
  expect(routes('r1', '-4')).toBe(four);
  expect(routes('r1', '-6')).toBe(six);
  expect(routes('r1', '-4').length).toBeGreaterThan(0);
  expect(host.run(['ip', '-n', 'r1', 'route', 'show', 'table', '77']).stdout).toContain('10.8.0.0/16 via 10.0.12.2');
  expect(pings('r1', '10.0.12.2')).toBe(true);
});

test('link ls: both ends, their addresses, and what is not up', () => {
  const rows = (...words: string[]) =>
    host
      .minict('link', 'ls', ...words)
      .stdout.trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/));
  const head = ['END', 'ADDRESSES', 'END', 'ADDRESSES', 'STATE'];
  const ends = ['r1:eth2', '10.0.12.1/30, fd00:12::1/64', 'r2:eth5', '10.0.12.2/30, fd00:12::2/64'];
  expect(rows()).toEqual([head, [...ends, 'up']]);
  does('link', 'down', 'r1:eth2');
  does('stop', '-t', '0', 'r2');
  expect(rows('r2')).toEqual([head, [...ends, 'r1:eth2 down, r2:eth5 down']]);
  expect(JSON.parse(host.minict('link', 'ls', '--format', 'json').stdout)).toMatchObject([
    {
      ends: [{ container: 'r1', nic: 'eth2', state: 'down' }, { container: 'r2' }],
      state: 'r1:eth2 down, r2:eth5 down',
    },
  ]);
  does('link', 'up', 'r1:eth2');
  create('other', '--no-network');
  expect(rows('other')).toEqual([head]);
  does('rm', 'other');
  expect(host.minict('link', 'ls', 'nobody').stderr).toMatch(/^minict: cannot find container nobody: /);
  does('rm', 'r2');
  expect(rows()).toEqual([head, ['r1:eth2', '10.0.12.1/30, fd00:12::1/64', 'r2', 'r2 has no end']]);
  create(...R2);
  expect(rows()).toEqual([head, [...ends, 'up']]);
});

test('who goes leaves its end: the other keeps its interface, and the next of that name takes the cable again', () => {
  does('rm', 'r1');
  expect(stateOf('r2', 'eth5')).toBe('DOWN');
  expect(addresses('r2', 'eth5')).toEqual(['10.0.12.2/30', 'fd00:12::2/64']);
  expect(loose()).toHaveLength(1);
  expect(broken()).toBe(false);
  create(...R1);
  expect(loose()).toEqual([]);
  expect(pings('r1', '10.0.12.2')).toBe(true);
});

test('what is removed by hand is missing at both ends, and start repairs them', () => {
  for (const [first, second] of [
    ['r1', 'r2'],
    ['r2', 'r1'],
  ] as const) {
    expect(host.run(['ip', '-n', 'r1', 'link', 'del', 'eth2']).status).toBe(0);
    expect(host.minict('ps').stdout).toMatch(/r1 +broken \(missing: eth2 inside\)/);
    expect(host.minict('ps').stdout).toMatch(/r2 +broken \(missing: eth5 inside\)/);
    expect(host.minict('link', 'ls').stdout).toMatch(/ {2}r1:eth2 missing, r2:eth5 missing\n$/);
    does('start', first);
    does('start', second);
    expect(broken()).toBe(false);
    expect(pings('r1', '10.0.12.2')).toBe(true);
    expect(loose()).toEqual([]);
  }
  // While it is stopped: what its stop wrote down was of another interface than the one that a start makes.
  does('stop', '-t', '0', 'r1');
  expect(host.run(['ip', '-n', 'r1', 'link', 'del', 'eth2']).status).toBe(0);
  does('start', 'r1');
  does('start', 'r2');
  expect(pings('r1', 'fd00:12::2')).toBe(true);
  expect(host.run(['ip', '-n', 'r1', 'link', 'set', 'eth2', 'down']).status).toBe(0);
  expect(host.minict('ps').stdout).toMatch(/r1 +broken \(missing: eth2 up\)/);
  does('start', 'r1');
  expect(pings('r1', '10.0.12.2')).toBe(true);
  expect(routes('r1', '-4')).toContain('10.9.0.0/16 via 10.0.12.2');
});

test('a cable while they run, and with one of them stopped; down, up, and gone', () => {
  expect(host.minict('link', 'r1:eth3,ip=10.0.13.0/31,mtu=9000', 'r2:eth3,ip=10.0.13.1/31')).toEqual({
    status: 0,
    stdout: 'r1:eth3 r2:eth3\n',
    stderr: '',
  });
  expect(pings('r1', '10.0.13.1')).toBe(true);
  // Over both of them: neither has it alone.
  const hops = (...via: string[]) =>
    via.flatMap((address, index) => ['nexthop', 'via', address, 'weight', `${index + 2}`]);
  const both = hops('10.0.12.2', '10.0.13.1');
  for (const words of [
    ['10.7.0.0/16', ...both],
    ['10.7.0.0/16', 'table', '77', 'metric', '5', ...both],
    ['fd07::/64', ...hops('fd00:12::2', 'fd00:12::3')],
  ]) {
    expect(host.run(['ip', '-n', 'r1', 'route', 'add', ...words])).toMatchObject({ status: 0, stderr: '' });
  }
  const overBoth = () =>
    ['-4', '-6']
      .map((family) => host.run(['ip', '-n', 'r1', family, '-o', 'route', 'show', 'table', 'all']).stdout)
      .flatMap((text) => text.split('\n').filter((line) => line.includes('nexthop')));
  const before = overBoth();
  expect(before.length).toBeGreaterThanOrEqual(3);
  does('stop', '-t', '0', 'r1');
  expect(overBoth()).toEqual([]);
  does('start', 'r1');
  expect(overBoth()).toEqual(before);
  does('link', 'down', 'r1:eth3');
  expect(stateOf('r2', 'eth3')).toBe('DOWN');
  expect(stateOf('r2', 'eth5')).toBe('UP');
  expect(broken()).toBe(false);
  does('link', 'down', 'r1:eth3');
  does('stop', '-t', '0', 'r1');
  does('start', 'r1');
  expect(stateOf('r2', 'eth3')).toBe('DOWN');
  does('link', 'up', 'r1:eth3');
  does('link', 'up', 'r1:eth3');
  expect(pings('r1', '10.0.13.1')).toBe(true);
  does('link', 'rm', 'r2:eth3');
  expect(linksOf('r1')).toEqual(['lo', 'eth2']);
  expect(linksOf('r2')).toEqual(['lo', 'eth5']);
  expect(loose()).toEqual([]);
  does('stop', '-t', '0', 'r2');
  does('link', 'r1:eth4,ip=10.0.14.1/30', 'r2:eth4,ip=10.0.14.2/30');
  expect(stateOf('r1', 'eth4')).toBe('DOWN');
  does('start', 'r2');
  expect(pings('r1', '10.0.14.2')).toBe(true);
  // What was written down by the stop is of an interface that is no more.
  does('stop', '-t', '0', 'r2');
  does('link', 'rm', 'r1:eth4');
  does('link', 'r1:eth4,ip=10.0.15.1/30', 'r2:eth4,ip=10.0.15.2/30');
  does('start', 'r2');
  expect(addresses('r2', 'eth4')).toEqual(['10.0.15.2/30']);
  expect(pings('r1', '10.0.15.2')).toBe(true);
  does('link', 'rm', 'r1:eth4');
  expect(pings('r1', '10.0.12.2')).toBe(true);
});

test('printed scripts do the same, and undo it', () => {
  const script = (...words: string[]) => {
    const { status, stdout } = host.minict('link', ...words);
    expect(status).toBe(0);
    expect(host.run(['sh', '-c', stdout])).toMatchObject({ status: 0 });
  };
  const ends = ['r1:eth6,ip=10.0.16.1/30', 'r2:eth6,ip=10.0.16.2/30'];
  script(...ends, '--dry-run');
  expect(pings('r1', '10.0.16.2')).toBe(true);
  script(...ends, '--dry-run-undo');
  expect(linksOf('r1')).toEqual(['lo', 'eth2']);
  expect(loose()).toEqual([]);
  script('down', 'r1:eth2', '--dry-run');
  expect(stateOf('r2', 'eth5')).toBe('DOWN');
  script('down', 'r1:eth2', '--dry-run-undo');
  expect(pings('r1', '10.0.12.2')).toBe(true);
  script('rm', 'r1:eth2', '--dry-run');
  expect(linksOf('r2')).toEqual(['lo']);
  script('rm', 'r1:eth2', '--dry-run-undo');
  expect(pings('r1', '10.0.12.2')).toBe(true);
  expect(broken()).toBe(false);
});

test('carrier of an interface in a network, whose routes stay', () => {
  create('l1');
  const before = routes('l1', '-4');
  does('link', 'down', 'l1:eth0');
  expect(stateOf('l1', 'eth0')).toBe('DOWN');
  expect(routes('l1', '-4').replaceAll(' linkdown', '')).toBe(before);
  expect(host.minict('ps').stdout).toMatch(/^l1 +ready \(down: eth0\)/m);
  expect(JSON.parse(host.minict('inspect', 'l1').stdout)[0].nics).toEqual([expect.objectContaining({ down: true })]);
  expect(JSON.parse(host.minict('network', 'inspect', 'minict0').stdout)[0].down).toEqual(['l1:eth0']);
  does('start', 'l1');
  expect(stateOf('l1', 'eth0')).toBe('DOWN');
  does('link', 'up', 'l1:eth0');
  expect(stateOf('l1', 'eth0')).toBe('UP');
  does('rm', 'l1');
  does('system', 'prune');
});

test('both made at once meet; both removed at once leave nothing', async () => {
  const at = (...lines: string[][]) =>
    Promise.all(lines.map((words) => host.spawn([MINICT, ...words]).exited)).then((all) => all.join());
  for (let round = 0; round < 8; round += 1) {
    const left = ['create', 's1', '--nic', 'p2p:s2,name=x0,ip=10.3.0.1/30', '--nic', 'p2p:s2,name=x1,ip=10.3.1.1/30'];
    const right = ['create', 's2', '--nic', 'p2p:s1,name=y0,ip=10.3.0.2/30', '--nic', 'p2p:s1,name=y1,ip=10.3.1.2/30'];
    expect(await at(left, right)).toBe('0,0');
    expect(pings('s1', '10.3.0.2')).toBe(true);
    expect(pings('s1', '10.3.1.2')).toBe(true);
    expect(await at(['rm', 's1'], ['rm', 's2'])).toBe('0,0');
    expect(loose()).toEqual([]);
  }
});

test('a clone has none of its cables; loaded under the same name elsewhere it has', () => {
  expect(host.minict('clone', 'r1', 'r3').stderr).toBe("minict: r3 is without r1's cable to r2, eth2 inside\n");
  expect(linksOf('r3')).toEqual(['lo']);
  does('rm', 'r3');
  does('save-container', 'r1', '-o', `${host.dir}/r1.tar`);
  does('rm', 'r1');
  does('load-container', '-i', `${host.dir}/r1.tar`, '--start');
  expect(pings('r1', '10.0.12.2')).toBe(true);
});

test('after a reboot they meet again, whoever starts first', async () => {
  await host.reboot();
  expect(host.minict('link', 'ls').stdout).toMatch(/ {2}r1:eth2 stopped, r2:eth5 stopped\n/);
  does('start', 'r2');
  expect(stateOf('r2', 'eth5')).toBe('DOWN');
  does('start', 'r1');
  expect(pings('r1', '10.0.12.2')).toBe(true);
  expect(loose()).toEqual([]);
});

test.each<[string[], RegExp]>([
  [['--nic', 'p2p:bad,ip=10.4.0.1/30'], /from bad to itself/],
  [['--nic', 'p2p:'], /not a valid name/],
  [['--nic', 'p2p:../x'], /not a valid name/],
  [['--nic', 'p2p:r2,ip=10.4.0.1'], /it needs a prefix length/],
  [['--nic', 'p2p:r2,ip=10.4.0.1/33'], /it needs a prefix length/],
  [['--nic', 'p2p:r2,ip=10.4.0.1/30', '--nic', 'p2p:r2,ip=10.4.0.1/30'], /taken by bad's eth0/],
  [['--nic', 'p2p:r2,ip=10.4.0.1/30,gateway=10.5.0.1'], /no address of the interface reaches it/],
  [['--nic', 'p2p:r2,ip=10.4.0.1/30,gateway=10.4.0.1'], /the container's own address/],
  [['--nic', 'p2p:r2,name=eth0', '--nic', 'p2p:r2,name=eth0'], /interface name eth0/],
])('create bad %j is refused, and leaves nothing', async (words, message) => {
  await expectRefusedThere(host, ['create', 'bad', ...words], message);
});

test.each<[string[], RegExp]>([
  [['r1:eth9', 'r1:eth8'], /from r1 to itself/],
  [['r1:eth9', 'nobody:eth8'], /no such container/],
  [['nobody:eth9', 'r1:eth8'], /no such container/],
  [['r1:eth9', 'r2:eth5'], /r2 has one of that name/],
  [['r1:eth2', 'r2:eth9'], /r1 has one of that name/],
  [['r1', 'r2:eth9'], /not CONTAINER:INTERFACE/],
  [['r1:eth9,color=red', 'r2:eth9'], /is no setting of it/],
  [['r1:eth9', 'r2:eth9,ip=10.0.12.2/30'], /taken by r2's eth5/],
  [['r1:eth9,mac=02:00:00:00:00:07', 'r2:eth9,mac=02:00:00:00:00:07'], /02:00:00:00:00:07: taken by r1's eth9/],
  [['r1:eth9'], /missing required argument/],
  [['down', 'r1:eth9'], /r1 has no interface eth9/],
  [['up', 'nobody:eth0'], /no such container/],
  [['rm', 'r1:eth9'], /r1 has no interface eth9/],
  [['rm', 'r1'], /not CONTAINER:INTERFACE/],
])('link %j is refused, and changes nothing', async (words, message) => {
  await expectRefusedThere(host, ['link', ...words], message);
});

test('removed, nothing is left of them', () => {
  does('rm', 'r1', 'r2');
  expect(loose()).toEqual([]);
});
