/** minict why: stopped containers, and faults of routing, there and back, and the command that mends each. */
import { describe, expect, test } from 'vitest';
import { type Fault, nftIn, useWhyLab } from '../helpers/why-lab.ts';

const now = useWhyLab();

const FAULTS: readonly Fault[] = [
  ['a stopped target', 'minict stop -t 0 web3', 'web1 web3 tcp/80', 'stopped', 'web3', /stopped/],
  ['a stopped router', 'minict stop -t 0 r1', 'web1 web2 tcp/80', 'stopped', 'r1', /stopped/],
  ['a stopped source', 'minict stop -t 0 web1', 'web1 web3 tcp/80', 'stopped', 'web1', /stopped/],
  ['no route', 'ip -n web1 route del default', 'web1 web2 tcp/80', 'no-route', 'web1', /no route to 10.2.0.2/],
  ['a blackhole', 'ip -n web1 route add blackhole 10.2.0.0/24', 'web1 web2', 'no-route', 'web1', /blackhole 10.2.0.0/],
  [
    'a route by who does not forward',
    'ip -n web1 route replace default via 10.1.0.1',
    'web1 web2',
    'no-route',
    'web1',
    /host, which does not forward/,
  ],
  ['no way back', 'ip -n web2 route del default', 'web1 web2 tcp/80', 'no-way-back', 'web2', /no route to 10.1.0.2/],
  [
    'a way back by who does not forward',
    'ip -n web2 route replace default via 10.2.0.1',
    'web1 web2',
    'no-way-back',
    'web2',
    /go by host/,
  ],
  [
    'a recorded static route',
    'minict create far --nic lana,ip=10.1.0.9 --route 10.2.0.0/24,via=10.1.0.254; ip -n far route flush root 0/0 scope global',
    'far web2',
    'no-route',
    'far',
    /no route to 10.2.0.2/,
  ],
  [
    'a redirect, still there when the router is well again',
    `ip -n r1 link set dev eth1 down; ip netns exec web1 ping -c 3 -W 1 10.2.0.2 || :
    ip -n r1 link set dev eth1 up; ip -n r1 addr add fd00:2::254/64 nodad dev eth1`,
    'web1 web2 tcp/80',
    'no-route',
    'web1 eth0',
    /ICMP redirect leads 10.2.0.2 to 10.1.0.1/,
  ],
  [
    'a mask too wide',
    'ip -n web1 addr add 10.1.0.2/8 dev eth0; ip -n web1 addr del 10.1.0.2/24 dev eth0',
    'web1 web2 tcp/80',
    'wrong-mask',
    'web1 eth0',
    /should be 10.1.0.2\/24/,
  ],
  [
    'a mask too narrow',
    'ip -n web3 addr add 10.1.0.130/25 dev eth0; ip -n web3 addr del 10.1.0.130/24 dev eth0',
    'web1 web3 tcp/80',
    'wrong-mask',
    'web3 eth0',
    /should be 10.1.0.130\/24/,
  ],
  [
    'forwarding off',
    'ip netns exec r1 sysctl -qw net.ipv4.ip_forward=0',
    'web1 web2 tcp/80',
    'forwarding-off',
    'r1',
    /ip_forward is 0/,
  ],
  [
    'forwarding off, IPv6',
    'ip netns exec r1 sysctl -qw net.ipv6.conf.all.forwarding=0',
    'web1 web2 -6',
    'forwarding-off',
    'r1',
    /forwarding is 0/,
  ],
  [
    'rp_filter',
    'ip netns exec both sysctl -qw net.ipv4.conf.all.rp_filter=1',
    'web1 10.2.0.4 tcp/80',
    'rp-filter',
    'both eth1',
    /way back is by eth0, not eth1/,
  ],
];

test.each(FAULTS)('%s', (...fault) => now.lab.expectMended(fault));

