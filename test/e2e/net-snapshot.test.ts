/** net snapshot, diff, rollback: every kind of setting, read from the kernel by the tools themselves. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { expectCreated, expectRefused } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
});
afterAll(() => host.destroy());
beforeEach(() => {
  expectCreated(host, 'w1', '--ip', '192.168.0.10');
  sh('ip link add name eth1 type veth peer name eth2; ip link set eth1 up; ip link set eth2 up');
});
afterEach(() => void host.minict('rm', '-f', 'w1'));

const net = (...words: string[]) => host.minict('net', ...words);

/** Commands in the container's network namespace. */
function sh(commands: string): string {
  const result = host.run(['nsenter', '--net=/run/netns/w1', 'sh', '-ec', commands]);
  expect(result).toMatchObject({ status: 0, stderr: '' });
  return result.stdout;
}

function snapshot(name: string): void {
  expect(net('snapshot', 'w1', name)).toEqual({ status: 0, stdout: `${name}\n`, stderr: '' });
}

function expectSame(name: string): void {
  expect(net('diff', 'w1', name)).toEqual({ status: 0, stdout: '', stderr: '' });
}

function expectRolledBack(name: string): void {
  expect(net('rollback', 'w1', name)).toEqual({ status: 0, stdout: 'w1\n', stderr: '' });
  expectSame(name);
}

/** What the tools say of all settings, without numbers that are handed out anew and what IPv6 makes up by itself. */
function kernel(): string {
  const said = sh(`ip -d link; ip -4 address; ip -o -6 address | grep -v ff:fe | sort
    ip -4 route show table all; ip -6 route show table all | grep -Ev '^local|^fe80::/64' | sort; ip -4 rule; ip -6 rule
    ip neigh show nud permanent | sort; ip neigh show proxy; ip mptcp limits; ip mptcp endpoint
    nft -s list ruleset; tc qdisc; tc class show dev eth0 | sort; tc filter show dev eth0; tc filter show dev eth1 egress
    sysctl -a 2>/dev/null | grep -E '^net.*(forward|rp_filter|somaxconn|tcp_rmem|gc_stale|accept_ra )'`);
  return said.replace(/ (tentative|dadfailed|linkdown|direct_packets_stat \d+)\b|^\tindex .*\n/gm, '');
}

/** Something of every kind. */
const RICH = `ip address add 10.0.0.1/24 brd + dev eth0; ip address add 10.0.0.3/24 dev eth0 label eth0:1
  ip address add 10.9.0.1 peer 10.9.0.2/32 dev eth1; ip address add 2001:db8::1/64 dev eth0 nodad
  ip address add fe80::1/64 dev eth0 noprefixroute nodad; ip address add 2001:db8:1::1/128 dev eth1 preferred_lft 0 nodad metric 77
  ip link set eth1 mtu 1400 txqueuelen 77 address 02:00:00:00:00:77
  ip route add 10.20.0.0/16 nexthop via 10.0.0.5 weight 2 nexthop via 10.0.0.6
  ip route add default via 10.0.0.8 table 100 metric 5 mtu lock 1400; ip route add blackhole 10.30.0.0/16
  ip -6 route add default via fe80::9 dev eth0; ip -6 route add unreachable 2001:db8:66::/48
  ip -6 route add 2001:db8:77::/48 nexthop via 2001:db8::5 nexthop via 2001:db8::6
  ip -6 route add 2001:db8:99::/48 encap seg6 mode encap segs 2001:db8::8,2001:db8::9 via 2001:db8::9
  ip rule add from 10.0.0.0/8 iif eth0 fwmark 0x1/0xff lookup 100 pref 50; ip rule add to 192.0.2.4 blackhole
  ip -6 rule add from 2001:db8::/32 lookup 9
  ip neigh add 10.0.0.50 lladdr 02:00:00:00:00:50 dev eth0 nud permanent; ip neigh add proxy 10.0.0.60 dev eth0
  ip mptcp limits set subflows 2 add_addr_accepted 2; ip mptcp endpoint add 10.0.0.1 dev eth0 subflow backup
  nft 'add table inet fw; add chain inet fw in { type filter hook input priority 0; }; add rule inet fw in tcp dport 23 counter drop'
  nft 'add set inet fw s { type ipv4_addr; elements = { 10.0.0.1, 10.0.0.2 } }'
  tc qdisc add dev eth0 root handle 1: htb default 10
  tc class add dev eth0 parent 1: classid 1:1 htb rate 7654321bit ceil 10mbit
  tc class add dev eth0 parent 1:1 classid 1:10 htb rate 1mbit ceil 10mbit prio 3 quantum 3000
  tc class add dev eth0 parent 1:1 classid 1:20 htb rate 1mbit
  tc qdisc add dev eth0 parent 1:10 handle 10: pfifo limit 50
  tc qdisc add dev eth0 parent 1:20 handle 20: tbf rate 1234567bit burst 5k latency 70ms
  tc filter add dev eth0 parent 1: protocol ip prio 5 u32 match ip dst 10.0.0.0/8 match ip dport 80 0xffff flowid 1:20
  tc filter add dev eth0 parent 1: protocol ip prio 5 u32 match ip tos 0x10 0xff flowid 1:10
  tc qdisc add dev eth1 clsact
  tc filter add dev eth1 egress protocol all prio 1 u32 match u32 0 0 action mirred egress redirect dev lo
  tc qdisc add dev eth1 root handle 7: tbf rate 10gbit burst 4m latency 50ms
  sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.eth1.rp_filter=2 net.core.somaxconn=99 'net.ipv4.tcp_rmem=4096 100000 200000'`;

