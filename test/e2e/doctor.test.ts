/**
 * system doctor: what it says of hosts that lack something, and that the command it names mends it. Each host is a
 * throwaway one; what is the whole kernel's is covered by mounts of its own, and never changed.
 */
import { mkdirSync, readdirSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Host, MINICT } from '../helpers/host.ts';

interface Check {
  readonly name: string;
  readonly state: 'pass' | 'warn' | 'fail';
  readonly detail: string;
  readonly fix?: string;
}

let host: Host;
beforeAll(async () => {
  host = await Host.create();
});
afterAll(() => host.destroy());

const DOCTOR = ['system', 'doctor', '--format', 'json'];

/** Its lines; the exit status is 1 exactly where one failed. */
function examine(argv: readonly string[] = [MINICT, ...DOCTOR]): Check[] {
  const { status, stdout, stderr } = host.run(argv);
  const checks = JSON.parse(stdout) as Check[];
  expect({ status, stderr }).toEqual({ status: checks.some(({ state }) => state === 'fail') ? 1 : 0, stderr: '' });
  return checks;
}

function lineOf(name: string, checks = examine()): Check {
  const lines = checks.filter((check) => check.name === name);
  expect(lines).toHaveLength(1);
  return lines[0] as Check;
}

function sh(commands: string): void {
  const PATH = `${dirname(MINICT)}:${process.env.PATH}`;
  expect(host.run(['sh', '-ec', commands], { PATH })).toMatchObject({ status: 0, stderr: '' });
}

/** The line is as expected, and turns to pass by the command that it names. */
function expectMended(name: string, state: 'warn' | 'fail', detail: string): void {
  const line = lineOf(name);
  expect(line).toEqual({ name, state, detail: expect.stringContaining(detail), fix: expect.any(String) });
  sh(line.fix as string);
  expect(lineOf(name)).toMatchObject({ state: 'pass' });
}

describe('what it prints', () => {
  test('every line is pass, warn or fail; what does not pass names what helps', () => {
    const checks = examine();
    const names = ['root', 'kernel', 'util-linux', 'mount', 'iproute2', 'namespaces', 'overlayfs', 'veth', 'bridge'];
    names.push(
      'nftables',
      'arping',
      'tcpdump',
      'skopeo',
      'netem',
      'cgroup',
      'limits',
      'ip_forward',
      'br_netfilter',
      'firewall',
      'routes',
      'neighbours',
      'SELinux',
    );
    expect(checks.map(({ name }) => name)).toEqual(expect.arrayContaining(names));
    for (const { state, fix } of checks) {
      expect(['pass', 'warn']).toContain(state);
      expect(fix).toEqual(state === 'pass' ? undefined : expect.stringMatching(/./));
    }
    const lines = host.minict('system', 'doctor').stdout.split('\n').filter(Boolean);
    expect(lines.filter((line) => !line.startsWith('      fix: ')).map((line) => line.split(/ {2,}/)[1])).toEqual(
      checks.map(({ name }) => name),
    );
    expect(lines.filter((line) => line.startsWith('      fix: '))).toEqual(
      checks.flatMap(({ fix }) => (fix === undefined ? [] : [`      fix: ${fix}`])),
    );
  });

  test('another format is refused', () => {
    expect(host.minict('system', 'doctor', '--format', 'xml')).toMatchObject({ status: 125, stdout: '' });
  });

  test('a user who is not root is told so, and nothing breaks', () => {
    // Of a place that any user can reach, wherever the executable is.
    sh(`mkdir /run/bin && touch /run/bin/minict && mount --bind '${MINICT}' /run/bin/minict`);
    const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '/run/bin/minict'];
    const checks = examine([...nobody, '--root', '/run/none', ...DOCTOR]);
    expect(checks.filter(({ state }) => state === 'fail')).toEqual([
      { name: 'root', state: 'fail', detail: 'no', fix: 'sudo minict system doctor' },
    ]);
    expect(lineOf('firewall', checks)).toMatchObject({ state: 'warn', detail: 'not tried: not root' });
  });
});

