/** minict why: faults of interfaces, addresses, neighbours and bridge ports, and the command that mends each. */
import { afterAll, afterEach, beforeAll, test } from 'vitest';
import { type Fault, nftIn, WhyLab } from '../helpers/why-lab.ts';

let lab: WhyLab;
beforeAll(async () => {
  lab = await WhyLab.create();
});
afterAll(() => lab.host.destroy());
afterEach(() => lab.restore());

const FAULTS: readonly Fault[] = [
  [
    'NIC down at the source',
    'ip -n web1 link set dev eth0 down',
    'web1 web2 tcp/80',
    'nic-down',
    'web1 eth0',
    /^down$/,
  ],
  [
    'NIC down at the source, IPv6',
    'ip -n web1 link set dev eth0 down',
    'web1 web2 tcp/80 -6',
    'nic-down',
    'web1 eth0',
    /^down$/,
  ],
  [
    'NIC down at the target',
    'ip -n web3 link set dev eth0 down',
    'web1 web3 tcp/80',
    'nic-down',
    'web3 eth0',
    /^down$/,
  ],
  ['a host end down', 'ip link set dev r1-eth1 down', 'web1 web2 tcp/80', 'nic-down', 'r1 eth1', /r1-eth1 is down/],
  ['no bridge', 'ip link del lana', 'web1 web3 tcp/80', 'bridge-port', 'web1-eth0', /lana is not there/],
  [
    'no address at the source',
    'ip -n web1 -4 addr flush dev eth0',
    'web1 web2 tcp/80',
    'no-address',
    'web1 eth0',
    /no IPv4/,
  ],
  [
    'no address at the target',
    'ip -n web3 -4 addr flush dev eth0',
    'web1 web3 tcp/80',
    'no-address',
    'web3 eth0',
    /10.1.0.130/,
  ],
  [
    'no IPv6 address',
    'ip -n web2 -6 addr flush dev eth0',
    'web1 web2 tcp/80 -6',
    'no-address',
    'web2 eth0',
    /fd00:2::2/,
  ],
  [
    'a static neighbour',
    'ip -n web1 neigh replace 10.1.0.130 lladdr 02:00:00:00:00:66 nud permanent dev eth0',
    'web1 web3 tcp/80',
    'arp',
    'web1 eth0',
    /at 02:00:00:00:00:66/,
  ],
  [
    'ARP off',
    'ip -n web3 link set dev eth0 arp off; ip -n web1 neigh flush dev eth0',
    'web1 web3 tcp/80',
    'arp',
    'web1 eth0',
    /ARP is off on its eth0/,
  ],
  [
    'arp_ignore',
    'ip netns exec web3 sysctl -qw net.ipv4.conf.all.arp_ignore=8; ip -n web1 neigh flush dev eth0',
    'web1 web3 tcp/80',
    'arp',
    'web1 eth0',
    /arp_ignore is 8/,
  ],
  [
    'a rule on ARP',
    `${nftIn('web3', 'arp', 'input', 'counter drop')}; ip -n web1 neigh flush dev eth0`,
    'web1 web3',
    'nft-rule',
    'web3',
    /ARP is dropped by nft arp f/,
  ],
  [
    'a bridge port that is disabled',
    'bridge link set dev web1-eth0 state 0',
    'web1 web3 tcp/80',
    'bridge-port',
    'web1-eth0',
    /disabled in lana/,
  ],
  [
    "a disabled port of the router's",
    'bridge link set dev r1-eth1 state 0',
    'web1 web2 tcp/80',
    'bridge-port',
    'r1-eth1',
    /disabled in lanb/,
  ],
  [
    'an interface in no bridge',
    'ip link set dev web3-eth0 nomaster',
    'web1 web3 tcp/80',
    'bridge-port',
    'web3-eth0',
    /no port of lana/,
  ],
  [
    'isolated ports',
    'bridge link set dev web1-eth0 isolated on; bridge link set dev web3-eth0 isolated on',
    'web1 web3',
    'bridge-port',
    'web1-eth0',
    /isolated/,
  ],
  ['a bridge that is down', 'ip link set dev lana down', 'web1 web3', 'bridge-port', 'lana', /down/],
  [
    'an MTU that is too small on a bridge port',
    'ip link set dev web3-eth0 mtu 1400',
    'web1 web3 tcp/80',
    'mtu',
    'web1 → web3',
    /1500 bytes are lost: host web3-eth0 has MTU 1400/,
  ],
  [
    'an MTU that is too small at the target',
    'ip -n web2 link set dev eth0 mtu 1300',
    'web1 web2',
    'mtu',
    'web1 → web2',
    /web2 eth0 has MTU 1300/,
  ],
];

test.each(FAULTS)('%s', (...fault) => lab.expectMended(fault));