const EMPTY = `tc qdisc del dev eth0 root; tc qdisc del dev eth1 root; tc qdisc del dev eth1 clsact; nft flush ruleset
  ip mptcp endpoint flush; ip mptcp limits set subflows 0 add_addr_accepted 0; ip neigh flush nud permanent
  ip neigh del proxy 10.0.0.60 dev eth0
  ip rule flush; ip -6 rule flush; ip route flush table main; ip route flush table 100; ip -6 route flush table main
  ip address flush dev eth0; ip address flush dev eth1; ip link set eth1 down; ip link set eth0 down
  ip link set eth1 mtu 1500 txqueuelen 1000 address 02:00:00:00:00:11
  sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.eth1.rp_filter=0 net.core.somaxconn=4096 'net.ipv4.tcp_rmem=4096 131072 33554432'`;

test('what was taken away comes back, of every kind, and nothing else changes', () => {
  sh(RICH);
  const before = kernel();
  snapshot('rich');
  expectSame('rich');
  sh(EMPTY);
  const diff = net('diff', 'w1', 'rich');
  expect(diff).toMatchObject({ status: 1, stderr: '' });
  for (const kind of ['links', 'addresses', 'routes', 'rules', 'neighbours', 'mptcp', 'nftables', 'tc', 'sysctls']) {
    expect(diff.stdout).toContain(`--- rich/${kind}\n+++ now/${kind}\n`);
  }
  expectRolledBack('rich');
  expect(kernel()).toBe(before);
});

test('what was added goes', () => {
  const before = kernel();
  snapshot('plain');
  sh(RICH);
  expect(net('diff', 'w1', 'plain').stdout).toContain(
    '+address add 10.0.0.1/24 dev eth0 broadcast 10.0.0.255 scope global',
  );
  expectRolledBack('plain');
  expect(kernel()).toBe(before);
});

test('what is the same is not touched; --dry-run prints what is', () => {
  sh(RICH);
  snapshot('s1');
  sh(
    'tc qdisc replace dev lo root handle 9: tbf rate 1mbit burst 5k latency 50ms; ip route del blackhole 10.30.0.0/16',
  );
  const script = net('rollback', 'w1', 's1', '--dry-run');
  expect(script).toMatchObject({ status: 0, stderr: '' });
  expect(
    script.stdout
      .split('\n')
      .filter((line) => !line.startsWith('#'))
      .slice(2, -1),
  ).toEqual(['ip -n w1 route add blackhole 10.30.0.0/16', 'tc -n w1 qdisc del dev lo root']);
  expect(host.run(['sh', '-s'], {}, script.stdout)).toEqual({ status: 0, stdout: '', stderr: '' });
  expectSame('s1');
});

test('a stop, a start and a reboot in between', async () => {
  sh(
    'ip link del eth1; ip address add 192.168.0.200/24 dev eth0; ip route add 10.0.0.0/8 via 192.168.0.1; sysctl -qw net.ipv4.ip_forward=1',
  );
  snapshot('s1');
  host.minict('stop', 'w1');
  expectSame('s1');
  host.minict('start', 'w1');
  expectSame('s1');
  await host.reboot();
  expectRefused(net('rollback', 'w1', 's1'), /no network namespace.*\nhint: minict start w1/);
  host.minict('start', 'w1');
  expect(net('diff', 'w1', 's1').stdout).toContain('-net.ipv4.ip_forward = 1');
  expectRolledBack('s1');
  expect(sh('ip -o -4 address show dev eth0')).toContain('192.168.0.200/24');
});

