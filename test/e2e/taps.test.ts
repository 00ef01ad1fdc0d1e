/** Taps for virtual machines: in a network, with an address of their own, as long as the network is there. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefused, expectRefusedThere } from '../helpers/expect.ts';
import { Host, MINICT } from '../helpers/host.ts';
import { readIp } from '../helpers/links.ts';
import { printScript } from '../helpers/script.ts';

let host: Host;
const network = (...words: string[]) => host.minict('network', ...words);
const does = (...words: string[]) => expect(host.minict(...words)).toMatchObject({ status: 0, stderr: '' });
const tapOf = (name: string) => readIp(host, '-d', 'link', 'show', 'dev', name)[0];
const expectTap = (name: string) =>
  expect(tapOf(name)).toMatchObject({
    master: 'lan',
    ifalias: expect.stringMatching(new RegExp(`^minict:[^:]+:lan:${name}$`)),
    flags: expect.arrayContaining(['UP']),
    linkinfo: { info_kind: 'tun', info_data: { type: 'tap', persist: true } },
  });

beforeAll(async () => {
  host = await Host.create();
  does('network', 'create', 'lan', '--subnet', '10.1.0.0/24', '--subnet', 'fd00:1::/64');
  expectCreated(host, 'c1', '--network', 'lan');
});
afterAll(() => host.destroy());

test('it is a port of the network, and what it prints is what qemu wants', () => {
  const made = network('tap', 'lan', 'vm0', '--user', '65534');
  expect(made).toMatchObject({ status: 0, stderr: '' });
  const mac = /^mac (02(:[0-9a-f]{2}){5})$/m.exec(made.stdout)?.[1];
  expect(made.stdout).toBe(
    `address 10.1.0.3/24\naddress fd00:1::3/64\ngateway 10.1.0.1\ngateway fd00:1::1\nmac ${mac}\n` +
      'qemu -netdev tap,id=net-vm0,ifname=vm0,script=no,downscript=no ' +
      `-device virtio-net-pci,netdev=net-vm0,mac=${mac}\n`,
  );
  expectTap('vm0');
  expect((tapOf('vm0') as unknown as { linkinfo: { info_data: { user: string } } }).linkinfo.info_data.user).toBe(
    'nobody',
  );
  expect(JSON.parse(network('inspect', 'lan').stdout)[0].taps).toEqual({
    vm0: { addresses: ['10.1.0.3/24', 'fd00:1::3/64'], mac, user: '65534' },
  });
  expect(network('ls').stdout).toMatch(/^lan .* c1, vm0 \(tap\) +up$/m);
  expect(host.minict('exec', 'c1', 'cat', '/etc/hosts').stdout).toContain('10.1.0.3\tvm0\n');
});

test('its address is not given to anybody else', async () => {
  await expectRefusedThere(host, ['create', 'c2', '--network', 'lan', '--ip', '10.1.0.3'], /taken by tap vm0/);
  expectCreated(host, 'c2', '--network', 'lan');
  expect(host.minict('inspect', 'c2').stdout).toContain('10.1.0.4/24');
  expect(network('tap', 'lan', 'vm1', '--ip', '10.1.0.77').stdout).toContain(
    'address 10.1.0.77/24\naddress fd00:1::5/64\n',
  );
  does('network', 'tap', 'rm', 'vm1');
  does('rm', 'c2');
});

test('it comes back with its network: removed by hand, with the bridge removed, after a reboot', async () => {
  for (const hand of [
    ['ip', 'link', 'del', 'vm0'],
    ['ip', 'link', 'set', 'dev', 'vm0', 'nomaster'],
    ['ip', 'link', 'set', 'dev', 'vm0', 'down'],
  ]) {
    expect(host.run(hand).status).toBe(0);
    const script = printScript(host, 'network', 'reload', '--dry-run');
    expect(host.run(['sh'], {}, script)).toEqual({ status: 0, stdout: '', stderr: '' });
    expectTap('vm0');
    expect(host.run(hand).status).toBe(0);
    expect(network('ls').stdout).toMatch(/^lan .* broken \(missing: tap vm0\)$/m);
    expect(JSON.parse(network('inspect', 'lan').stdout)[0]).toMatchObject({ state: 'broken', missing: ['tap vm0'] });
    expect(network('reload')).toEqual({ status: 0, stdout: 'network lan: tap vm0\n', stderr: '' });
    expectTap('vm0');
    expect(network('ls').stdout).toMatch(/^lan .* up$/m);
  }
  expect(host.run(['ip', 'link', 'del', 'vm0']).status).toBe(0);
  expect(network('tap', 'lan', 'vm0').stdout).toContain('address 10.1.0.3/24');
  expectTap('vm0');
  // A machine may run on it: it stays the same one.
  const { ifindex } = tapOf('vm0') as { ifindex: number };
  for (const back of [
    ['start', 'c1'],
    ['network', 'reload'],
  ]) {
    expect(host.run(['ip', 'link', 'del', 'lan']).status).toBe(0);
    does(...back);
    expectTap('vm0');
    expect(tapOf('vm0')).toMatchObject({ ifindex });
  }
  await host.reboot();
  does('start', 'c1');
  expectTap('vm0');
});

test("where somebody else's has its name the others are put back, and no script takes that one away", () => {
  for (const name of ['vm1', 'vm2']) does('network', 'tap', 'lan', name);
  const hands = 'ip link del vm1; ip tuntap add dev vm1 mode tap; ip link set dev vm2 down';
  expect(host.run(['sh', '-ec', hands])).toMatchObject({ status: 0, stderr: '' });
  expect(network('reload')).toEqual({
    status: 125,
    stdout: 'network lan: tap vm2\n',
    stderr: expect.stringMatching(/^minict: cannot make tap vm1: the host has an interface of that name\nhint: .*\n$/),
  });
  expectTap('vm2');
  const script = printScript(host, 'network', 'tap', 'rm', 'vm1', '--dry-run');
  expect(host.run(['sh'], {}, script)).toEqual({ status: 0, stdout: '', stderr: '' });
  for (const name of ['vm1', 'vm2']) does('network', 'tap', 'rm', name);
  expect(tapOf('vm1')).toBeDefined();
  expect(host.run(['ip', 'link', 'del', 'vm1']).status).toBe(0);
});

test("neither it nor a container's end is a port of somebody else's bridge that has its network's name", () => {
  const hands = 'ip link del lan; ip link add name lan type bridge';
  expect(host.run(['sh', '-ec', hands])).toMatchObject({ status: 0, stderr: '' });
  const { status, stdout, stderr } = network('reload');
  expect([status, stdout, stderr]).toEqual([
    125,
    '',
    expect.stringMatching(/^minict: cannot make network lan: an interface lan is there[^\n]*\nhint: .*\n$/),
  ]);
  const script = printScript(host, 'network', 'reload', '--dry-run');
  expect(host.run(['sh'], {}, script)).toEqual({ status: 0, stdout: '', stderr: '' });
  for (const name of ['vm0', 'c1-eth0']) expect(tapOf(name)).not.toHaveProperty('master');
  expect(host.run(['ip', 'link', 'del', 'lan']).status).toBe(0);
  does('network', 'reload');
  does('start', 'c1');
  expectTap('vm0');
});

test('printed scripts leave the kernel as the verbs do', () => {
  const run = (script: string) => expect(host.run(['sh'], {}, script)).toEqual({ status: 0, stdout: '', stderr: '' });
  const links = () => host.snapshot().network;
  const tap = ['network', 'tap', 'lan', 'vm3', '--user', '65534', '--ip', '10.1.0.33'];
  const before = links();
  const [make, undo] = ['--dry-run', '--dry-run-undo'].map((option) => printScript(host, ...tap, option));
  run(make as string);
  expectTap('vm3');
  expect(host.minict('exec', 'c1', 'cat', '/etc/hosts').stdout).toContain('10.1.0.33\tvm3\n');
  const scripted = links();
  run(undo as string);
  expect(links()).toEqual(before);
  does(...tap);
  expect(links()).toEqual(scripted);
  const rm = ['network', 'tap', 'rm', 'vm3'];
  const [remove, remake] = ['--dry-run', '--dry-run-undo'].map((option) => printScript(host, ...rm, option));
  run(remove as string);
  expect(links()).toEqual(before);
  run(remake as string);
  expect(links()).toEqual(scripted);
  run(remove as string);
  // Recorded, and not there: the verb would put it back.
  run(printScript(host, ...tap, '--dry-run'));
  expect(links()).toEqual(scripted);
  does(...rm);
  expect(links()).toEqual(before);
});

test('one that somebody else makes at that very moment stays, and the other one is refused', () => {
  const tools = join(host.dir, 'tools');
  mkdirSync(tools);
  const ip = Bun.which('ip') as string;
  // Between minict's look and its own.
  const script = `#!/bin/sh\n[ "$*" != '-batch -' ] || ${ip} tuntap add dev vm4 mode tap\nexec ${ip} "$@"\n`;
  writeFileSync(join(tools, 'ip'), script, { mode: 0o755 });
  const refused = host.run([MINICT, 'network', 'tap', 'lan', 'vm4'], { PATH: `${tools}:${process.env.PATH}` });
  expectRefused(refused, /^minict: cannot make tap vm4: .*Device or resource busy\n$/);
  expect(tapOf('vm4')).not.toHaveProperty('master');
  expect(tapOf('vm4')).not.toHaveProperty('ifalias');
  expect(host.run(['ip', 'link', 'del', 'vm4']).status).toBe(0);
  expect(JSON.parse(network('inspect', 'lan').stdout)[0].taps).not.toHaveProperty('vm4');
});

test('two at once of one name: one is made, in whichever network; the other is refused, and of another root too', async () => {
  const other = { MINICT_ROOT: join(host.dir, 'other'), MINICT_RUN_DIR: '/run/other' };
  expect(host.run([MINICT, 'network', 'create', 'wan', '--subnet', '10.5.0.0/24'], other).status).toBe(0);
  const others = Object.entries(other).map(([key, value]) => `${key}=${value}`);
  const [first, second, third] = [
    host.spawn([MINICT, 'network', 'tap', 'lan', 'vm5']),
    host.spawn([MINICT, 'network', 'tap', 'lan', 'vm5']),
    host.spawn(['env', ...others, MINICT, 'network', 'tap', 'wan', 'vm5']),
  ];
  const ends = await Promise.all([first.exited, second.exited, third.exited]);
  expect([...ends].sort()).toEqual([0, 125, 125]);
  const winner = ends[2] === 0 ? 'wan' : 'lan';
  expect(tapOf('vm5')).toMatchObject({ master: winner, ifalias: expect.stringMatching(`:${winner}:vm5$`) });
  const rm = [MINICT, 'network', 'tap', 'rm', 'vm5'];
  expect([host.run(rm).status, host.run(rm, other).status].sort()).toEqual([0, 125]);
  expect(host.run([MINICT, 'network', 'rm', 'wan'], other)).toMatchObject({ status: 0, stderr: '' });
});

test.each<[string[], RegExp]>([
  [['tap', 'lan', 'vm0', '--dry-run'], /network lan has it/],
  [['tap', 'lan', 'lan', '--dry-run'], /the host has an interface of that name/],
  [['tap', 'rm', 'vm2', '--dry-run'], /no network has one of that name/],
  [['tap', 'lan', 'vm0'], /network lan has it\nhint: minict network tap rm vm0/],
  [['tap', 'lan', 'lo'], /a word of its own/],
  [['tap', 'lan', 'lan'], /the host has an interface of that name/],
  [['tap', 'lan', 'x'.repeat(16)], /not a valid name/],
  [['tap', 'nonet', 'vm2'], /no such network/],
  [['tap', 'lan', 'vm2', '--ip', '10.2.0.1'], /outside network lan/],
  [['tap', 'lan', 'vm2', '--ip', '10.1.0.2'], /taken by container c1/],
  [['tap', 'lan', 'vm2', '--ip', '10.1.0.1'], /taken by the bridge lan/],
  [['tap', 'lan', 'vm2', '--user', 'no such'], /not the name or number/],
  [['tap', 'lan', 'vm2', '--user', 'nosuchuser'], /cannot use user nosuchuser: the host has none of that name\nhint: /],
  [['tap', 'rm', 'vm2'], /no network has one of that name/],
  [['rm', 'lan'], /tap vm0 is in it\nhint: minict network tap rm vm0/],
])('network %j is refused, and changes nothing', async (words, message) => {
  await expectRefusedThere(host, ['network', ...words], message);
});

test('prune leaves the network while there is a tap; then nothing is left', () => {
  does('rm', 'c1');
  expect(network('prune')).toMatchObject({ status: 0, stdout: '' });
  expectTap('vm0');
  does('network', 'tap', 'rm', 'vm0');
  does('network', 'rm', 'lan');
  expect(readIp(host, 'link').map(({ ifname }) => ifname)).toEqual(['lo']);
});