describe('tools', () => {
  /** A folder for PATH with all of the machine's tools. */
  function tools(name: string): string {
    const dir = join(host.root, name);
    mkdirSync(dir);
    for (const tool of new Set([...readdirSync('/usr/sbin'), ...readdirSync('/usr/bin')])) {
      symlinkSync(Bun.which(tool, { PATH: '/usr/sbin:/usr/bin' }) ?? '/dev/null', join(dir, tool));
    }
    return dir;
  }

  test('one that is missing', () => {
    const dir = tools('without-ip');
    unlinkSync(join(dir, 'ip'));
    const checks = examine(['env', `PATH=${dir}`, MINICT, ...DOCTOR]);
    const fix = 'apt-get install iproute2';
    expect(lineOf('iproute2', checks)).toEqual({
      name: 'iproute2',
      state: 'fail',
      detail: 'ip not found in PATH',
      fix,
    });
    expect(lineOf('veth', checks).state).toBe('fail');
  });

  test('all of them: each line names a Debian package that has the tool', () => {
    const checks = examine(['env', `PATH=${host.root}/none`, MINICT, ...DOCTOR]);
    const missing = checks.filter(({ detail }) => / not found in PATH( \(|$)/.test(detail));
    expect(missing.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['util-linux', 'iproute2', 'tar', 'xz', 'crun', 'svlogd']),
    );
    for (const { name, detail, fix = '' } of missing) {
      if (name === 'bootstrap') continue;
      const files = host.run(['dpkg', '-L', fix.replace('apt-get install ', '')]).stdout.split('\n');
      const wanted = detail.replace(/^not tried: | not found.*/g, '').split(', ');
      for (const tool of wanted) expect(files).toContainEqual(expect.stringMatching(RegExp(`bin/${tool}$`)));
    }
  });

  test('what only some verbs need is a warning that says what is lost', () => {
    const checks = examine(['env', `PATH=${host.root}/none`, MINICT, ...DOCTOR]);
    for (const [name, lost] of [
      ['nftables', /no --nat, no published ports/],
      ['arping', /networks with an uplink/],
      ['tcpdump', /no minict capture/],
      ['skopeo', /no images from registries/],
    ] as const) {
      expect(lineOf(name, checks)).toMatchObject({ state: 'warn', detail: expect.stringMatching(lost) });
    }
  });

  test('netem: as the kernel is', () => {
    const { state, fix } = lineOf('netem');
    const can = host.run(['unshare', '--net', 'tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'netem']).status === 0;
    expect({ state, fix }).toEqual(
      can ? { state: 'pass', fix: undefined } : { state: 'warn', fix: expect.stringContaining('CONFIG_NET_SCH_NETEM') },
    );
  });

  test('a busybox that is not static', () => {
    const lines =
      'for f in /bin/busybox /usr/local/lib/minict/busybox; do test ! -e $f || mount --bind /bin/sh $f; done; exec "$@"';
    const checks = examine(['unshare', '--mount', 'sh', '-ec', lines, 'sh', MINICT, ...DOCTOR]);
    expect(lineOf('busybox', checks)).toMatchObject({ state: 'warn', fix: 'apt-get install busybox-static' });
    expect(lineOf('busybox').state).toBe('pass');
  });

  test('an old one, and one of busybox', () => {
    const old = tools('old');
    unlinkSync(join(old, 'unshare'));
    writeFileSync(join(old, 'unshare'), '#!/bin/sh\necho unshare from util-linux 2.33.1\n', { mode: 0o755 });
    unlinkSync(join(old, 'mount'));
    symlinkSync(Bun.which('busybox') as string, join(old, 'mount'));
    const checks = examine(['env', `PATH=${old}`, MINICT, ...DOCTOR]);
    expect(lineOf('util-linux', checks)).toMatchObject({ state: 'fail', detail: '2.33.1 is older than 2.36' });
    expect(lineOf('mount', checks)).toMatchObject({ state: 'fail', fix: 'apt-get install mount' });
  });
});

describe('what is wrong, and what mends it', () => {
  test('forwarding is off', () => {
    sh('sysctl -qw net.ipv4.ip_forward=0');
    expectMended('ip_forward', 'warn', '0: containers reach one another');
  });

  test('bridged traffic meets iptables or does not', () => {
    sh('sysctl -qw net.bridge.bridge-nf-call-iptables=0');
    expect(lineOf('br_netfilter')).toMatchObject({ state: 'pass', detail: expect.stringContaining('meets no rules') });
    sh('sysctl -qw net.bridge.bridge-nf-call-iptables=1');
    expect(lineOf('br_netfilter')).toMatchObject({ state: 'pass', detail: expect.stringContaining('of iptables') });
  });

  test('the firewall drops bridged and forwarded traffic', () => {
    sh('sysctl -qw net.bridge.bridge-nf-call-iptables=1 net.ipv4.ip_forward=1; iptables-nft -P FORWARD DROP');
    const lines = examine().filter(({ name }) => name === 'firewall');
    expect(lines.map(({ state, detail }) => `${state} ${detail.split(':')[0]}`)).toEqual([
      'warn stops traffic between containers',
      'warn stops traffic from containers to other networks',
    ]);
    for (const { fix = '' } of lines) sh(fix);
    expect(lineOf('firewall')).toMatchObject({ state: 'pass' });
  });

  test('rules that no tool can read', () => {
    const checks = examine(['env', `PATH=${host.root}/none`, MINICT, ...DOCTOR]);
    const lines = checks.filter(({ name }) => name === 'firewall');
    expect(lines[0]).toMatchObject({ state: 'warn', fix: 'apt-get install nftables iptables' });
    expect(lines[0]?.detail).toContain('table ip filter may stop traffic between containers');
  });

  test('a route that came later overlaps the network', () => {
    expect(lineOf('routes')).toMatchObject({ state: 'pass', detail: expect.stringContaining('first create') });
    host.minict('create', 'r1');
    expect(lineOf('routes')).toMatchObject({ state: 'pass', detail: 'none overlaps 192.168.0.0/24' });
    sh('ip link add vpn0 type bridge; ip addr add 192.168.0.65/26 dev vpn0; ip link set vpn0 up');
    expectMended('routes', 'warn', '192.168.0.64/26 on vpn0 overlaps network minict0, 192.168.0.0/24');
    host.minict('create', 'r2');
    expect(lineOf('routes')).toMatchObject({ state: 'pass', detail: 'none overlaps 192.168.1.0/24' });
    host.minict('rm', 'r2');
    sh('ip link del vpn0');
  });

  test('the neighbour table is small', () => {
    const dir = '/proc/sys/net/ipv4/neigh';
    sh(
      `mount -t tmpfs none ${dir}; mkdir ${dir}/default; cd ${dir}/default; echo 512 >gc_thresh2; echo 1024 >gc_thresh3`,
    );
    expectMended('neighbours', 'warn', 'gc_thresh3 1024');
    sh(`umount ${dir}`);
  });

  test('/run/netns is a mount that is not shared', () => {
    sh('umount /run/netns; mkdir -p /run/netns; mount --bind /run/netns /run/netns; mount --make-private /run/netns');
    expectMended('/run/netns', 'warn', 'not shared');
  });

  test('no cgroup hierarchy, cgroup2 beside others, cgroup2 alone', () => {
    const dir = '/sys/fs/cgroup';
    sh(`mount -t tmpfs none ${dir}`);
    expectMended('cgroup', 'fail', 'cannot find a cgroup hierarchy');
    expect(lineOf('cgroup').detail).toMatch(/^v2 at \/sys\/fs\/cgroup, .*cgroup.kill/);
    sh(`umount ${dir}; mkdir ${dir}/unified; mount -t cgroup2 none ${dir}/unified`);
    expect(lineOf('cgroup')).toMatchObject({ state: 'pass', detail: expect.stringMatching(/^v2 at .*unified/) });
    sh(`umount ${dir}/unified ${dir}`);
  });

  test('the state folder is on overlayfs', () => {
    sh(`cd ${host.root}; mkdir -p o/l o/u o/w o/m; mount -t overlay -o lowerdir=o/l,upperdir=o/u,workdir=o/w o o/m`);
    const checks = examine([MINICT, '--root', `${host.root}/o/m`, ...DOCTOR]);
    expect(lineOf('state folder', checks)).toMatchObject({ state: 'fail', fix: expect.stringContaining('--root DIR') });
    expect(lineOf('state folder', examine([MINICT, '--root', `${host.root}/o/u`, ...DOCTOR])).state).toBe('pass');
    sh(`umount ${host.root}/o/m`);
  });

  test('SELinux enforces', () => {
    expect(lineOf('SELinux').state).toBe('pass');
    const covered = 'mount -t tmpfs none /sys/fs; mkdir /sys/fs/selinux; echo 1 >/sys/fs/selinux/enforce; exec "$@"';
    const checks = examine(['unshare', '--mount', 'sh', '-ec', covered, 'sh', MINICT, ...DOCTOR]);
    expect(lineOf('SELinux', checks)).toMatchObject({ state: 'warn', fix: 'setenforce 0' });
  });
});
