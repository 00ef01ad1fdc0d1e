/** What somebody removed by hand: ps says what is missing, start puts it back, rm removes the rest. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { eventually, Host, MINICT } from '../helpers/host.ts';
import type { Snapshot } from '../helpers/snapshot.ts';

let host: Host;
let clean: Snapshot;
beforeAll(async () => {
  host = await Host.create();
  host.minict('run', '-d', 'keep', '--', 'sleep', '300');
  // Who writes its log is begun by env(1).
  await eventually(() => host.snapshot().programs.some((name) => name.startsWith('split')));
});
beforeEach(() => {
  clean = host.snapshot();
});
afterEach(async () => {
  host.minict('rm', '-f', 'b1');
  await host.linksGone(/b1-eth0/);
});
afterAll(() => host.destroy());

const rootfs = () => join(host.root, 'containers/b1/rootfs');
const cgroup = () => host.snapshot().cgroups.flatMap((line) => /^(.*\/b1) /.exec(line)?.[1] ?? [])[0] as string;
const inMounts = (mounts: string) => (mounts === 'host' ? [] : ['nsenter', '--mount=/run/mntns/b1']);

const REMOVALS: { what: string; missing: RegExp; by: (mounts: string) => string[][] }[] = [
  { what: 'its host end', missing: /link b1-eth0/, by: () => [['ip', 'link', 'del', 'b1-eth0']] },
  {
    what: 'its place in the bridge',
    missing: /b1-eth0 in bridge/,
    by: () => [['ip', 'link', 'set', 'b1-eth0', 'nomaster']],
  },
  {
    what: "its host end's being up",
    missing: /b1-eth0 up/,
    by: () => [['ip', 'link', 'set', 'b1-eth0', 'down']],
  },
  { what: 'its network namespace', missing: /nsfile \/run\/netns\/b1/, by: () => [['ip', 'netns', 'del', 'b1']] },
  {
    what: 'what is mounted on its UTS namespace file',
    missing: /nsfile \/run\/utsns\/b1/,
    by: () => [['umount', '/run/utsns/b1']],
  },
  {
    what: 'its UTS namespace file',
    missing: /nsfile \/run\/utsns\/b1/,
    by: () => [
      ['umount', '/run/utsns/b1'],
      ['rm', '/run/utsns/b1'],
    ],
  },
  {
    what: 'its /proc',
    missing: /mount .*rootfs\/proc/,
    by: (mounts) => [[...inMounts(mounts), 'umount', join(rootfs(), 'proc')]],
  },
  { what: 'its root', missing: /mount .*rootfs/, by: (mounts) => [[...inMounts(mounts), 'umount', '-R', rootfs()]] },
  {
    what: 'its cgroup',
    missing: /cgroup .*payload/,
    by: () => ['payload', '../supervisor@b1', ''].map((group) => ['rmdir', join(cgroup(), group)]),
  },
];
const OWN_MOUNTS = [
  {
    what: 'its mount namespace',
    missing: /nsfile \/run\/mntns\/b1/,
    by: () => [
      ['umount', '/run/mntns/b1'],
      ['rm', '/run/mntns/b1'],
    ],
  },
];

describe.each(['private', 'host'])('--mounts %s', (mounts) => {
  test.each([...REMOVALS, ...(mounts === 'private' ? OWN_MOUNTS : [])])('$what', async ({ missing, by }) => {
    const remove = () => {
      for (const argv of by(mounts)) expect(host.run(argv), argv.join(' ')).toMatchObject({ status: 0, stderr: '' });
    };
    expect(host.minict('create', 'b1', '--mounts', mounts).stderr).toBe('');
    const whole = host.snapshot().network;
    const address = host.run(['ip', '-n', 'b1', '-j', 'addr']).stdout;
    remove();
    const row = host
      .minict('ps')
      .stdout.split('\n')
      .find((line) => line.startsWith('b1'));
    expect(row).toMatch(/^b1 +broken \(missing: /);
    expect(row).toMatch(missing);
    expect(host.minict('start', 'b1')).toEqual({ status: 0, stdout: 'b1\n', stderr: '' });
    expect(host.minict('ps').stdout).toMatch(/^b1 +ready/m);
    expect(host.snapshot().network).toEqual(whole);
    const macs = (text: string) => (JSON.parse(text) as { address: string }[]).map((link) => link.address);
    expect(macs(host.run(['ip', '-n', 'b1', '-j', 'addr']).stdout)).toEqual(macs(address));
    const inside = host.minict(
      'exec',
      'b1',
      'sh',
      '-c',
      'hostname && ping -c1 -W2 keep >/dev/null && test -d /proc/self',
    );
    expect(inside).toEqual({ status: 0, stdout: 'b1\n', stderr: '' });
    remove();
    expect(host.minict('rm', '-f', 'b1')).toEqual({ status: 0, stdout: 'b1\n', stderr: '' });
    expect(await host.settled(clean)).toEqual(clean);
  });
});

test('the bridge: each start puts it back, and its container into it', () => {
  host.minict('create', 'b1');
  const { cgroups } = host.snapshot();
  host.run(['ip', 'link', 'del', 'minict0']);
  expect(host.minict('ps').stdout).toMatch(/^b1 +broken .*minict0/m);
  expect(host.minict('start', 'b1', 'keep')).toMatchObject({ status: 0, stderr: '' });
  // What runs in a container goes on, and is not started a second time.
  expect(host.minict('start', 'keep')).toMatchObject({ status: 0, stderr: '' });
  expect(host.snapshot().cgroups).toEqual(cgroups);
  expect(host.minict('ps').stdout).toMatch(/^b1 +ready.*\nkeep +running/m);
  expect(host.minict('exec', 'b1', 'ping', '-c1', '-W2', 'keep').status).toBe(0);
});

test("another's file where a namespace is to be: start refuses, and says what helps", async () => {
  host.minict('create', 'b1');
  host.minict('stop', 'b1');
  host.run(['touch', '/run/mntns/b1']);
  const refused = host.minict('start', 'b1');
  expectRefused(
    refused,
    /^minict: cannot start b1: \/run\/mntns\/b1 is there, and minict did not make it\nhint: umount/,
  );
  host.run(['rm', '/run/mntns/b1']);
  expect(host.minict('start', 'b1')).toEqual({ status: 0, stdout: 'b1\n', stderr: '' });
  host.minict('rm', 'b1');
  expect(await host.settled(clean)).toEqual(clean);
});

test('a process in what has to be made anew: start refuses, restart mends', () => {
  host.minict('run', '-d', 'b1', '--', 'sleep', '300');
  host.run(['nsenter', '--mount=/run/mntns/b1', 'umount', join(rootfs(), 'proc')]);
  const refused = host.minict('start', 'b1');
  expect(refused).toMatchObject({ status: 125, stdout: '' });
  expect(refused.stderr).toMatch(
    /^minict: cannot start b1: its mounts must be made anew.*\nhint: minict restart b1\n$/,
  );
  expect(host.minict('ps').stdout).toMatch(/^b1 +broken/m);
  expect(host.minict('restart', '-t', '0', 'b1')).toMatchObject({ status: 0, stderr: '' });
  expect(host.minict('ps').stdout).toMatch(/^b1 +running/m);
});

describe('an empty group that somebody removed, of a container with processes in others', () => {
  const group = (name: string) => join(cgroup(), name);
  const start = () => host.minict('start', 'b1');
  const pidIn = (name: string) => host.run(['cat', join(group(name), 'cgroup.procs')]).stdout.trim();

  test('is made again, and what runs goes on', () => {
    host.minict('create', 'b1', '--memory', '64M');
    const shell = host.spawn([MINICT, 'exec', 'b1', 'sleep', '300']);
    expect(host.run(['sh', '-c', `until grep -q . ${group('payload')}/cgroup.procs; do sleep .02; done`]).status).toBe(
      0,
    );
    const pid = pidIn('payload');
    const before = host.snapshot().cgroups;
    expect(host.run(['rmdir', group('../supervisor@b1')]).status).toBe(0);
    expect(host.minict('ps').stdout).toMatch(/^b1 +broken \(missing: cgroup \S+supervisor@b1\)/m);
    expect(start()).toEqual({ status: 0, stdout: 'b1\n', stderr: '' });
    expect(host.minict('ps').stdout).toMatch(/^b1 +running/m);
    expect(pidIn('payload')).toBe(pid);
    expect(host.snapshot().cgroups).toEqual(before);
    shell.kill();
  });

  test('while its main command is waited for to start again, too; a process that was put elsewhere is told', async () => {
    const fail = async (...options: string[]) => {
      host.minict('run', '-d', 'b1', '--restart', 'always', ...options, '--', 'sh', '-c', 'exit 3');
      expect(await eventually(() => / restarting/.test(host.minict('ps').stdout))).toBe(true);
      expect(await eventually(() => host.run(['rmdir', group('payload')]).status === 0)).toBe(true);
    };
    await fail();
    expect(start()).toEqual({ status: 0, stdout: 'b1\n', stderr: '' });
    expect(existsSync(group('payload'))).toBe(true);
    host.minict('rm', '-f', 'b1');
    // That namespace would go on to have the old group as its root.
    await fail('--cgroupns', 'private');
    expectRefused(start(), /^minict: cannot start b1: its cgroup must be made anew.*\nhint: minict restart b1\n$/);
    host.minict('rm', '-f', 'b1');

    host.minict('run', '-d', 'b1', '--', 'sleep', '300');
    const pid = pidIn('payload');
    const elsewhere = join(cgroup(), '../../cgroup.procs');
    expect(host.run(['sh', '-c', `echo ${pid} >${elsewhere} && rmdir ${group('payload')}`]).status).toBe(0);
    expectRefused(
      start(),
      new RegExp(`^minict: cannot start b1: its cgroup .* elsewhere: ${pid}\nhint: kill ${pid}; minict start b1\n$`),
    );
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    process.kill(Number(pid));
    expect(await eventually(() => host.run(['pgrep', '-F', '/dev/stdin'], {}, pid).status !== 0)).toBe(true);
    expect(start()).toEqual({ status: 0, stdout: 'b1\n', stderr: '' });
    expect(await eventually(() => pidIn('payload') !== '')).toBe(true);
  });

  test.skipIf(!existsSync('/sys/fs/cgroup/memory/tasks'))(
    'of its limits, while processes run that were in it: start refuses',
    () => {
      host.minict('run', '-d', 'b1', '--memory', '64M', '--', 'sleep', '300');
      const pid = pidIn('payload');
      const line = host
        .run(['grep', ':memory:', `/proc/${pid}/cgroup`])
        .stdout.trim()
        .split(':')[2] as string;
      const limits = join('/sys/fs/cgroup/memory', line);
      expect(host.run(['sh', '-c', `echo ${pid} >/sys/fs/cgroup/memory/cgroup.procs && rmdir ${limits}`]).status).toBe(
        0,
      );
      expectRefused(start(), /^minict: cannot start b1: its cgroup must be made anew.*\nhint: minict restart b1\n$/);
      expect(host.minict('restart', '-t', '0', 'b1')).toMatchObject({ status: 0, stderr: '' });
      expect(host.run(['cat', join(limits, 'cgroup.procs')]).stdout).not.toBe('');
    },
  );
});

test('a journal with a torn last line is as good as one without it', async () => {
  host.minict('create', 'b1');
  host.run(['sh', '-c', 'printf \'{"undone":["neti\' >>/run/minict/b1/journal']);
  expect(host.minict('ps').stdout).toMatch(/^b1 +ready/m);
  expect(host.minict('stop', 'b1').stderr).toBe('');
  expect(host.minict('start', 'b1').stderr).toBe('');
  expect(host.minict('exec', 'b1', 'hostname').stdout).toBe('b1\n');
  host.minict('rm', 'b1');
  expect(await host.settled(clean)).toEqual(clean);
});

describe("the host's journal", () => {
  let other: Host;
  beforeAll(async () => {
    other = await Host.create();
  });
  afterAll(() => other.destroy());

  test('does not grow with what is made again and again, and prune knows all that is left', () => {
    const create = () => other.minict('create', 'b1', '--no-network', '--ipc', 'private');
    const lines = () => other.run(['cat', '/run/minict/.host']).stdout.split('\n').length;
    const mounts = () => other.run(['findmnt', '-rno', 'TARGET']).stdout;
    const before = mounts();
    expect(create().stderr).toBe('');
    expect(mounts()).not.toBe(before);
    other.minict('rm', 'b1');
    // As many creates leave it, of which each found a folder unmounted.
    other.run(['sh', '-c', 'cd /run/minict && for i in $(seq 200); do cat .host; done >.many && mv .many .host']);
    const many = lines();
    expect(many).toBeGreaterThan(256);
    expect(other.run(['umount', '/run/timens']).status).toBe(0);
    expect(create().stderr).toBe('');
    expect(lines()).toBeLessThan(many / 10);
    other.minict('rm', 'b1');
    expect(other.minict('system', 'prune').status).toBe(0);
    expect(mounts()).toBe(before);
  });
});

test('a damaged container.json, and no journal: rm -f says what it leaves', async () => {
  expect(host.minict('create', 'b1').stderr).toBe('');
  writeFileSync(join(host.root, 'containers/b1/container.json'), '{');
  host.run(['rm', '/run/minict/b1/journal']);
  const { status, stdout, stderr } = host.minict('rm', '-f', 'b1');
  expect({ status, stdout }).toEqual({ status: 125, stdout: 'b1\n' });
  expect(existsSync(join(host.root, 'containers/b1'))).toBe(false);
  const hints = [...stderr.matchAll(/^hint: (umount \S+; rm \S+)$/gm)].map(([, line]) => line as string);
  expect(hints.length).toBeGreaterThan(2);
  for (const line of hints) expect(host.run(['sh', '-c', line]).status, line).toBe(0);
  expect(await host.settled(clean)).toEqual(clean);
});

test.each(['private', 'host'])('a damaged journal with --mounts %s: said by all, rm -f removes', async (mounts) => {
  for (const line of [1, 2, 4]) {
    expect(host.minict('create', 'b1', '--mounts', mounts).stderr).toBe('');
    host.run(['sed', '-i', `${line}s/.*/garbage/`, '/run/minict/b1/journal']);
    expect(host.minict('ps').stdout).toMatch(/^b1 +broken .*journal/m);
    for (const verb of ['start', 'stop', 'rm']) {
      expect(host.minict(verb, 'b1').stderr).toMatch(/^minict: cannot read .*journal: damaged.*\nhint: minict rm -f/);
    }
    expect(host.minict('rm', '-f', 'b1')).toEqual({ status: 0, stdout: 'b1\n', stderr: '' });
    expect(await host.settled(clean)).toEqual(clean);
  }
});

test.each([
  ['up, with a process', []],
  ['after a reboot', ['rm', '-rf', '/run/minict/b1']],
])('a damaged container.json, %s: said by all, rm -f removes', async (_, forget) => {
  expect(host.minict('run', '-d', 'b1', '-p', '8081:80', '--', 'sleep', '300').status).toBe(0);
  if (forget.length > 0) {
    host.minict('stop', '-t', '0', 'b1');
    host.run([
      'sh',
      '-c',
      'umount /run/netns/b1 /run/utsns/b1 /run/mntns/b1; rm /run/netns/b1 /run/utsns/b1 /run/mntns/b1',
    ]);
    host.run(forget);
  }
  writeFileSync(join(host.root, 'containers/b1/container.json'), '{"version":1,"name":');
  for (const verb of ['start', 'stop', 'rm']) {
    expect(host.minict(verb, 'b1').stderr).toMatch(
      /^minict: cannot read container b1: .*damaged.*\nhint: .*minict rm -f b1 /,
    );
  }
  expect(host.minict('rm', '-f', 'b1')).toEqual({ status: 0, stdout: 'b1\n', stderr: '' });
  expect(await host.settled(clean)).toEqual(clean);
  expect(host.minict('create', 'b1')).toMatchObject({ status: 0, stderr: '' });
  expect(host.minict('rm', 'b1').status).toBe(0);
});

test('create, start, stop, exec, rm of one name at once: whole or not there in the end', async () => {
  for (let round = 0; round < 5; round += 1) {
    const verbs = [['create'], ['rm', '-f'], ['exec'], ['stop', '-t', '0'], ['start'], ['create'], ['rm']];
    const all = verbs.map(([verb = '', ...options]) =>
      host.spawn([MINICT, verb, ...options, 'b1', ...(verb === 'exec' ? ['true'] : [])]),
    );
    for (const child of all) {
      // A program in it may have been ended by a stop or an rm.
      expect([0, 125, 137, 143]).toContain(await child.exited);
      expect(await new Response(child.stderr).text()).not.toContain('internal error');
    }
    const state = host.minict('ps', '-a').stdout;
    expect(state).not.toContain('broken');
    if (state.includes('b1')) {
      expect(host.minict('start', 'b1').stderr).toBe('');
      expect(host.minict('exec', 'b1', 'hostname').stdout).toBe('b1\n');
    }
    host.minict('rm', '-f', 'b1');
    expect(await host.settled(clean)).toEqual(clean);
  }
});

test('an interface of somebody else that has the name of its host end by now stays as it is', async () => {
  const ip = (...words: string[]) => host.run(['ip', ...words]);
  host.minict('create', 'b1');
  ip('link', 'del', 'b1-eth0');
  ip('netns', 'add', 'theirs');
  ip('link', 'add', 'b1-eth0', 'type', 'veth', 'peer', 'name', 'x0', 'netns', 'theirs');
  ip('link', 'set', 'b1-eth0', 'up');
  const isUp = () => / state (UP|LOWERLAYERDOWN)|<[^>]*\bUP\b/.test(ip('-o', 'link', 'show', 'dev', 'b1-eth0').stdout);
  expect(isUp()).toBe(true);
  for (const words of [
    ['link', 'down', 'b1:eth0'],
    ['stop', 'b1'],
    ['rm', '-f', 'b1'],
  ]) {
    expect(host.minict(...words), words.join(' ')).toMatchObject({ status: 0, stderr: '' });
    expect(isUp(), words.join(' ')).toBe(true);
  }
  ip('link', 'del', 'b1-eth0');
  ip('netns', 'del', 'theirs');
  expect(await host.settled(clean)).toEqual(clean);
});
