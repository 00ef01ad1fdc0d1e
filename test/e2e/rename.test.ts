/** rename: what has the new name, what stays, what is refused, and what a killed one leaves. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { expectRefused, linksSettle } from '../helpers/expect.ts';
import { heldAfter, KILLS, killBefore, runWithFault } from '../helpers/faults.ts';
import { Host } from '../helpers/host.ts';
import { readIp } from '../helpers/links.ts';
import { MANY_POINTS } from '../helpers/recovery.ts';
import type { Snapshot } from '../helpers/snapshot.ts';

let host: Host;
let clean: Snapshot;
beforeAll(async () => {
  host = await Host.create();
  host.minict('network', 'create', 'lan', '--subnet', '192.168.7.0/24');
  expect(host.minict('create', 'keep', '--nic', 'lan').status).toBe(0);
  expect(host.minict('create', 'also', '--nic', 'lan', '--nic', 'minict0').status).toBe(0);
  clean = host.snapshot();
});
afterAll(() => host.destroy());
afterEach(() => {
  host.minict('rm', '-f', 'f1');
  host.minict('rm', '-f', 'f2');
});

const NICS = ['--nic', 'lan,ip=192.168.7.40', '--nic', 'minict0,mac=02:00:00:00:00:09'];
const OPTIONS = [...NICS, '-v', '/own', '-p', '8080:80'];
const made = (options: readonly string[]) => {
  expect(host.minict('create', 'f1', ...options).status).toBe(0);
  expect(host.minict('exec', 'f1', 'sh', '-c', 'echo a >/file; mkdir -p /own; echo b >/own/file').status).toBe(0);
  expect(host.minict('stop', 'f1').status).toBe(0);
};
const facts = (name: string) => {
  expect(host.minict('start', name)).toMatchObject({ status: 0, stderr: '' });
  const inside = host.minict('exec', name, 'sh', '-c', 'cat /file /own/file; hostname; cat /etc/hostname');
  const hosts = host.minict('exec', 'keep', 'cat', '/etc/hosts').stdout;
  const both = host.minict('exec', 'also', 'cat', '/etc/hosts').stdout;
  const links = readIp(host, '-n', name, 'addr').flatMap(({ address, addr_info = [] }) => [
    address,
    ...addr_info
      .filter(({ scope }: { scope: string }) => scope === 'global')
      .map(({ local }: { local: string }) => local),
  ]);
  return { inside: inside.stdout, links, hosts: `${hosts}${both}`, port: host.minict('port', name).stdout };
};

test('all that has its name has the new one; addresses, files, volumes and ports stay', async () => {
  made(OPTIONS);
  const before = facts('f1');
  host.minict('stop', 'f1');
  expect(host.minict('rename', 'f1', 'f2')).toEqual({ status: 0, stdout: 'f2\n', stderr: '' });
  expect(host.minict('ps', '-a', '-q').stdout).toBe('also\nf2\nkeep\n');
  const after = facts('f2');
  const named = (text: string) => text.replaceAll('f1', 'f2');
  expect(after).toEqual({ ...before, inside: named(before.inside), hosts: named(before.hosts) });
  expect(after.hosts).toContain('192.168.7.40\tf2\n');
  expect(host.run(['ls', '/run/netns', '/run/utsns', '/run/mntns']).stdout).not.toMatch(/^f1$/m);
  expect(readIp(host, 'link').map(({ ifname }) => ifname)).toEqual(expect.arrayContaining(['f2-eth0', 'f2-eth1']));
  // A part of a MAC address is no name.
  const all = JSON.stringify(host.snapshot()).replaceAll(/([0-9a-f]{2}:){5}[0-9a-f]{2}/g, 'MAC');
  expect(all).not.toMatch(/[/:"]f1[-/:"]/);
  expect(host.minict('rm', '-f', 'f2').status).toBe(0);
  expect(await host.settled(clean)).toEqual(clean);
  // Nobody has the old name's address or port any more.
  expect(host.minict('create', 'f1', ...OPTIONS).status).toBe(0);
});

test('after a reboot, too; and a host name that was asked for stays', async () => {
  const other = await Host.create();
  try {
    other.minict('create', 'f1', '--hostname', 'its');
    await other.reboot();
    expect(other.minict('rename', 'f1', 'f2').status).toBe(0);
    expect(other.minict('start', 'f2').status).toBe(0);
    expect(other.minict('exec', 'f2', 'hostname').stdout).toBe('its\n');
    expect(other.minict('exec', 'f2', 'cat', '/etc/hosts').stdout).toContain('\tits f2\n');
  } finally {
    await other.destroy();
  }
});

const after = async (point: string) => {
  const names = host
    .minict('ps', '-a', '-q')
    .stdout.split('\n')
    .filter((name) => name.startsWith('f'));
  expect(names, point).toHaveLength(1);
  const [name = ''] = names;
  expect(host.minict('start', name), point).toMatchObject({ status: 0, stderr: '' });
  expect(host.minict('exec', name, 'cat', '/file').stdout, point).toBe('a\n');
  expect(host.minict('exec', name, 'hostname').stdout, point).toBe(`${name}\n`);
  expect(host.minict('rm', '-f', name).status, point).toBe(0);
  expect(host.minict('system', 'prune').status, point).toBe(0);
  for (const file of ['lan', 'minict0']) {
    expect(readFileSync(join(host.root, `networks/${file}.hosts`), 'utf8'), point).not.toMatch(/\tf\d/);
  }
  await linksSettle(host);
  expect(await host.settled(clean), point).toEqual(clean);
};

test.each(KILLS)(
  'a host command %s: it has the old name or the new one, and all is there',
  MANY_POINTS,
  async (fault) => {
    for (let k = 1; ; k += 1) {
      made(['--nic', 'lan']);
      const { tool } = runWithFault(host, ['rename', 'f1', 'f2'], fault, k);
      await after(`${tool} (${k})`);
      if (tool === undefined) break;
    }
  },
);

test.each(['rename', 'mkdir'])('killed before a %s', MANY_POINTS, async (call) => {
  for (let k = 1; ; k += 1) {
    made(['--nic', 'lan']);
    const killed = killBefore(host, ['rename', 'f1', 'f2'], call, k);
    await after(`${call} (${k})`);
    if (!killed) break;
  }
});

test('who was about to finish a killed one, and comes late, takes nothing back', async () => {
  host.minict('create', 'f1', '--no-network');
  host.minict('stop', 'f1');
  const json = join(host.root, 'containers/f2/container.json');
  for (let k = 1; !existsSync(json); k += 1) expect(killBefore(host, ['rename', 'f1', 'f2'], 'rename', k)).toBe(true);
  const goOn = await heldAfter(host, ['inspect', 'f2'], 'read', json);
  for (const size of ['64m', '65m']) expect(host.minict('update', 'f2', '-m', size).stdout).toBe('f2\n');
  for (const { status, stdout } of [await goOn(), host.minict('inspect', 'f2')]) {
    expect(status).toBe(0);
    expect(JSON.parse(stdout)[0]).toMatchObject({ name: 'f2', limits: { memoryBytes: 65 << 20 } });
  }
});

test('a damaged container is nobody’s hindrance, and a unit of the old name is told', () => {
  host.minict('create', 'bad', '--no-network');
  host.minict('create', 'f1', '--no-network');
  host.minict('stop', 'f1');
  const json = join(host.root, 'containers/bad/container.json');
  const whole = readFileSync(json, 'utf8');
  writeFileSync(json, '{');
  host.run(['mount', '-t', 'tmpfs', 'tmpfs', '/etc/systemd/system']);
  host.minict('system', 'install-units', 'f1');
  const { status, stdout, stderr } = host.minict('rename', 'f1', 'f2');
  expect({ status, stdout }).toEqual({ status: 0, stdout: 'f2\n' });
  expect(stderr).toMatch(
    /^minict: warning: minict-\w+@f1\.service, .* old name\nhint: minict system install-units f2; minict system remove-units f1\n$/,
  );
  for (const command of stderr.split('hint: ')[1]?.trim().split('; ') ?? []) {
    expect(host.minict(...command.split(' ').slice(1)).status).toBe(0);
  }
  expect(host.minict('rename', 'f2', 'f1').stderr).toMatch(/@f2\.service/);
  expect(host.minict('system', 'remove-units').status).toBe(0);
  host.run(['umount', '/etc/systemd/system']);
  writeFileSync(json, whole);
  for (const name of ['bad', 'f1']) expect(host.minict('rm', name).status).toBe(0);
});

test('one that is up has its new name at once, without processes; with some it is refused, and goes on', async () => {
  expect(host.minict('create', 'f1', ...OPTIONS).status).toBe(0);
  const before = facts('f1');
  expect(host.minict('rename', 'f1', 'f2')).toEqual({
    status: 0,
    stdout: 'f2\n',
    stderr: 'minict: f2 was brought up anew, as by stop and start\n',
  });
  expect(host.minict('ps', '-q').stdout).toBe('also\nf2\nkeep\n');
  const inside = host.minict('exec', 'f2', 'sh', '-c', 'hostname; ip -4 -o addr show dev eth0');
  expect(inside.stdout).toMatch(/^f2\n.* 192\.168\.7\.40\//);
  expect(host.minict('port', 'f2').stdout).toBe(before.port);
  expect(host.minict('exec', '-d', 'f2', 'sleep', '1000').status).toBe(0);
  expectRefused(
    host.minict('rename', 'f2', 'f1'),
    /^minict: cannot rename f2: processes run in it\nhint: minict stop f2\n$/,
  );
  expect(host.minict('exec', 'f2', 'pidof', 'sleep').status).toBe(0);
  expect(host.minict('rm', '-f', 'f2').status).toBe(0);
  expect(host.minict('create', 'f1').status).toBe(0);
  // What comes after it was taken down fails: it is up again, with its old name.
  const leases = join(host.root, 'networks');
  const index = () => readIp(host, 'link', 'show', 'dev', 'f1-eth0')[0]?.ifindex;
  const made = index();
  host.run(['mount', '--bind', leases, leases]);
  host.run(['mount', '-o', 'remount,bind,ro', leases]);
  expect(host.minict('rename', 'f1', 'f2').status).not.toBe(0);
  host.run(['umount', leases]);
  expect(host.minict('exec', 'f1', 'hostname')).toEqual({ status: 0, stdout: 'f1\n', stderr: '' });
  expect(index()).toBeGreaterThan(made ?? Number.NaN);
  expect(host.minict('rm', '-f', 'f1').status).toBe(0);
  await linksSettle(host);
  expect(await host.settled(clean)).toEqual(clean);
});

test('refused: taken, with a cable, no name', async () => {
  expectRefused(host.minict('rename', 'nobody', 'f2'), /^minict: cannot find container nobody: no such container\n/);
  host.minict('create', 'f1');
  host.minict('stop', 'f1');
  expectRefused(host.minict('rename', 'f1', 'keep'), /^minict: cannot rename f1: a container keep is there\n/);
  expectRefused(host.minict('rename', 'f1', 'f1'), /^minict: cannot rename f1: that is its name\n$/);
  expectRefused(
    host.minict('rename', 'f1', '../f2'),
    /^minict: cannot use container name "..\/f2": not a valid name\n/,
  );
  expectRefused(host.minict('rename', 'f1', 'host'), /^minict: cannot use container name "host": a word of its own\n/);
  expectRefused(host.minict('rename', 'f1'), /missing required argument 'new'/);
  host.run(['ip', 'netns', 'add', 'f2']);
  expectRefused(
    host.minict('rename', 'f1', 'f2'),
    /^minict: cannot rename f1: \/run\/netns\/f2 is there, and minict did not make it\n/,
  );
  host.run(['ip', 'netns', 'del', 'f2']);
  expect(host.minict('start', 'f1').status).toBe(0);
  expect(host.minict('link', 'f1:to1', 'keep:to1').status).toBe(0);
  host.minict('stop', 'f1');
  expectRefused(host.minict('rename', 'f1', 'f2'), /^minict: cannot rename f1: a cable leads to another\n/);
  expect(host.minict('start', 'f1').status).toBe(0);
  expect(host.minict('link', 'rm', 'f1:to1').status).toBe(0);
});