test('several causes are named one after the other', () => {
  now.lab.sh(
    'minict network create inner --internal; minict create w3 --network inner; iptables-legacy -P FORWARD DROP',
  );
  const seen: unknown[] = [];
  for (let told = now.lab.why('web3 web2'); !told.works && seen.length < 9; told = now.lab.why('web3 web2')) {
    seen.push([told.where, told.cause]);
    now.lab.sh(told.fix as string);
  }
  // Its gateway is the host, which does not forward; then the packet meets the host's policy on either bridge.
  expect(seen).toEqual([
    ['web3', 'no-route'],
    ['lana', 'br-netfilter'],
    ['lanb', 'br-netfilter'],
  ]);
  now.lab.sh(
    'ip -n web3 route del 10.2.0.0/24; sysctl -qw net.ipv4.ip_forward=1; ip -n web2 route replace default via 10.2.0.1',
  );
  const legacy = now.lab.why('web3 web2');
  expect(legacy).toMatchObject({ where: 'host', cause: 'nft-rule', fix: expect.stringMatching(/^iptables-legacy -I/) });
  now.lab.sh(legacy.fix as string);
  now.lab.expectWorks('web3 web2');
  const apart = now.lab.why('web3 w3');
  expect(apart).toMatchObject({ where: 'host', cause: 'no-route', fix: 'minict network connect inner web3' });
  now.lab.sh(`${apart.fix}; iptables-legacy -P FORWARD ACCEPT`);
  now.lab.expectWorks('web3 w3');
  now.lab.sh('sysctl -qw net.ipv4.ip_forward=0');
});

test('a pair between two containers that is in no record, with one end down', async () => {
  now.lab.sh(`ip link add name pa netns web1 type veth peer name pb netns web3; ip -n web3 link set dev pb up
    ip -n web1 addr add 10.50.0.1/24 dev pa; ip -n web3 addr add 10.50.0.2/24 dev pb; ip -n web1 link set dev pa up`);
  now.lab.expectWorks('web1 10.50.0.2 tcp/80');
  for (const [name, dev] of [
    ['web1', 'pa'],
    ['web3', 'pb'],
  ] as const) {
    await now.lab.expectMended([
      '',
      `ip -n ${name} link set dev ${dev} down`,
      'web1 10.50.0.2 tcp/80',
      'nic-down',
      `${name} ${dev}`,
      /^down$/,
    ]);
  }
  now.lab.sh('ip -n web1 link del dev pa');
});

describe('routers', () => {
  test('a path MTU that ICMP tells is no fault; where its ICMP is dropped, the rule is named', () => {
    now.lab.sh('ip -n r1 link set dev eth1 mtu 1400; ip -n web2 link set dev eth0 mtu 1400');
    expect(now.lab.expectWorks('web1 web2 tcp/80').checks.at(-1)?.found).toBe(
      'packets of 1400 bytes pass, as ICMP has told',
    );
    now.lab.sh('ip -n web1 route flush cache');
    // What is sent fits then, and the answer does not.
    now.lab.sh('ip -n web2 link set dev eth0 mtu 1500');
    const answer = now.lab.why('web1 web2 tcp/80');
    expect(answer).toMatchObject({ works: false, cause: 'mtu', fix: 'ip -n r1 link set dev eth1 mtu 1500' });
    expect(answer.checks.at(-1)?.found).toMatch(/are lost: r1 eth1 has MTU 1400$/);
    now.lab.sh('ip -n web2 link set dev eth0 mtu 1400; ip -n web1 route flush cache');
    now.lab.sh(nftIn('r1', 'ip', 'output', 'icmp type destination-unreachable counter drop'));
    const told = now.lab.why('web1 web2 tcp/80');
    expect(told).toMatchObject({ works: false, cause: 'mtu' });
    expect(told.checks.at(-1)?.found).toMatch(/r1 eth1 has MTU 1400, and its ICMP .* is dropped by nft ip f, chain c/);
    now.lab.sh(told.fix as string);
    now.lab.expectWorks('web1 web2 tcp/80');
    now.lab.sh('ip -n r1 link set dev eth1 mtu 1500; ip -n web2 link set dev eth0 mtu 1500');
  });

  test('one that translates needs no way back beyond it', () => {
    now.lab.sh('ip -n web2 route del default');
    now.lab.sh(
      "ip netns exec r1 nft 'table ip n { chain p { type nat hook postrouting priority 100; oifname eth1 masquerade; }; }'",
    );
    const { checks } = now.lab.expectWorks('web1 web2 tcp/80');
    expect(checks.filter(({ check }) => check === 'way back').map(({ found }) => found)).toEqual([
      '10.2.0.254 on the link',
    ]);
  });
});
