/** system prune finds and removes what is this minict's own, and leaves all else; so do two roots with each other. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { expectCreated, expectRefused } from '../helpers/expect.ts';
import { runWithFault } from '../helpers/faults.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import { eth0Of, readIp } from '../helpers/links.ts';
import { programsOf } from '../helpers/processes.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
});
afterEach(() => {
  const names = host.minict('ps', '-a', '-q').stdout.split('\n').filter(Boolean);
  if (names.length > 0) host.minict('rm', '-f', ...names);
  host.minict('system', 'prune');
});
afterAll(() => host.destroy());

test('--dry-run lists what prune removes, and changes nothing', async () => {
  host.minict('create', 'keep');
  runWithFault(host, ['create', 'half'], 'goes on while minict is killed', 1);
  // The child goes on, and holds the lock.
  expect(host.run(['flock', '/run/minict/.lock-half', 'true']).status).toBe(0);
  const before = host.snapshot();
  const listed = host.minict('system', 'prune', '--dry-run');
  expect(listed).toEqual({ status: 0, stdout: 'container half\n', stderr: '' });
  expect(host.snapshot()).toEqual(before);
  expect(host.minict('system', 'prune')).toEqual(listed);
  expect(host.minict('exec', 'keep', 'hostname').stdout).toBe('keep\n');
  expect(await host.linksGone(/half/)).toBe(true);
  expect(JSON.stringify(host.snapshot())).not.toContain('half');

  host.minict('rm', 'keep');
  const all = host.minict('system', 'prune', '--dry-run').stdout;
  expect(all).toMatch(
    /^network minict0\ncgroup .*\/minict-[0-9a-f]{8}\nmount \/run\/mntns\nmount \/run\/utsns\nmount \/run\/netns\n$/,
  );
  expect(host.minict('system', 'prune').stdout).toBe(all);
  expect(host.minict('system', 'prune')).toEqual({ status: 0, stdout: '', stderr: '' });
});

test("others' namespaces, bridges, interfaces and cgroups stay", () => {
  host.minict('create', 'mine');
  for (const words of [
    'netns add theirs',
    'link add name minict-theirs type bridge',
    'link add name theirs-eth0 type veth peer name eth0 netns theirs',
    'link set theirs-eth0 master minict-theirs',
  ]) {
    expect(host.run(['ip', ...words.split(' ')]).status).toBe(0);
  }
  const instances = dirname(host.snapshot().cgroups[0]?.split(' ')[0] as string);
  const group = join(instances, 'minict-theirs00');
  mkdirSync(group);
  try {
    host.minict('rm', 'mine');
    expect(host.minict('system', 'prune').status).toBe(0);
    expect(existsSync(group)).toBe(true);
    expect(host.run(['ip', '-n', 'theirs', 'link', 'show', 'eth0']).status).toBe(0);
    expect(host.run(['ip', '-j', 'link', 'show', 'theirs-eth0']).stdout).toContain('"master":"minict-theirs"');
  } finally {
    rmdirSync(group);
    host.run(['ip', 'netns', 'del', 'theirs']);
    host.run(['ip', 'link', 'del', 'minict-theirs']);
  }
});

test('what a printed script made is in use: prune leaves it, with the bridge it is in', async () => {
  host.minict('create', 'first');
  host.minict('rm', 'first');
  await host.linksGone(/first-eth0/);
  const script = host.minict('create', 's1', '--dry-run').stdout;
  const undo = host.minict('create', 's1', '--dry-run-undo').stdout;
  expect(host.run(['sh'], {}, script).status).toBe(0);
  const before = host.snapshot();
  expect(host.minict('system', 'prune')).toEqual({ status: 0, stdout: '', stderr: '' });
  expect(host.snapshot()).toEqual({ ...before, run: expect.anything() });
  expect(host.run(['ip', '-j', 'link', 'show', 's1-eth0']).stdout).toContain('"master":"minict0"');
  expect(host.run(['sh'], {}, undo).status).toBe(0);
});

test('two roots: a name is refused while the other has it, and prune stays with its own', async () => {
  const other = [MINICT, '--root', join(host.dir, 'other'), '--run-dir', '/run/other'];
  host.minict('create', 'both', '--no-network');
  const before = host.snapshot();
  const refused = host.run([...other, 'create', 'both', '--no-network']);
  expect(refused).toMatchObject({ status: 125, stdout: '' });
  expect(refused.stderr).toMatch(
    /^minict: cannot create both: \/run\/netns\/both is there, and minict did not make it\nhint: /,
  );
  // The bridge is the first root's alone.
  host.minict('create', 'bridged');
  expect(host.run([...other, 'create', 'more']).stderr).toMatch(
    /network minict0.*not this minict's\nhint: .*--no-network/,
  );
  expect(host.run([...other, 'create', 'more', '--no-network'])).toMatchObject({ status: 0, stderr: '' });
  expect(host.run([...other, 'rm', 'both']).stderr).toMatch(/no such container/);
  expect(host.run([...other, 'system', 'prune'])).toEqual({ status: 0, stdout: '', stderr: '' });
  expect(host.minict('system', 'prune')).toEqual({ status: 0, stdout: '', stderr: '' });
  for (const name of ['both', 'bridged']) expect(host.minict('exec', name, 'hostname').stdout).toBe(`${name}\n`);
  expect(host.run([...other, 'exec', 'more', 'hostname']).stdout).toBe('more\n');
  expect(host.run([...other, 'rm', 'more']).status).toBe(0);
  expect(host.run([...other, 'system', 'prune']).stdout).toMatch(/^cgroup .*\n$/);
  host.minict('rm', 'bridged');
  expect(await host.linksGone(/bridged/)).toBe(true);
  const after = host.snapshot();
  expect(after.mounts).toEqual(before.mounts);
  expect(after.cgroups).toEqual(before.cgroups);
});

test.each(['/run/mntns', '/run/utsns', '/run/netns'])('%s, unmounted by another: the next create mounts it', (dir) => {
  for (const name of ['before', 'after']) {
    expect(host.minict('create', name, '--no-network')).toEqual({ status: 0, stdout: `${name}\n`, stderr: '' });
    expect(host.minict('rm', name).status).toBe(0);
    if (name === 'before') expect(host.run(['umount', dir]).status).toBe(0);
  }
});

test('a folder of namespaces with something of another in it stays mounted until that is gone', () => {
  host.minict('create', 'before');
  host.minict('rm', 'before');
  expect(host.run(['touch', '/run/mntns/theirs']).status).toBe(0);
  expect(host.minict('system', 'prune').stdout).toMatch(/\nmount \/run\/utsns\nmount \/run\/netns\n$/);
  expect(host.minict('system', 'prune')).toEqual({ status: 0, stdout: '', stderr: '' });
  expect(host.run(['rm', '/run/mntns/theirs']).status).toBe(0);
  expect(host.minict('system', 'prune')).toEqual({ status: 0, stdout: 'mount /run/mntns\n', stderr: '' });
});

test('a create that comes while prune unmounts waits for its end', async () => {
  host.minict('create', 'before');
  host.minict('rm', 'before');
  const [tools, reached, go] = ['slow', 'reached', 'go'].map((name) => join(host.dir, name)) as [
    string,
    string,
    string,
  ];
  mkdirSync(tools);
  const umount = `#!/bin/sh\n: >${reached}\nuntil [ -e ${go} ]; do sleep 0.01; done\nexec ${Bun.which('umount')} "$@"\n`;
  writeFileSync(join(tools, 'umount'), umount, { mode: 0o755 });
  const prune = host.spawn(['env', `PATH=${tools}:${process.env.PATH}`, MINICT, 'system', 'prune']);
  expect(await eventually(() => existsSync(reached))).toBe(true);
  const create = host.spawn([MINICT, 'create', 'after']);
  // proc_locks(5): who waits stands behind an arrow.
  const waits = () => new RegExp(`-> FLOCK .* ${create.pid} `).test(readFileSync('/proc/locks', 'utf8'));
  expect(await eventually(() => waits() || create.exitCode !== null)).toBe(true);
  writeFileSync(go, '');
  expect([await prune.exited, await create.exited]).toEqual([0, 0]);
  expect(host.minict('exec', 'after', 'hostname').stdout).toBe('after\n');
});

test('a state folder that was removed by hand: prune removes what is left of it in the kernel', async () => {
  const clean = host.snapshot();
  expect(host.minict('run', '-d', 'lost', '--', 'sleep', '1000').status).toBe(0);
  host.minict('create', 'too', '--mounts', 'host', '--no-network');
  const program = programsOf(host, 'lost')[0];
  const { cgroups } = host.snapshot();
  const group = cgroups[0]?.split(' ')[0] as string;
  for (const target of ['sys', 'dev']) {
    host.run(['umount', '-R', join(host.root, 'containers/too/rootfs', target)]);
  }
  host.run(['umount', '-R', join(host.root, 'containers/too/rootfs')]);
  rmSync(host.root, { recursive: true });
  expectRefused(host.minict('create', 'lost'), /it was removed while containers were up\nhint: minict system prune/);
  expect(existsSync(host.root)).toBe(false);

  const listed = host.minict('system', 'prune', '--dry-run').stdout;
  expect(listed).toBe('container lost\ncontainer too\n');
  expect(existsSync(host.root)).toBe(false);
  expect(host.minict('system', 'prune').stdout).toContain(listed);
  expect(await eventually(() => !existsSync(`/proc/${program}`))).toBe(true);
  expect(existsSync(group)).toBe(false);
  expect(await host.linksGone(/lost-eth0|minict0/)).toBe(true);
  const { network, mounts, programs, cgroups: groups } = host.snapshot();
  expect({ network, mounts, programs, groups }).toEqual({
    network: clean.network,
    mounts: clean.mounts,
    programs: clean.programs,
    groups: [],
  });
  expect(host.run(['ls', '/run/netns', '/run/utsns', '/run/mntns']).stdout).not.toMatch(/lost|too/);
  expectCreated(host, 'lost');
  expect(host.minict('exec', 'lost', 'ping', '-c1', '-W2', '192.168.0.1').status).toBe(0);
});

test('a state folder that was removed without containers: the next create takes the bridge over', async () => {
  host.minict('create', 'before', '--ip', '10.9.0.5');
  host.minict('rm', 'before');
  expect(await host.linksGone(/before-eth0/)).toBe(true);
  const bridge = readIp(host, 'link', 'show', 'dev', 'minict0');
  rmSync(host.root, { recursive: true });
  expectCreated(host, 'after');
  expect(readIp(host, 'link', 'show', 'dev', 'minict0')).toMatchObject([{ address: bridge[0]?.address }]);
  expect(eth0Of(host, 'after').addr_info[0]).toMatchObject({ local: '10.9.0.2', prefixlen: 24 });
  expect(host.minict('exec', 'after', 'ping', '-c1', '-W2', '10.9.0.1').status).toBe(0);
  expect(host.minict('rm', 'after').status).toBe(0);
  rmSync(host.root, { recursive: true });
  expect(host.minict('system', 'prune').stdout).toContain('network minict0\n');
  expect(readIp(host, 'link').map(({ ifname }) => ifname)).toEqual(['lo']);
});

test('the bridge that a printed script made is the network of who comes next, by its own address', async () => {
  host.minict('create', 'first', '--no-network');
  const script = host.minict('create', 's1', '--ip', '10.8.0.7', '--dry-run').stdout;
  expect(host.run(['sh'], {}, script).status).toBe(0);
  const undo = host.minict('create', 's1', '--ip', '10.8.0.7', '--dry-run-undo').stdout;
  expectCreated(host, 'n1');
  expect(host.minict('exec', 'n1', 'ping', '-c1', '-W2', '10.8.0.7').status).toBe(0);
  expect(host.run(['sh'], {}, undo).status).toBe(0);
  expect(host.minict('exec', 'n1', 'ping', '-c1', '-W2', '10.8.0.1').status).toBe(0);
});
