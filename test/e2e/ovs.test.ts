/** Networks of Open vSwitch: its daemons come and go, its database outlasts them, and others have bridges in it. */
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefused, expectRefusedThere } from '../helpers/expect.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { ovsRows, startOvsdb, startVswitchd, stopOvs, stopVswitchd } from '../helpers/ovs.ts';
import { printScript } from '../helpers/script.ts';

const CREATE = ['network', 'create', 'sw0', '--driver', 'ovs', '-o', 'datapath_type=netdev'];

let host: Host;
let clean: string[];
const network = (...words: string[]) => host.minict('network', ...words);
const vsctl = (...words: string[]) =>
  expect(host.run(['ovs-vsctl', '--timeout=10', ...words])).toMatchObject({ status: 0 });
const pings = (from: string, to: string) => host.minict('exec', from, 'ping', '-c1', '-W5', to).status === 0;
const make = () => {
  expect(host.minict(...CREATE, '--subnet', '10.6.0.0/24')).toMatchObject({ status: 0, stderr: '' });
  expectCreated(host, 'a', '--network', 'sw0');
  expectCreated(host, 'b', '--network', 'sw0');
};
const remove = () => {
  expect(host.minict('rm', 'a', 'b')).toMatchObject({ status: 0, stderr: '' });
  expect(network('rm', 'sw0')).toMatchObject({ status: 0, stderr: '' });
  expect(ovsRows(host)).toEqual(clean);
};

beforeAll(async () => {
  host = await Host.create();
});
afterAll(async () => {
  await stopOvs(host);
  await host.destroy();
});

test('not installed, or not running: one error with what helps', async () => {
  const tools = join(host.dir, 'tools');
  host.run(['mkdir', tools]);
  for (const tool of ['ip', 'unshare', 'nsenter', 'mount', 'umount', 'chroot', 'rm', 'sh']) {
    symlinkSync(Bun.which(tool) as string, join(tools, tool));
  }
  const without = host.run(['env', `PATH=${tools}`, MINICT, ...CREATE]);
  expectRefused(without, /cannot run ovs-vsctl: not found in PATH\nhint: apt-get install openvswitch-switch\n/);
  await expectRefusedThere(
    host,
    CREATE,
    /cannot use Open vSwitch: .*db\.sock.*\nhint: apt-get install openvswitch-switch; /,
  );
  startOvsdb(host);
  clean = ovsRows(host);
  await expectRefusedThere(host, CREATE, /cannot use Open vSwitch: .*ovs-vswitchd\.pid.*\nhint: /);
  startVswitchd(host);
});

test('where the kernel has no datapath, that is said before anything is made', async ({ skip }) => {
  if (host.run(['ovs-dpctl', 'dump-dps']).status === 0) skip('this kernel has the datapath of Open vSwitch');
  await expectRefusedThere(host, CREATE.slice(0, -2), /the kernel has no datapath of it\nhint: .*datapath_type=netdev/);
  expect(ovsRows(host)).toEqual(clean);
});

test('a bridge of somebody else is refused, and stays', async () => {
  vsctl('add-br', 'sw0', '--', 'set', 'bridge', 'sw0', 'datapath_type=netdev', 'external_ids:owner=me');
  const theirs = ovsRows(host);
  await expectRefusedThere(host, CREATE, /Open vSwitch has one of that name/);
  expect(ovsRows(host)).toEqual(theirs);
  vsctl('del-br', 'sw0');
});

