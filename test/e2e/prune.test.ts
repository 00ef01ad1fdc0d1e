/** system prune finds and removes what is this minict's own, and leaves all else; so do two roots with each other. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { runWithFault } from '../helpers/faults.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';

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
  runWithFault(host, ['create', 'half'], 'goes on while minict is killed', 2);
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
    /bridge minict0.*not this minict's\nhint: .*--no-network/,
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
