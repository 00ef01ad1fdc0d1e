/**
 * Other people's firewalls, with the kernel's own tables: what really drops a ping between two containers is warned of,
 * and the very rule that the warning names lets the ping through. What drops nothing is not warned of.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Host, MINICT } from '../helpers/host.ts';

const unseen = 'sysctl -qw net.bridge.bridge-nf-call-iptables=0';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
  host.minict('create', 'a1');
  host.minict('create', 'a2');
});
afterAll(() => host.destroy());
beforeEach(() => {
  sh('nft flush ruleset; iptables-legacy -P FORWARD ACCEPT; iptables-legacy -F; iptables-legacy -X');
  sh('sysctl -qw net.bridge.bridge-nf-call-iptables=1');
});

function sh(commands: string): void {
  expect(host.run(['sh', '-ec', commands])).toEqual({ status: 0, stdout: expect.any(String), stderr: '' });
}

/** An nft ruleset of one table; at the forward hook, if no other chain is named. */
function nft(family: string, table: string, name: string, policy: string, rules: readonly string[], more = ''): string {
  const hook = `type filter hook forward priority filter; policy ${policy};`;
  return `nft 'table ${family} ${table} { ${more} chain ${name} { ${hook} ${rules.join('; ')}; }; }'`;
}

const pings = () => host.minict('exec', 'a1', 'ping', '-c1', '-W1', 'a2').status === 0;

/** What a create says of the firewall. */
function warnings(): string[] {
  const { stderr } = host.minict('create', 't1');
  host.minict('rm', 't1');
  return stderr.split('\n').filter(Boolean);
}