test("a bridge of that name in the place of minict's is not taken for it", () => {
  make();
  vsctl('del-br', 'sw0');
  vsctl('add-br', 'sw0', '--', 'set', 'bridge', 'sw0', 'datapath_type=netdev', 'external_ids:owner=me');
  const theirs = ovsRows(host);
  expect(JSON.parse(network('inspect', 'sw0').stdout)).toMatchObject([{ state: 'foreign' }]);
  expectRefused(host.minict('start', 'a'), /an interface sw0 is there, not this minict's/);
  expect(host.minict('rm', 'a', 'b').status).toBe(0);
  expect(network('rm', 'sw0').status).toBe(0);
  expect(ovsRows(host)).toEqual(theirs);
  vsctl('del-br', 'sw0');
});

test('a port that somebody took out comes back, by reload and by start, and what was set inside stays', () => {
  make();
  expect(host.run(['ip', '-n', 'a', 'addr', 'add', '10.66.0.1/24', 'dev', 'eth0']).status).toBe(0);
  for (const verb of [
    ['network', 'reload'],
    ['start', 'a'],
  ]) {
    vsctl('del-port', 'sw0', 'a-eth0');
    expect(host.minict('ps').stdout).toMatch(/a +broken \(missing: a-eth0 in bridge sw0\)/);
    expect(host.minict(...verb)).toMatchObject({ status: 0, stderr: '' });
    expect(pings('a', 'b')).toBe(true);
    expect(host.run(['ip', '-n', 'a', 'addr', 'show', 'dev', 'eth0']).stdout).toContain('10.66.0.1/24');
  }
  expect(network('reload')).toEqual({ status: 0, stdout: '', stderr: '' });
  remove();
});

test('ports of others keep a network from being removed', () => {
  make();
  expect(host.run(['ip', 'link', 'add', 'name', 'mine', 'type', 'veth', 'peer', 'name', 'far']).status).toBe(0);
  vsctl('add-port', 'sw0', 'mine');
  expect(host.minict('rm', 'a', 'b').status).toBe(0);
  expectRefused(network('rm', 'sw0'), /sw0 has ports that are not minict's\nhint: ovs-vsctl list-ports sw0/);
  vsctl('del-port', 'sw0', 'mine');
  expect(network('rm', 'sw0').status).toBe(0);
  expect(host.run(['ip', 'link', 'del', 'mine']).status).toBe(0);
  expect(ovsRows(host)).toEqual(clean);
});

test('a tap is a port of it: put back as others are, and nothing of it is left, after a reboot neither', async () => {
  make();
  const made = network('tap', 'sw0', 'vm0');
  expect(made).toMatchObject({ status: 0, stderr: '' });
  expect(made.stdout).toMatch(/^address 10\.6\.0\.4\/24\ngateway 10\.6\.0\.1\nmac .*\nqemu .*,vnet_hdr=off /);
  const rows = () => ovsRows(host).join();
  const takeAway = [
    ['ovs-vsctl', 'del-port', 'sw0', 'vm0'],
    ['ip', 'link', 'del', 'vm0'],
  ];
  for (const argv of takeAway) {
    expect(rows()).toMatch(/minict:\w+:sw0:vm0/);
    expect(host.run(argv)).toMatchObject({ status: 0 });
    expect(network('ls').stdout).toMatch(/^sw0 .* broken \(missing: tap vm0\)$/m);
    expect(network('reload')).toEqual({ status: 0, stdout: 'network sw0: tap vm0\n', stderr: '' });
    expect(network('reload')).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(network('ls').stdout).toMatch(/^sw0 .* up$/m);
  }
  expectRefused(network('rm', 'sw0'), /tap vm0 is in it/);
  for (const isStarted of [true, false]) {
    await stopOvs(host);
    await host.reboot();
    startOvsdb(host);
    startVswitchd(host);
    if (!isStarted) continue;
    expect(host.minict('start', 'a')).toMatchObject({ status: 0, stderr: '' });
    expect(network('ls').stdout).toMatch(/^sw0 .* up$/m);
  }
  expect(rows()).toMatch(/minict:\w+:sw0:vm0/);
  expect(network('tap', 'rm', 'vm0')).toMatchObject({ status: 0, stderr: '' });
  expect(rows()).not.toContain('vm0');
  const script = printScript(host, 'network', 'tap', 'sw0', 'vm1', '--dry-run');
  const undo = printScript(host, 'network', 'tap', 'sw0', 'vm1', '--dry-run-undo');
  for (const each of [script, undo])
    expect(host.run(['sh', '-e', '-c', each])).toMatchObject({ status: 0, stderr: '' });
  expect(rows()).not.toContain('vm1');
  remove();
});

test("a row that is somebody else's stays, and a tap of that name is refused; as all are while nobody would carry it out", async () => {
  make();
  vsctl('--no-wait', 'add-port', 'sw0', 'vm0', '--', 'add-br', 'br9', '--', 'add-port', 'br9', 'vm1');
  const before = ovsRows(host);
  for (const name of ['vm0', 'vm1'])
    await expectRefusedThere(host, ['network', 'tap', 'sw0', name], /Open vSwitch has a port of that name/);
  expect(ovsRows(host)).toEqual(before);
  vsctl('del-port', 'vm0', '--', 'del-br', 'br9');
  await stopVswitchd(host);
  await expectRefusedThere(host, ['network', 'tap', 'sw0', 'vm0'], /cannot use Open vSwitch/);
  startVswitchd(host);
  remove();
});

test('while it does not answer a container is removed but for its rows, and with the next rm these', async () => {
  make();
  await stopOvs(host);
  const rm = host.minict('rm', 'a', 'b');
  expect(rm).toMatchObject({ status: 125, stdout: '' });
  expect(rm.stderr).toMatch(/cannot remove a: cannot use Open vSwitch: .*\nhint: minict rm a removes the rest\n/);
  expectRefused(network('rm', 'sw0'), /cannot remove network sw0: in use by a, b|cannot use Open vSwitch/);
  startOvsdb(host);
  startVswitchd(host);
  remove();
});

test('its daemon comes and goes: networks say so, and are whole afterwards', async () => {
  make();
  await stopVswitchd(host);
  startVswitchd(host);
  expect(host.minict('start', 'a', 'b')).toMatchObject({ status: 0, stderr: '' });
  expect(await eventually(() => pings('a', 'b') && pings('a', '10.6.0.1'))).toBe(true);
  // As a machine that goes down would have it: what it has made is gone, too.
  await stopOvs(host);
  expect(host.minict('ps').stdout).toMatch(/a +broken \(missing: a-eth0 in bridge sw0/);
  expect(JSON.parse(network('inspect', 'sw0').stdout)).toMatchObject([{ state: 'missing' }]);
  expectRefused(host.minict('start', 'a'), /cannot use Open vSwitch/);
  startOvsdb(host);
  startVswitchd(host);
  expect(host.minict('start', 'a', 'b')).toMatchObject({ status: 0, stderr: '' });
  expect(await eventually(() => pings('a', 'b') && pings('a', '10.6.0.1'))).toBe(true);
  remove();
});

test.each(['started', 'only removed'])(
  'a reboot leaves rows in its database: %s afterwards, nothing is left',
  async (after) => {
    make();
    await stopOvs(host);
    await host.reboot();
    startOvsdb(host);
    startVswitchd(host);
    expect(ovsRows(host).join()).toContain('a-eth0');
    if (after === 'started') {
      expect(host.minict('start', 'a', 'b')).toMatchObject({ status: 0, stderr: '' });
      expect([pings('a', 'b'), pings('b', '10.6.0.1')]).toEqual([true, true]);
    }
    remove();
  },
);
