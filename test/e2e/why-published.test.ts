/** minict why: published ports, and other rules that lead a packet elsewhere. */
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { type Fault, nftIn, useWhyLab } from '../helpers/why-lab.ts';

const now = useWhyLab();
beforeAll(async () => {
  const ports = ['-p', '8080:80', '-p', '0.0.0.0:9090:80', '-p', '[::]:9090:80'];
  now.lab.sh(`minict create pub --nic lana,ip=10.1.0.7,ip=fd00:1::7 ${ports.join(' ')} --service 'httpd -h /var/www'`);
  now.lab.sh('minict start pub');
  await now.lab.serves('pub');
});
// The lab's own clean-up leaves no rule on the host.
beforeEach(() => now.lab.sh('minict network reload'));

const led = (question: string) => now.lab.expectWorks(question).checks.find(({ check }) => check === 'DNAT');

test.each([
  ['host 127.0.0.1 tcp/8080', '127.0.0.1:8080 leads to 10.1.0.7:80 of pub'],
  ['host 10.2.0.1 tcp/9090', '10.2.0.1:9090 leads to 10.1.0.7:80 of pub'],
  ['web1 host tcp/9090', '10.1.0.1:9090 leads to 10.1.0.7:80 of pub'],
  ['pub host tcp/9090', '10.1.0.1:9090 leads to 10.1.0.7:80 of pub'],
  ['web1 fd00:1::1 tcp/9090', '[fd00:1::1]:9090 leads to [fd00:1::7]:80 of pub'],
])('%s: %s, and on from there', (question, found) => {
  expect(led(question)).toMatchObject({ where: 'host', found });
  const { checks } = now.lab.why(question);
  const places = checks.map(({ where, check }) => `${where} ${check}`);
  expect(places.indexOf('pub listening')).toBeGreaterThan(places.indexOf('host DNAT'));
  // Who leads it on does not listen itself.
  expect(places).not.toContain('host listening');
});

test('what goes to the container itself is not led', () => {
  expect(led('host pub tcp/80')).toBeUndefined();
});

test("other people's rules are followed, with their sets and maps; one that cannot be read is named", () => {
  const dnat = (rules: string) =>
    now.lab.sh(`nft 'table ip own { chain p { type nat hook prerouting priority dstnat; ${rules}; }; }'`);
  dnat('ip daddr 10.1.0.1 tcp dport 7070 dnat to 10.1.0.130:80');
  // Its answers go past the host, which alone knows what was asked: the source's address has to be the host's.
  now.lab.sh(
    "nft 'table ip own { chain s { type nat hook postrouting priority srcnat; ct status dnat masquerade; }; }'",
  );
  expect(led('web1 host tcp/7070')?.found).toBe('10.1.0.1:7070 leads to 10.1.0.130:80 of web3');
  dnat('dnat ip to tcp dport map { 7072 : 10.1.0.7 . 80, 7071 : 10.1.0.130 . 80 }');
  expect(led('web1 host tcp/7071')?.found).toBe('10.1.0.1:7071 leads to 10.1.0.130:80 of web3');
  now.lab.sh('iptables-nft -t nat -A PREROUTING -p tcp --dport 7074 -j DNAT --to 10.1.0.66:80');
  expect(now.lab.failureOf('web1 host tcp/7074')).toMatchObject({
    where: 'host',
    found: expect.stringMatching(/a rule that minict cannot read leads it on: nft ip nat, chain PREROUTING: .*DNAT/),
    look: 'nft list ruleset',
  });
});

test('one that is published at another address cannot be mended by a command', () => {
  expect(now.lab.failureOf('web1 host tcp/8080')).toMatchObject({
    cause: 'not-published',
    where: 'host',
    found: 'pub publishes it at 127.0.0.1 alone, not at 10.1.0.1',
    fix: expect.stringMatching(/-p 0\.0\.0\.0:8080:80/),
  });
});

const FAULTS: readonly Fault[] = [
  ['a stopped container', 'minict stop -t 0 pub', 'host 127.0.0.1 tcp/8080', 'not-published', 'host', /pub .* stopped/],
  ['rules that are gone', 'nft flush ruleset', 'web1 host tcp/9090', 'not-published', 'host', /no rule leads there/],
  [
    'route_localnet off',
    'sysctl -qw net.ipv4.conf.lana.route_localnet=0',
    'host 127.0.0.1 tcp/8080',
    'not-published',
    'host lana',
    /route_localnet is 0/,
  ],
  [
    'forwarding off',
    'sysctl -qw net.ipv4.conf.lana.forwarding=0',
    'web1 host tcp/9090',
    'forwarding-off',
    'host',
    /net.ipv4.conf.lana.forwarding is 0/,
  ],
  [
    'a rule in the container',
    nftIn('pub', 'inet', 'input', 'tcp dport 80 counter drop'),
    'web1 host tcp/9090',
    'nft-rule',
    'pub',
    /tcp dport 80 drop/,
  ],
  [
    'a rule of the host that is met before',
    "nft 'table ip own { chain r { type filter hook prerouting priority raw; iifname lana tcp dport 9090 drop; }; }'",
    'web1 host tcp/9090',
    'nft-rule',
    'host',
    /tcp dport 9090 drop/,
  ],
];

test.each(FAULTS)('%s', (...fault) => now.lab.expectMended(fault));