test.each(['8kbit', '3mbit', '4mbit', '7654321bit', '10mbit', '100mbit', '123456789bit', '1gbit', '10gbit'])(
  'a bucket of %s comes back as it is shown',
  (rate) => {
    sh(`tc qdisc add dev eth0 root handle 1: htb; tc class add dev eth0 parent 1: classid 1:1 htb rate ${rate} quantum 3000
      tc class add dev eth0 parent 1: classid 1:2 htb rate ${rate} quantum 3000 burst 20001 ceil 10gbit cburst 12345
      tc qdisc add dev eth0 parent 1:1 tbf rate ${rate} burst 3036 latency 50ms
      tc qdisc add dev eth1 root tbf rate ${rate} burst 15003 latency 51ms`);
    const before = kernel();
    snapshot('s1');
    sh('tc qdisc del dev eth0 root; tc qdisc del dev eth1 root');
    expectRolledBack('s1');
    expect(kernel()).toBe(before);
  },
);

test('an impairment is part of it', () => {
  const shown = () => net('impair', 'w1:eth0', '--format', 'json').stdout;
  expect(net('impair', 'w1:eth0', '--rate', '3mbit', '--loss', '7%').status).toBe(0);
  const before = shown();
  snapshot('bad');
  expect(net('impair', 'w1:eth0', '--clear').status).toBe(0);
  expectRolledBack('bad');
  expect(shown()).toBe(before);
});

test('what the host changes for new namespaces is no change of this one', () => {
  snapshot('s1');
  host.run(['sysctl', '-qw', 'net.ipv4.ip_forward=1']);
  expectSame('s1');
});

test('an interface that is gone, and one that was not there, are named; the rest comes back', () => {
  snapshot('s1');
  sh('ip link del eth1; ip link add name br0 type bridge; ip address add 10.7.0.1/24 dev eth0');
  const result = net('rollback', 'w1', 's1');
  expect(result).toMatchObject({ status: 125, stdout: '' });
  expect(result.stderr).toMatch(
    /^minict: cannot restore all of the network of w1: interface eth1 is gone, interface eth2 is gone, interface br0 was not there\n/,
  );
  expect(result.stderr).toMatch(/^ {2}links: missing: link set dev eth1 mtu 1500 /m);
  expect(result.stderr).toMatch(/^hint: minict net diff w1 s1 shows what is left\n$/m);
  expect(sh('ip -4 address show dev eth0')).not.toContain('10.7.0.1');
});

test('an interface of a network that was connected since is not taken away', () => {
  snapshot('s1');
  expect(host.minict('network', 'create', 'lan', '--subnet', '192.168.7.0/24').status).toBe(0);
  expect(host.minict('network', 'connect', 'lan', 'w1', '--name', 'lan0').status).toBe(0);
  expect(net('rollback', 'w1', 's1')).toMatchObject({
    status: 125,
    stderr: expect.stringContaining('cannot restore all of the network of w1: interface lan0 was not there\n'),
  });
  expect(host.minict('network', 'disconnect', 'lan', 'w1').status).toBe(0);
  expectRolledBack('s1');
  expect(host.minict('network', 'rm', 'lan').status).toBe(0);
});

