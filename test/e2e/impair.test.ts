/** net impair: what tc, ethtool and the traffic itself say of it. */
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { expectCreated, expectRefused } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';
import { eth0Of, readIp } from '../helpers/links.ts';

let host: Host;
let isNetemThere: boolean;
const NIC = 'a1:eth0';

beforeAll(async () => {
  host = await Host.create();
  isNetemThere = host.run(['unshare', '--net', 'tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'netem']).status === 0;
  expectCreated(host, 'a1');
  expectCreated(host, 'a2');
});
afterAll(() => host.destroy());
afterEach(() => {
  done('--clear', '--force');
  host.run(['tc', '-n', 'a1', 'qdisc', 'del', 'dev', 'eth0', 'clsact']);
  expect(tc()).toBe('qdisc noqueue 0: root refcnt 2 \n');
});

const impair = (...words: string[]) => host.minict('net', 'impair', NIC, ...words);
const tc = (...words: string[]) =>
  host.run(['tc', '-n', 'a1', ...(words.length > 0 ? words : ['qdisc', 'show']), 'dev', 'eth0']).stdout;
const egress = () => host.run(['tc', '-n', 'a1', 'filter', 'show', 'dev', 'eth0', 'egress']).stdout;
const addressOf = (name: string) => eth0Of(host, name).addr_info[0]?.local as string;
const inside = (name: string, ...argv: string[]) => host.run(['ip', 'netns', 'exec', name, ...argv]);

function done(...words: string[]): void {
  expect(impair(...words)).toMatchObject({ status: 0, stdout: `${NIC}\n` });
}

function shown(): object {
  return JSON.parse(impair('--format', 'json').stdout)[0];
}

/** Megabits a second that arrive at a2, of what a1 sends for two seconds. */
async function throughput(): Promise<number> {
  const server = host.spawn(['ip', 'netns', 'exec', 'a2', 'stdbuf', '-oL', 'iperf3', '-s', '-1']);
  await (server.stdout as ReadableStream<Uint8Array>).getReader().read();
  const { stdout } = inside('a1', 'iperf3', '-J', '-t', '2', '-c', addressOf('a2'));
  server.kill();
  await server.exited;
  return JSON.parse(stdout).end.sum_received.bits_per_second / 1e6;
}

/**
 * SO_BROADCAST; IP_RECVERR, by which ip(7) tells of a local drop. In portions: a thousand at once fill a CPU's backlog
 * (net.core.netdev_max_backlog) where nothing takes from it meanwhile.
 */
const SEND = `import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_IP, 11, 1)
for i in range(1000):
  s.sendto(b"x", ("192.168.0.255", 9))
  if i % 100 == 99: time.sleep(0.01)`;

/** How many of a thousand datagrams arrive, of whose loss the sender is not told. */
function arrived(): number {
  const received = (): number => {
    const [link] = JSON.parse(inside('a2', 'ip', '-j', '-s', 'link', 'show', 'dev', 'eth0').stdout);
    return link.stats64.rx.packets;
  };
  const before = received();
  expect(inside('a1', 'python3', '-c', SEND)).toEqual({ status: 0, stdout: '', stderr: '' });
  return received() - before;
}

describe('a rate', () => {
  test('holds what leaves the NIC to it, and outlasts stop and start', async () => {
    expect(await throughput()).toBeGreaterThan(50);
    done('--rate', '10mbit');
    expect(tc()).toMatch(/^qdisc tbf 4d43: root refcnt \d rate 10Mbit burst 5000b lat 50ms \n$/);
    expect(await throughput()).toBeLessThan(14);
    host.minict('stop', 'a1');
    host.minict('start', 'a1');
    expect(shown()).toEqual({ nic: 'eth0', rateBits: 10e6, offload: {} });
    done('--clear');
    expect(await throughput()).toBeGreaterThan(50);
  });

  test.each([
    ['8kbit', /rate 8Kbit burst 3036b lat 6\.07s/],
    ['64kbps', /rate 512Kbit /],
    ['1.5Mbit', /rate 1500Kbit /],
    ['10gbit', /rate 10Gbit burst \d{7}b /],
    ['1tbit', /rate 1Tbit /],
  ])('%s', (rate, line) => {
    done('--rate', rate);
    expect(tc()).toMatch(line);
  });

  test('a bigger MTU has a bigger bucket', () => {
    host.run(['ip', '-n', 'a1', 'link', 'set', 'eth0', 'mtu', '9000']);
    done('--rate', '1mbit');
    expect(tc()).toContain('burst 18036b');
    host.run(['ip', '-n', 'a1', 'link', 'set', 'eth0', 'mtu', '1500']);
  });
});

describe('loss', () => {
  test('takes that many packets, and their sender is told nothing', () => {
    expect(arrived()).toBeGreaterThanOrEqual(1000);
    done('--loss', '30%');
    const some = arrived();
    expect(some).toBeGreaterThan(600);
    expect(some).toBeLessThan(800);
    done('--loss', '100');
    expect(arrived()).toBe(0);
    expect(shown()).toMatchObject({ lossPercent: 100 });
    done('--loss', '0.001%');
    expect(impair().stdout).toBe(
      'NIC   DELAY  JITTER  LOSS    RATE  OFFLOAD  OTHER QDISC\neth0  -      -       0.001%  -     -        -\n',
    );
    done('--loss', '0%');
    expect(shown()).toEqual({ nic: 'eth0', offload: {} });
  });

  test('goes together with a rate; each call says all of it', () => {
    done('--loss', '5%', '--rate', '1mbit');
    expect(shown()).toMatchObject({ lossPercent: expect.closeTo(5, 3), rateBits: 1e6 });
    done('--rate', '2mbit');
    expect(shown()).toEqual({ nic: 'eth0', rateBits: 2e6, offload: {} });
    done('--loss', '5%');
    expect(shown()).not.toHaveProperty('rateBits');
  });

  test("a filter of the user's stays", () => {
    host.run(['tc', '-n', 'a1', 'qdisc', 'add', 'dev', 'eth0', 'clsact']);
    const theirs = ['pref', '7', 'protocol', 'ip', 'u32', 'match', 'u32', '0', '0', 'flowid', '1:1'];
    expect(host.run(['tc', '-n', 'a1', 'filter', 'add', 'dev', 'eth0', 'egress', ...theirs]).status).toBe(0);
    const before = egress();
    done('--loss', '100%');
    done('--clear');
    expect(egress()).toBe(before);
  });
});

test('a delay is netem’s, or refused where the kernel has none', () => {
  const result = impair('--delay', '20ms', '--jitter', '5ms', '--loss', '1%', '--rate', '10mbit');
  if (isNetemThere) {
    expect(result.status).toBe(0);
    expect(tc()).toMatch(/^qdisc netem 4d43: .* delay 20ms {2}5ms loss 1% rate 10Mbit/);
    expect(shown()).toMatchObject({ delayUs: 20_000, jitterUs: 5000, lossPercent: 1, rateBits: 10e6 });
  } else {
    expectRefused(result, /no netem \(Specified qdisc kind is unknown\)\nhint: .*sch_netem, CONFIG_NET_SCH_NETEM/);
    expect(tc()).toContain('noqueue');
  }
});

describe("a qdisc of the user's", () => {
  test('is refused, and stays; --force takes its place, or takes it away', () => {
    const theirs = () => host.run(['tc', '-n', 'a1', 'qdisc', 'add', 'dev', 'eth0', 'root', 'handle', '7:', 'htb']);
    theirs();
    expectRefused(impair('--rate', '1mbit'), /a qdisc that minict did not make \(htb 7:\)\nhint: --force/);
    expect(shown()).toMatchObject({ foreign: 'htb 7:' });
    expect(impair('--clear')).toEqual({
      status: 0,
      stdout: `${NIC}\n`,
      stderr: `minict: ${NIC} keeps the qdisc htb 7:, which minict did not make; --force removes it\n`,
    });
    expect(tc()).toContain('htb 7:');
    done('--rate', '1mbit', '--force');
    expect(tc()).toContain('tbf 4d43:');
    done('--clear');
    theirs();
    done('--clear', '--force');
    expect(tc()).toContain('noqueue');
  });
});

describe('--offload', () => {
  const features = () => inside('a1', 'ethtool', '-k', 'eth0').stdout;

  test('changes features, which --clear puts back, whatever depends on them', () => {
    const before = features();
    done('--offload', 'tx=off,gro=on');
    expect(features()).toMatch(/tx-tcp-segmentation: off \[requested on\]/);
    done('--offload', 'tx-udp-segmentation=off');
    done('--rate', '1mbit');
    expect(shown()).toMatchObject({
      rateBits: 1e6,
      offload: { 'tx-checksum-ip-generic': 'off', 'generic-receive-offload': 'on' },
    });
    expect(impair().stdout).toMatch(/^eth0 .* 1mbit {2}tx=off,gro=on {2}-$/m);
    host.minict('stop', 'a1');
    host.minict('start', 'a1');
    done('--clear');
    expect(features()).toBe(before);
    expect(shown()).toEqual({ nic: 'eth0', offload: {} });
  });

  test('what the NIC does not have, or does not let be changed, is refused', () => {
    const before = features();
    expectRefused(impair('--offload', 'warp=on'), /a1:eth0 has no such feature\nhint: tso/);
    expectRefused(impair('--offload', 'lro=on'), /cannot turn lro on: fixed/);
    expectRefused(impair('--offload', 'tso'), /not FEATURE=on\|off/);
    expect(features()).toBe(before);
  });
});

test('a tool that is missing is named, and nothing is changed', () => {
  const bin = join(host.dir, 'bin');
  mkdirSync(bin);
  for (const tool of ['ip', 'tc', 'nsenter', 'unshare']) symlinkSync(Bun.which(tool) as string, join(bin, tool));
  const words = ['env', `PATH=${bin}`, MINICT, 'net', 'impair', NIC, '--rate', '1mbit', '--offload', 'tso=off'];
  expectRefused(host.run(words), /cannot run ethtool: not found in PATH\nhint: apt-get install ethtool/);
  rmSync(join(bin, 'tc'));
  expectRefused(host.run(words), /cannot run tc: not found in PATH\nhint: apt-get install iproute2/);
  expect(tc()).toContain('noqueue');
});

test('--dry-run prints a script that does the same, and changes nothing', () => {
  const words = ['--loss', '2%', '--rate', '3mbit', '--offload', 'tso=off'];
  const script = impair(...words, '--dry-run');
  expect(script).toMatchObject({ status: 0, stderr: '' });
  expect(tc()).toContain('noqueue');
  done(...words);
  const [qdiscs, filters] = [tc(), egress()];
  const clear = impair('--clear', '--dry-run').stdout;
  expect(host.run(['sh', '-s'], {}, clear)).toEqual({ status: 0, stdout: '', stderr: '' });
  expect(tc()).toContain('noqueue');
  expect(host.run(['sh', '-s'], {}, script.stdout)).toEqual({ status: 0, stdout: '', stderr: '' });
  expect([tc(), egress()]).toEqual([qdiscs, filters]);
});

test('without a NIC, all are shown', () => {
  const rows = JSON.parse(host.minict('net', 'impair', 'a1', '--format', 'json').stdout) as { nic: string }[];
  expect(rows.map(({ nic }) => nic)).toEqual(readIp(host, '-n', 'a1', 'link').map(({ ifname }) => ifname));
});

describe('bad input', () => {
  test.each([
    [['nope:eth0', '--rate', '1mbit'], /no such container\nhint: minict ps -a/],
    [['a1:eth7', '--rate', '1mbit'], /a1 has no interface eth7\nhint: it has lo, eth0\n/],
    [['a1', '--rate', '1mbit'], /it names none\nhint: a1:eth0/],
    [['a1:', '--rate', '1mbit'], /"": not a valid name/],
    [['a1:eth0123456789abc', '--rate', '1mbit'], /longer than 15 bytes/],
    [['a1:eth0/x', '--rate', '1mbit'], /not a valid name/],
    [['a1:-n', '--rate', '1mbit'], /not a valid name/],
    [[NIC, '--rate', '10'], /--rate "10": no unit\nhint: for example 10mbit/],
    [[NIC, '--rate', 'fast'], /no rate/],
    [[NIC, '--rate', '-1mbit'], /no rate/],
    [[NIC, '--rate', '1kbit'], /not within 8kbit and 1tbit/],
    [[NIC, '--rate', '1e9bit'], /no rate/],
    [[NIC, '--loss', '101%'], /more than 100 %/],
    [[NIC, '--loss', '-1%'], /no percentage/],
    [[NIC, '--loss', '1ms'], /no percentage/],
    [[NIC, '--delay', '20'], /no unit\nhint: for example 20ms/],
    [[NIC, '--delay', '2h'], /no time/],
    [[NIC, '--delay', '61s'], /more than a minute/],
    [[NIC, '--jitter', '5ms'], /--jitter without --delay/],
    [[NIC, '--clear', '--rate', '1mbit'], /--clear with what it would clear/],
    [[NIC, '--force'], /--force alone/],
    [[NIC, '--dry-run'], /--dry-run alone/],
    [[NIC, '--format', 'xml'], /table or json/],
    [[], /cannot net impair: missing required argument 'nic'/],
  ])('%j is refused', (words, message) => {
    expectRefused(host.minict('net', 'impair', ...words), message);
  });

  test('not root', () => {
    const asNobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', MINICT, 'net', 'impair', NIC];
    expectRefused(host.run(asNobody), /not root\nhint: sudo minict net impair/);
  });

  test('a container whose namespace a reboot took', async () => {
    const other = await Host.create();
    try {
      expectCreated(other, 'b1');
      await other.reboot();
      expectRefused(other.minict('net', 'impair', 'b1:eth0'), /no network namespace.*\nhint: minict start b1/);
    } finally {
      await other.destroy();
    }
  });
});
