/** Other people's firewalls, and what the host forwards for NAT and published ports: what stops it is named, and the fix helps. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { eventually, Host } from '../helpers/host.ts';
import { type Neighbour, page, plugIn } from '../helpers/neighbour.ts';

let host: Host;
let outside: Neighbour;

function sh(commands: string): void {
  expect(host.run(['sh', '-ec', commands])).toEqual({ status: 0, stdout: expect.any(String), stderr: '' });
}

beforeAll(async () => {
  host = await Host.create();
  host.minict('create', 'first');
  outside = await plugIn(host, { link: 'out0', here: ['192.0.2.1/24'], there: ['192.0.2.9/24'] });
});
afterAll(async () => {
  await outside.unplug();
  await host.destroy();
});
beforeEach(() => sh('sysctl -qw net.bridge.bridge-nf-call-iptables=0'));
afterEach(() => {
  host.minict('rm', '-f', 'w1');
  host.minict('network', 'rm', 'lan');
  sh('nft flush ruleset; iptables-legacy -P FORWARD ACCEPT; iptables-legacy -F; iptables-legacy -X');
});

const WARNING = /^minict: warning: the host's firewall stops (.*): (.*)\nhint: (.*)\n$/;
const forward = (policy: string, ...rules: string[]) =>
  `nft 'table inet own { chain fw { type filter hook forward priority filter; policy ${policy}; ${rules.join('; ')}; }; }'`;

/** docker's, without what it has for its own bridge. */
const DOCKER = `iptables-nft -P FORWARD DROP; iptables-nft -N DOCKER-USER; iptables-nft -A FORWARD -j DOCKER-USER
  iptables-nft -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`;

const DROPS = [
  ['a policy', forward('drop'), 'nft table inet own, chain fw, policy drop'],
  ['iptables-legacy', 'iptables-legacy -P FORWARD DROP', 'iptables-legacy table filter, chain FORWARD, policy drop'],
  ['docker', DOCKER, 'iptables-nft table filter, chain FORWARD, policy drop'],
] as const;

test.each(DROPS)('NAT behind %s', (_, rules, name) => {
  sh(rules);
  const made = host.minict('network', 'create', 'lan', '--nat', '--subnet', '10.1.0.0/24');
  expect(made).toMatchObject({ status: 0, stdout: 'lan\n' });
  const [, what, rule, fix = ''] = WARNING.exec(made.stderr) ?? [];
  expect([what, rule]).toEqual(['what containers send elsewhere', name]);
  expect(host.minict('create', 'w1', '--network', 'lan').stderr).toBe(made.stderr);
  const pings = () => host.minict('exec', 'w1', 'ping', '-c1', '-W2', '192.0.2.9').status === 0;
  expect(pings()).toBe(false);
  const checks = JSON.parse(host.minict('system', 'doctor', '--format', 'json').stdout);
  expect(checks).toContainEqual(
    expect.objectContaining({
      name: 'firewall',
      detail: `stops traffic from containers to other networks: ${name}`,
      fix,
    }),
  );
  sh(fix);
  expect(pings()).toBe(true);
  host.minict('rm', 'w1');
  expect(host.minict('create', 'w1', '--network', 'lan').stderr).toBe('');
});

test.each(DROPS)('a published port behind %s', async (_, rules, name) => {
  sh(rules);
  const made = host.minict('create', 'w1', '-p', '0.0.0.0:8080:80');
  const bound = 'minict: w1 has 0.0.0.0:8080->80/tcp\n';
  expect(made.stderr).toContain(bound);
  const [, what, rule, fix = ''] = WARNING.exec(made.stderr.replace(bound, '')) ?? [];
  expect([what, rule]).toEqual(['what comes to published ports', name]);
  host.minict('exec', '-d', 'w1', 'httpd', '-f', '-p', '80', '-h', '/etc');
  expect(await eventually(() => page((argv) => host.run(argv), 'http://127.0.0.1:8080/hostname') === 'w1')).toBe(true);
  const answer = () => page(outside.run, 'http://192.0.2.1:8080/hostname');
  expect(answer()).toBe('curl: 28');
  sh(fix);
  expect(answer()).toBe('w1');
});

test.each([
  ['what was published', forward('drop', 'ct state established,related accept', 'ct status dnat accept')],
  ['by iptables', `${DOCKER}; iptables-nft -A FORWARD -m conntrack --ctstate DNAT -j ACCEPT`],
])('what lets %s through is not warned of', async (_, rules) => {
  sh(rules);
  expect(host.minict('create', 'w1', '-p', '0.0.0.0:8080:80').stderr).toBe('minict: w1 has 0.0.0.0:8080->80/tcp\n');
  host.minict('exec', '-d', 'w1', 'httpd', '-f', '-p', '80', '-h', '/etc');
  expect(await eventually(() => page(outside.run, 'http://192.0.2.1:8080/hostname') === 'w1')).toBe(true);
});

test('a port of the loopback meets no rule of what is forwarded', () => {
  sh(forward('drop'));
  expect(host.minict('create', 'w1', '-p', '8080:80').stderr).toBe('minict: w1 has 127.0.0.1:8080->80/tcp\n');
});