test('a filter that tc does not take as it shows it is named', () => {
  sh(`tc qdisc add dev eth0 root handle 1: htb; tc class add dev eth0 parent 1: classid 1:1 htb rate 1mbit
    tc filter add dev eth0 parent 1: prio 3 handle 5: protocol ip u32 divisor 256`);
  snapshot('s1');
  expectSame('s1');
  sh('tc qdisc del dev eth0 root');
  const result = net('rollback', 'w1', 's1');
  expect(result).toMatchObject({
    status: 125,
    stderr: expect.stringMatching(/^minict: .*: tc: missing: # dev eth0 filter/),
  });
  expect(sh('tc class show dev eth0')).toContain('class htb 1:1 root');
});

test('a rollback that was killed is done again', async () => {
  sh(RICH);
  const before = kernel();
  snapshot('s1');
  for (const delayMs of [20, 60, 100, 140]) {
    sh(EMPTY);
    const killed = host.spawn([MINICT, 'net', 'rollback', 'w1', 's1']);
    await Bun.sleep(delayMs);
    killed.kill('SIGKILL');
    await killed.exited;
    expectRolledBack('s1');
    expect(kernel()).toBe(before);
  }
});

describe('snapshots', () => {
  const folder = () => join(host.root, 'containers/w1/net-snapshots');

  test('are listed, compared with each other, and forgotten', () => {
    expect(net('snapshot', 'ls', 'w1').stdout).toBe('NAME  CREATED\n');
    snapshot('s1');
    sh('ip link set eth1 mtu 1300');
    expect(net('snapshot', 'create', 'w1', 'ls')).toMatchObject({ status: 0, stdout: 'ls\n' });
    expect(net('snapshot', 'ls', '-q', 'w1').stdout).toBe('s1\nls\n');
    expect(net('snapshot', 'ls', 'w1').stdout).toMatch(/^NAME {2}CREATED\ns1 {4}20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\nls /);
    const diff = net('diff', 'w1', 's1', 'ls');
    expect(diff.status).toBe(1);
    expect(diff.stdout).toMatch(
      /^--- s1\/links\n\+\+\+ ls\/links\n@@ .* @@\n(.*\n)*-link set dev eth1 mtu 1500 .*\n\+link set dev eth1 mtu 1300 /,
    );
    expect(net('snapshot', 'diff', 'w1', 's1', 'ls')).toEqual(diff);
    expect(net('snapshot', 'rollback', 'w1', 's1')).toMatchObject({ status: 0 });
    expectSame('s1');
    expect(net('snapshot', 'rm', 'w1', 's1', 'nope', 'ls')).toMatchObject({ status: 125, stdout: 's1\nls\n' });
    expect(existsSync(folder())).toBe(false);
  });

  test('are text, a file for each kind, which diff and ip read, too', () => {
    sh(RICH);
    snapshot('s1');
    const file = (kind: string) => readFileSync(join(folder(), 's1', kind), 'utf8');
    expect(file('rules')).toContain('rule add pref 50 from 10.0.0.0/8 fwmark 0x1/0xff iif eth0 lookup 100\n');
    expect(file('sysctls')).toContain('net.ipv4.ip_forward = 1\n');
    expect(file('sysctls')).not.toContain('gc_stale_time');
    expect(file('addresses')).not.toContain('ff:fe');
    sh('nft flush ruleset');
    sh(`nft -f ${join(folder(), 's1', 'nftables')}`);
    expectSame('s1');
  });

  test('go with their container', () => {
    snapshot('s1');
    host.minict('rm', 'w1');
    expect(existsSync(folder())).toBe(false);
  });
});

test.each([
  [['snapshot', 'nope', 's1'], /no such container\nhint: minict ps -a/],
  [['snapshot', 'w1'], /cannot net snapshot: missing required argument 'snapshot'/],
  [['snapshot', 'w1', '.new'], /cannot use snapshot name ".new": not a valid name/],
  [['snapshot', 'w1', 'a/b'], /not a valid name/],
  [['diff', 'w1', 's9'], /network snapshot s9 of w1: no such snapshot\nhint: minict net snapshot ls w1/],
  [['diff', 'nope', 's1'], /no such container/],
  [['rollback', 'w1', 's9'], /no such snapshot/],
  [['rollback', 'w1', '..'], /not a valid name/],
  [['rollback', 'w1', 's9', '--dry-run'], /no such snapshot/],
  [['snapshot', 'rm', 'w1', 's9'], /no such snapshot/],
  [['snapshot', 'ls', 'nope'], /no such container/],
  [['snapshot', 'ls', 'w1', '--format', 'xml'], /table or json/],
])('net %j is refused', (words, message) => {
  expectRefused(net(...words), message);
});

test('a name that is taken, and not root', () => {
  snapshot('s1');
  expectRefused(net('snapshot', 'w1', 's1'), /there is one of that name\nhint: minict net snapshot rm w1 s1/);
  const asNobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', MINICT, 'net'];
  for (const words of [
    ['snapshot', 'w1', 's1'],
    ['diff', 'w1', 's1'],
    ['rollback', 'w1', 's1'],
    ['snapshot', 'ls', 'w1'],
  ]) {
    expectRefused(host.run([...asNobody, ...words]), /not root\nhint: sudo minict net/);
  }
});
