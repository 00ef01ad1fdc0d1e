/** minict why: rules that eat packets, services that do not listen, and the command that mends each. */
import { test } from 'vitest';
import { type Fault, nftIn, useWhyLab } from '../helpers/why-lab.ts';

const now = useWhyLab();

const FAULTS: readonly Fault[] = [
  [
    'br_netfilter and iptables-legacy',
    'iptables-legacy -P FORWARD DROP',
    'web1 web3 tcp/80',
    'br-netfilter',
    'lana',
    /iptables-legacy table filter, chain FORWARD, policy drop/,
  ],
  [
    'br_netfilter and a policy',
    'iptables-nft -P FORWARD DROP',
    'web1 web3 tcp/80',
    'br-netfilter',
    'lana',
    /ip filter, chain FORWARD: policy drop/,
  ],
  [
    'br_netfilter and a rule for a port',
    "nft 'table inet own { chain f { type filter hook forward priority 0; tcp dport 80 counter drop; }; }'",
    'web1 web3 tcp/80',
    'br-netfilter',
    'lana',
    /tcp dport 80 drop .*counter \+/,
  ],
  [
    'a rule of family bridge',
    "nft 'table bridge own { chain f { type filter hook forward priority 0; policy drop; }; }'",
    'web1 web3 tcp/80',
    'nft-rule',
    'lana',
    /bridge own, chain f: policy drop/,
  ],
  [
    'a rule with a counter',
    nftIn('web3', 'inet', 'input', 'tcp dport 80 counter drop'),
    'web1 web3 tcp/80',
    'nft-rule',
    'web3',
    /tcp dport 80 drop .*counter \+[1-9]/,
  ],
  [
    'a rule that minict cannot read, by its counter',
    nftIn('web3', 'inet', 'input', 'meta mark 0 counter drop'),
    'web1 web3 tcp/80',
    'nft-rule',
    'web3',
    /counter \+[1-9]/,
  ],
  [
    'a rule without a counter, in a set',
    nftIn('web3', 'ip', 'input', 'ip saddr { 10.9.0.0/16, 10.1.0.0/24 } tcp dport { 22, 80 } drop'),
    'web1 web3 tcp/80',
    'nft-rule',
    'web3',
    /tcp dport \{ 22, 80 \} drop/,
  ],
  [
    'a policy',
    nftIn('web3', 'inet', 'input', 'ct state established accept', 'drop'),
    'web1 web3 tcp/80',
    'nft-rule',
    'web3',
    /policy drop/,
  ],
  [
    "a router's policy",
    nftIn('r1', 'ip', 'forward', 'tcp dport 22 accept', 'drop'),
    'web1 web2 tcp/80',
    'nft-rule',
    'r1',
    /policy drop/,
  ],
  [
    'a rule on the way out',
    nftIn('web1', 'ip', 'output', 'tcp dport 80 drop'),
    'web1 web2 tcp/80',
    'nft-rule',
    'web1',
    /tcp dport 80 drop/,
  ],
  [
    'a rule that refuses',
    nftIn('web3', 'inet', 'input', 'tcp dport 80 counter reject with tcp reset'),
    'web1 web3 tcp/80',
    'nft-rule',
    'web3',
    /reject/,
  ],
  [
    'a rule on answers',
    nftIn('web2', 'inet', 'output', 'tcp sport 80 drop'),
    'web1 web2 tcp/80',
    'nft-rule',
    'web2',
    /tcp sport 80 drop/,
  ],
  [
    'neighbour discovery dropped',
    `${nftIn('web3', 'inet', 'input', 'tcp dport 80 accept', 'drop')}; ip -n web1 neigh flush dev eth0`,
    'web1 web3 tcp/80 -6',
    'nft-rule',
    'web3',
    /policy drop/,
  ],
  [
    'nothing that listens',
    'minict create late --nic lana,ip=10.1.0.5 --service "httpd -h /var/www"',
    'web1 late tcp/80',
    'not-listening',
    'late',
    /nothing listens on tcp\/80/,
  ],
];

test.each(FAULTS)('%s', (...fault) => now.lab.expectMended(fault));
