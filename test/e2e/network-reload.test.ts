/** network reload: what a firewall's reload or somebody's hand took comes back, and what was set inside stays. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { eth0Of, readIp } from '../helpers/links.ts';
import { page } from '../helpers/neighbour.ts';
import type { Snapshot } from '../helpers/snapshot.ts';

let host: Host;
let whole: Snapshot;
let indexBefore: string;
const here = (...argv: string[]) => expect(host.run(argv)).toMatchObject({ status: 0, stderr: '' });
const reload = () => host.minict('network', 'reload');
const answers = () => page((argv) => host.run(argv), 'http://127.0.0.1:8080/hostname') === 'web1';
const pings = () => host.minict('exec', 'c1', 'ping', '-c1', '-W3', 'web1').status === 0;
const indexOf = (name: string) => String((eth0Of(host, name) as unknown as { ifindex: number }).ifindex);
const table = () => `minict_${host.run(['cat', `${host.root}/instance`]).stdout.trim()}`;
const insideOf = (name: string) =>
  // Duplicate address detection takes its time.
  ['addr', 'route'].map((what) =>
    host.run(['ip', 'netns', 'exec', name, 'ip', what]).stdout.replaceAll(' tentative', ''),
  );
let inside: string[];

beforeAll(async () => {
  host = await Host.create();
  here(MINICT, 'network', 'create', 'lan', '--subnet', '10.1.0.0/24', '--subnet', 'fd00:1::/64', '--nat');
  expect(host.minict('create', 'web1', '--network', 'lan', '-p', '8080:80').status).toBe(0);
  here(MINICT, 'create', 'c1', '--network', 'lan');
  here(MINICT, 'create', 'off', '--network', 'lan');
  here(MINICT, 'stop', '-t', '0', 'off');
  here(MINICT, 'exec', '-d', 'web1', 'httpd', '-f', '-p', '80', '-h', '/etc');
  here('ip', 'netns', 'exec', 'web1', 'ip', 'addr', 'add', '10.77.0.1/24', 'dev', 'eth0');
  here('ip', 'netns', 'exec', 'web1', 'ip', 'route', 'add', '10.78.0.0/24', 'via', '10.1.0.9');
  here('ip', 'netns', 'exec', 'web1', 'tc', 'qdisc', 'add', 'dev', 'eth0', 'root', 'pfifo', 'limit', '7');
  expect(await eventually(answers)).toBe(true);
  whole = host.snapshot();
  inside = insideOf('web1');
  indexBefore = indexOf('web1');
});
afterAll(() => host.destroy());
async function expectWhole(): Promise<void> {
  expect(await host.settled(whole)).toEqual(whole);
  expect(await eventually(() => answers() && pings())).toBe(true);
  expect(insideOf('web1')).toEqual(inside);
  expect(indexOf('web1')).toBe(indexBefore);
  expect(host.run(['ip', 'netns', 'exec', 'web1', 'tc', 'qdisc']).stdout).toContain('limit 7p');
  expect(host.minict('ps').stdout).not.toContain('broken');
}

const FAULTS: readonly (readonly [string, string, RegExp])[] = [
  [
    'a firewall was reloaded',
    'nft flush ruleset',
    /minict's own table[\s\S]*web1: published: 127\.0\.0\.1:8080->80\/tcp/,
  ],
  ['an element was taken out', 'nft flush map inet TABLE ports4', /^web1: published/],
  ['rules were taken out', 'nft flush table inet TABLE', /^$/],
  ['a host end left its bridge', 'ip link set web1-eth0 nomaster', /^web1: a port of the bridge/],
  ['a host end is down', 'ip link set web1-eth0 down', /web1: host end up/],
  ['the bridge lost its addresses', 'ip addr flush dev lan', /address 10\.1\.0\.1\)\n.*address fd00:1::1\)/],
  ['the bridge is down', 'ip link set lan down', /network lan: bridge up/],
  ['the bridge is gone', 'ip link del lan', /^network lan: lan/],
  ['forwarding is off', 'sysctl -qw net.ipv4.conf.lan.forwarding=0', /from lan goes on/],
  ['route_localnet is off', 'sysctl -qw net.ipv4.conf.lan.route_localnet=0', /127\.0\.0\.1 of the host/],
];

test.each(FAULTS)('%s', async (_, fault, said) => {
  here('sh', '-c', fault.replaceAll('TABLE', table()));
  if (fault.includes('ruleset'))
    expect(host.minict('network', 'ls').stdout).toMatch(/^lan .* broken \(missing: NAT\)$/m);
  const result = reload();
  expect(result).toMatchObject({ status: 0, stderr: '' });
  expect(result.stdout).toMatch(said);
  await expectWhole();
  expect(reload()).toEqual({ status: 0, stdout: '', stderr: '' });
});

test.each(FAULTS.filter(([, fault]) => /nomaster|down|flush ruleset|link del/.test(fault)))(
  '%s, and start puts it back, too',
  async (_, fault) => {
    here('sh', '-c', fault.replaceAll('TABLE', table()));
    if (!fault.includes('lan down')) expect(host.minict('ps').stdout).toMatch(/web1 +broken \(missing: /);
    for (const name of ['web1', 'c1']) expect(host.minict('start', name)).toMatchObject({ status: 0, stderr: '' });
    // What no start of these two looks at: the bridge's being up, and the stopped one.
    if (/lan down|link del/.test(fault)) here(MINICT, 'network', 'reload');
    await expectWhole();
  },
);

test("the host's own interfaces cannot be made for it: it says which are gone, and mends the rest", () => {
  here('ip', 'link', 'add', 'name', 'br9', 'up', 'type', 'bridge');
  here('ip', 'link', 'add', 'name', 'up0', 'type', 'veth', 'peer', 'name', 'up0-far');
  here(MINICT, 'network', 'create', 'theirs', '--bridge', 'br9', '--subnet', '10.9.0.0/24');
  here(MINICT, 'network', 'create', 'wan', '--uplink', 'up0', '--subnet', '10.8.0.0/24');
  here(MINICT, 'create', 't1', '--network', 'theirs');
  here(MINICT, 'create', 'w1', '--network', 'wan');
  here('ip', 'link', 'del', 'br9');
  here('ip', 'link', 'del', 'up0');
  here('ip', 'addr', 'flush', 'dev', 'wan');
  const { stdout } = host.minict('network', 'ls');
  expect(stdout).toMatch(/^theirs .* missing$/m);
  expect(stdout).toMatch(/^wan .* broken \(missing: address 10\.8\.0\.1, uplink up0\)$/m);
  // A script says no more than can be done.
  const script = host.minict('network', 'reload', '--dry-run').stdout;
  expect(script).toContain('10.8.0.1/24');
  expect(script).not.toContain('up0');
  expect(reload()).toEqual({
    status: 125,
    stdout: "network wan: the containers' gateway (address 10.8.0.1)\n",
    stderr:
      "minict: cannot reload network theirs: the host's interface br9 is gone\n" +
      'hint: bring br9 back, then minict network reload\n' +
      "minict: cannot reload network wan: the host's interface up0 is gone\n" +
      'hint: bring up0 back, then minict network reload\n',
  });
  here('ip', 'link', 'add', 'name', 'br9', 'up', 'type', 'bridge');
  here('ip', 'link', 'add', 'name', 'up0', 'type', 'veth', 'peer', 'name', 'up0-far');
  const back = reload();
  expect(back).toMatchObject({ status: 0, stderr: '' });
  expect(back.stdout).toMatch(/network wan: .*\(uplink\)[\s\S]*t1: a port of the bridge/);
  expect(host.minict('network', 'ls').stdout).not.toMatch(/broken|missing/);
  here(MINICT, 'rm', 't1', 'w1');
  here(MINICT, 'network', 'rm', 'theirs', 'wan');
  for (const link of ['br9', 'up0']) here('ip', 'link', 'del', link);
});

test("the host's own interfaces are down: said, with what helps, and nothing is done to them", async () => {
  here('ip', 'link', 'add', 'name', 'br9', 'up', 'type', 'bridge');
  here('ip', 'link', 'add', 'name', 'up0', 'up', 'type', 'veth', 'peer', 'name', 'up0-far');
  here('ip', 'link', 'set', 'dev', 'up0-far', 'up');
  here(MINICT, 'network', 'create', 'theirs', '--bridge', 'br9', '--subnet', '10.9.0.0/24');
  here(MINICT, 'network', 'create', 'wire', '--driver', 'macvlan', '--uplink', 'up0', '--subnet', '10.8.0.0/24');
  expect(host.minict('network', 'ls').stdout).not.toContain('broken');
  here(MINICT, 'create', 't1', '--network', 'theirs');
  here(MINICT, 'create', 'w1', '--network', 'wire');
  const downs = ['br9', 'up0'].map((link) => ['ip', 'link', 'set', 'dev', link, 'down']);
  for (const words of downs) here(...words);
  const { stdout } = host.minict('network', 'ls');
  expect(stdout).toMatch(/^theirs .* broken \(missing: br9 up\)$/m);
  expect(stdout).toMatch(/^wire .* broken \(missing: up0 up\)$/m);
  const before = host.snapshot().network;
  expect(reload()).toEqual({
    status: 125,
    stdout: '',
    stderr:
      "minict: cannot reload network theirs: the host's interface br9 is down\nhint: ip link set dev br9 up\n" +
      "minict: cannot reload network wire: the host's interface up0 is down\nhint: ip link set dev up0 up\n",
  });
  expect(host.snapshot().network).toEqual(before);
  for (const words of downs) here(...words.slice(0, -1), 'up');
  expect(reload()).toMatchObject({ status: 0, stderr: '' });
  expect(host.minict('network', 'ls').stdout).not.toContain('broken');
  // While nobody is in them, nobody misses them.
  here(MINICT, 'rm', 't1', 'w1');
  for (const words of downs) here(...words);
  expect(reload()).toMatchObject({ status: 0, stderr: '' });
  here(MINICT, 'network', 'rm', 'theirs', 'wire');
  for (const link of ['br9', 'up0']) here('ip', 'link', 'del', link);
});

test('a host end that was renamed: start says what it is called now, and how it gets its name back', () => {
  here('ip', 'link', 'set', 'dev', 'web1-eth0', 'down');
  here('ip', 'link', 'set', 'dev', 'web1-eth0', 'name', 'odd');
  expect(host.minict('ps').stdout).toMatch(/web1 +broken \(missing: link web1-eth0\)/);
  const { status, stderr } = host.minict('start', 'web1');
  expect(status).toBe(125);
  const [first, hint = ''] = stderr.split('\nhint: ');
  expect(first).toBe('minict: cannot start web1: its interface web1-eth0 is called odd now');
  here('sh', '-ec', hint.replace('minict start', `${MINICT} start`));
  expect(indexOf('web1')).toBe(indexBefore);
  expect(host.minict('ps').stdout).not.toContain('broken');
});

test("a bridge of that name that is not minict's stays as it is, and the rest is put back", () => {
  here('ip', 'link', 'del', 'lan');
  here('ip', 'link', 'add', 'name', 'lan', 'type', 'bridge');
  here('nft', 'flush', 'ruleset');
  const result = reload();
  expect(result.status).toBe(125);
  expect(result.stderr).toMatch(/an interface lan is there, not this minict's/);
  expect(readIp(host, 'addr', 'show', 'dev', 'lan')[0]?.addr_info).toEqual([]);
  expect(host.snapshot().firewall.join('\n')).toContain(table());
  here('ip', 'link', 'del', 'lan');
  expect(reload().status).toBe(0);
});

test.each(FAULTS.filter(([, , said]) => said.source !== '^$'))(
  '%s, and the printed script puts it back',
  async (_, fault) => {
    here('sh', '-c', fault.replaceAll('TABLE', table()));
    const script = host.minict('network', 'reload', '--dry-run');
    expect(script).toMatchObject({ status: 0, stderr: '' });
    expect(host.run(['sh'], {}, script.stdout)).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(await host.settled(whole)).toEqual(whole);
    // A second one finds nothing to do that has been done.
    here('sh', '-ec', host.minict('network', 'reload', '--dry-run').stdout);
    expect(await host.settled(whole)).toEqual(whole);
    // A bridge, and a table, that a script made are not known by their numbers.
    expect(reload()).toMatchObject({ status: 0, stderr: '' });
    await expectWhole();
  },
);

test('a stopped one stays stopped, and without containers there is nothing to do', async () => {
  expect(readIp(host, 'link', 'show', 'dev', 'off-eth0')[0]?.flags).not.toContain('UP');
  here(MINICT, 'rm', '-f', 'web1', 'c1', 'off');
  here(MINICT, 'network', 'rm', 'lan');
  expect(reload()).toEqual({ status: 0, stdout: '', stderr: '' });
  expect(host.snapshot().firewall).toEqual([]);
});