describe('what drops is warned of, and the rule of the warning helps', () => {
  const docker = `iptables-nft -P FORWARD DROP
    iptables-nft -N DOCKER-USER; iptables-nft -N DOCKER-FORWARD; iptables-nft -N DOCKER
    iptables-nft -A FORWARD -j DOCKER-USER; iptables-nft -A FORWARD -j DOCKER-FORWARD
    iptables-nft -A DOCKER-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    iptables-nft -A DOCKER-FORWARD -o docker0 -j DOCKER; iptables-nft -A DOCKER-FORWARD -i docker0 -j ACCEPT
    iptables-nft -A DOCKER ! -i docker0 -o docker0 -j DROP; iptables-nft -A DOCKER-USER -j RETURN`;
  const firewalld = nft(
    'inet',
    'firewalld',
    'filter_FORWARD',
    'accept',
    [
      'ct state { established, related } accept',
      'ct status dnat accept',
      'iifname "lo" accept',
      'jump filter_FORWARD_POLICIES',
      'ct state invalid drop',
      'reject with icmpx admin-prohibited',
    ],
    'chain filter_FORWARD_POLICIES { iifname "eth0" oifname "eth0" accept; };',
  );
  const bridge = nft('bridge', 'filter', 'FORWARD', 'drop', []);
  const deny = nft('ip', 'own', 'fw', 'accept', ['jump deny'], 'chain deny { iifname { "x", "minict*" } drop; };');

  test.each([
    ["nft's own filter", nft('ip', 'filter', 'FORWARD', 'drop', []), 'table filter, chain FORWARD, policy drop'],
    ['iptables-nft', 'iptables-nft -A FORWARD -j REJECT', "chain FORWARD, rule '-j REJECT"],
    ['docker', docker, 'iptables-nft -I DOCKER-USER'],
    ['a drop before docker', `iptables-nft -I FORWARD -j DROP; ${docker}`, 'iptables-nft -I FORWARD'],
    ['iptables-legacy', 'iptables-legacy -P FORWARD DROP', 'iptables-legacy -I FORWARD -i minict0 -o minict0'],
    ['firewalld', firewalld, 'nft table inet firewalld, chain filter_FORWARD'],
    ['a chain for some bridges', deny, 'nft table ip own, chain deny'],
    ['a rule for some subnets', nft('inet', 'n', 'f', 'accept', ['ip saddr 192.168.0.0/16 drop']), 'inet n, chain f'],
    ["the bridge's own hooks", `${bridge}; ${unseen}`, 'nft table bridge filter, chain FORWARD, policy drop'],
  ])('%s', (_, rules, text) => {
    sh(rules);
    expect(pings()).toBe(false);
    const [warning = '', hint = '', ...more] = warnings();
    expect(more).toEqual([]);
    expect(warning).toMatch(/^minict: warning: the host's firewall stops containers: /);
    expect(`${warning}\n${hint}`).toContain(text);
    sh(hint.replace('hint: ', ''));
    expect(pings()).toBe(true);
    expect(warnings()).toEqual([]);
  });

  test('two firewalls, two warnings', () => {
    sh(`${nft('inet', 'n', 'f', 'drop', [])}; iptables-legacy -P FORWARD DROP`);
    const lines = warnings();
    expect(lines.filter((line) => line.startsWith('minict: warning'))).toHaveLength(2);
    for (const line of lines.filter((text) => text.startsWith('hint: '))) sh(line.replace('hint: ', ''));
    expect(pings()).toBe(true);
    expect(warnings()).toEqual([]);
  });
});

test.each([
  ['iptables-nft', 'iptables-nft -P FORWARD DROP'],
  ['nft', nft('inet', 'own', 'forward', 'drop', [])],
])('what drops traffic that leaves the network, by %s: doctor names the rules that help', (_, rules) => {
  sh(`ip netns add far; ip link add far0 type veth peer name far1 netns far; ip addr add 10.99.0.1/24 dev far0
    ip -n far addr add 10.99.0.2/24 dev far1; ip link set far0 up; ip -n far link set far1 up
    ip -n far route add default via 10.99.0.1; sysctl -qw net.ipv4.ip_forward=1`);
  const reaches = () => host.minict('exec', 'a1', 'ping', '-c1', '-W1', '10.99.0.2').status === 0;
  const fixes = () => {
    const checks = JSON.parse(host.minict('system', 'doctor', '--format', 'json').stdout);
    return checks.flatMap((check: { name: string; fix?: string }) => (check.name === 'firewall' ? [check.fix] : []));
  };
  expect(reaches()).toBe(true);
  expect(fixes()).toEqual([undefined]);
  sh(`${rules}; ${unseen}`);
  expect(reaches()).toBe(false);
  const [fix, ...more] = fixes();
  expect(more).toEqual([]);
  sh(fix);
  expect(reaches()).toBe(true);
  expect(fixes()).toEqual([undefined]);
  sh('ip link del far0; ip netns del far');
});

describe('what drops nothing is not warned of', () => {
  test.each([
    ['accept', nft('ip', 'filter', 'FORWARD', 'accept', [])],
    [
      'others',
      nft('inet', 'n', 'f', 'accept', ['iifname "docker0" drop', 'ip daddr 10.0.0.0/8 drop', 'tcp dport 25 drop']),
    ],
    ['all but this bridge', nft('ip', 'n', 'f', 'accept', ['oifname != "minict0" drop'])],
    ['replies and new ones', nft('ip', 'n', 'f', 'drop', ['ct state { new, established } accept'])],
    ['another hook', "nft 'table inet n { chain i { type filter hook prerouting priority 0; iifname eth7 drop; }; }'"],
    [
      'bridged by physdev',
      'iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -m physdev --physdev-is-bridged -j ACCEPT',
    ],
    ['legacy for others', 'iptables-legacy -A FORWARD ! -i minict+ -m comment --comment "-j DROP" -j DROP'],
    [
      'returned',
      'iptables-nft -N X; iptables-nft -A X -i minict0 -j RETURN; iptables-nft -A X -j DROP; iptables-nft -A FORWARD -j X',
    ],
    ['no br_netfilter', `iptables-nft -P FORWARD DROP; ${unseen}`],
  ])('%s', (_, rules) => {
    sh(rules);
    expect(pings()).toBe(true);
    expect(warnings()).toEqual([]);
  });
});

/** A rule, with the handle of the one before it, and a set that gets the name of that before the last. */
const PUT = `put() {
  handle=$(nft -a list chain ip n f | sed -n '$!s/.* # handle //p' | tail -1)
  nft replace rule ip n f handle $handle iifname "{ x, $1 }" drop
}`;

describe('a create starts a firewall tool only where rules are new to it', () => {
  let bare: Host;
  beforeAll(async () => {
    bare = await Host.create();
  });
  afterAll(() => bare.destroy());

  function here(script: string): void {
    expect(bare.run(['sh', '-ec', script])).toMatchObject({ status: 0, stderr: '' });
  }

  /** The programs that a create starts, and what it says of the firewall. */
  function create(name: string): { programs: string; warning: string | undefined } {
    const trace = join(bare.root, 'trace');
    const strace = ['strace', '-f', '-qq', '-e', 'trace=execve', '-o', trace, MINICT, 'create', name];
    const { stderr } = bare.run(strace);
    const warning = stderr.split('\n').find((line) => line.startsWith('minict: warning'));
    return { programs: readFileSync(trace, 'utf8'), warning };
  }
  const asked = { programs: expect.stringMatching(/"nft"/) };
  const remembered = { programs: expect.not.stringMatching(/"nft"|"iptables/) };

  test('no rule at all', () => {
    const { programs, warning } = create('none');
    expect(programs).toContain('"ip"');
    expect({ programs, warning }).toEqual({ ...remembered, warning: undefined });
  });

  test.each([
    ['a table', nft('ip', 'n', 'f', 'accept', []), undefined],
    ['a policy', "nft 'chain ip n f { policy drop; }'", /table ip n, chain f, policy drop/],
    ['a rule', 'nft \'insert rule ip n f iifname "minict0" counter accept\'', undefined],
    ['another rule in its place', "nft 'flush chain ip n f; add rule ip n f drop'", /table ip n, chain f, rule 'drop'/],
    [
      'another rule under its handle',
      "nft 'replace rule ip n f handle '$(nft -a list chain ip n f | sed -n 's/.*drop # handle //p')' accept'",
      undefined,
    ],
    ['a set without a name', `${PUT}; put y`, /chain f, policy drop/],
    ['another one under its name', `${PUT}; put z; put minict0`, /chain f, rule 'drop'/],
    [
      'a chain that is jumped to',
      "nft 'add chain ip n x; insert rule ip n f jump x; add rule ip n x accept'",
      undefined,
    ],
    ['the same table anew', `nft delete table ip n; ${nft('ip', 'n', 'f', 'drop', [])}`, /chain f, policy drop/],
    ['br_netfilter', 'sysctl -qw net.bridge.bridge-nf-call-iptables=0', undefined],
    ['br_netfilter again', 'sysctl -qw net.bridge.bridge-nf-call-iptables=1', /chain f, policy drop/],
  ])('%s', (what, rules, warning) => {
    here(`sysctl -qw net.bridge.bridge-nf-call-iptables=1; ${rules}`);
    const name = what.replaceAll(/[ _]/g, '-');
    const said = warning === undefined ? undefined : expect.stringMatching(warning);
    const first = create(name);
    expect(first).toEqual({ ...(what.startsWith('br_') ? { programs: expect.any(String) } : asked), warning: said });
    expect(create(`${name}-2`)).toEqual({ ...remembered, warning: said });
  });

  test('rules that came and went leave what was remembered true', () => {
    here('nft add rule ip n f accept');
    here('nft delete rule ip n f handle $(nft -a list chain ip n f | sed -n "s/.*accept # handle //p")');
    expect(create('after')).toEqual({ ...remembered, warning: expect.stringMatching(/chain f, policy drop/) });
  });

  test("another network namespace's rules have the same handles", async () => {
    const elsewhere = (rule: string) => {
      const rules = `${nft('ip', 'n', 'f', 'accept', [rule])}; sysctl -qw net.bridge.bridge-nf-call-iptables=1`;
      const script = `ip link set lo up; ${rules}; "$0" create there; "$0" rm there`;
      return bare.run(['unshare', '--net', 'sh', '-ec', script, MINICT]);
    };
    expect(elsewhere('accept')).toMatchObject({ status: 0, stderr: '' });
    // The kernel takes a namespace down when its last process is gone; mostly the next one gets its inode.
    await Bun.sleep(200);
    expect(elsewhere('drop')).toMatchObject({ status: 0, stderr: expect.stringMatching(/rule 'drop'/) });
  });

  test('what is damaged is judged anew', () => {
    create('whole');
    expect(create('whole-2')).toEqual({ ...remembered, warning: expect.stringMatching(/chain f, policy drop/) });
    here('grep -q "policy drop" /run/minict/.firewall; sed -i "s/policy drop/policy drip/" /run/minict/.firewall');
    expect(create('anew')).toEqual({ ...asked, warning: expect.stringMatching(/chain f, policy drop/) });
  });
});
