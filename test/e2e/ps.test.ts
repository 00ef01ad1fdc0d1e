import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { Host } from '../helpers/host.ts';
import { imageTree } from '../helpers/images.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
  host.minict('create', 'idle', '--ip', '192.168.0.5', '-l', 'tier=web', '-l', 'lab');
  host.minict('run', '-d', 'busy', '--no-network', '--', 'sleep', '300');
  host.minict('run', 'over', '--no-network', '--', 'sh', '-c', 'exit 3');
  host.run(['cp', '-a', imageTree(host, 'base'), join(host.dir, 'tree')]);
  host.minict('run', '-d', 'off', '--no-network', '--rootfs', join(host.dir, 'tree'), '--', 'sleep', '300');
  host.minict('stop', 'off');
});
afterAll(() => host.destroy());

const ps = (...words: string[]) => host.minict('ps', ...words).stdout;

test('ps shows what is up, and how its main command ended; -a what is stopped, too', () => {
  const cells = (text: string) =>
    text
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/));
  const up = [
    ['NAME', 'STATUS', 'IMAGE', 'ADDRESS', 'PORTS'],
    ['busy', expect.stringMatching(/^running \d+ seconds?$/), 'base'],
    ['idle', 'ready', 'base', '192.168.0.5'],
  ];
  const over = ['over', expect.stringMatching(/^ready, exited \(3\) \d+ seconds? ago$/), 'base'];
  expect(cells(ps())).toEqual([...up, over]);
  expect(cells(ps('-a'))).toEqual([
    ...up,
    ['off', expect.stringMatching(/^stopped, exited \(143\) \d+ seconds? ago$/), join(host.dir, 'tree')],
    over,
  ]);
});

test('-q and --format json', () => {
  expect(ps('-q')).toBe('busy\nidle\nover\n');
  expect(ps('-aq')).toBe('busy\nidle\noff\nover\n');
  const image = 'base';
  const startedAt = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  expect(JSON.parse(ps('--format', 'json'))).toEqual([
    { name: 'busy', state: 'running', missing: [], startedAt, image, address: '', ports: [], down: [] },
    { name: 'idle', state: 'ready', missing: [], image, address: '192.168.0.5', ports: [], down: [] },
    {
      name: 'over',
      state: 'ready',
      missing: [],
      exitCode: 3,
      startedAt,
      finishedAt: startedAt,
      image,
      address: '',
      ports: [],
      down: [],
    },
  ]);
});

test.each([
  [['name=idle'], 'idle'],
  [['name=id'], 'idle'],
  [['name=^d'], ''],
  [['name=^idle$'], 'idle'],
  [['name=y$', 'name=ov?e'], 'busy over'],
  [['label=lab'], 'idle'],
  [['label=tier=web', 'label=lab='], 'idle'],
  [['label=tier=web', 'label=nope'], ''],
  [['label=tier=we'], ''],
  [['network=minict0'], 'idle'],
  [['network=minict'], ''],
  [['exited=3'], 'over'],
  [['exited=143'], ''],
  [['health=none', 'name=idle'], 'idle'],
  [['name=idle', 'name=over'], 'idle over'],
  [['name=idle', 'status=running'], ''],
  [['status=ready'], 'idle over'],
  [['status=stopped'], 'off'],
  [['status=stopped', 'status=running'], 'busy off'],
  [['image=base', 'status=ready', 'name=over'], 'over'],
])('--filter %j', (filters, names) => {
  const words = filters.flatMap((filter) => ['--filter', filter]);
  expect(
    ps('-q', ...words)
      .split('\n')
      .filter(Boolean)
      .join(' '),
  ).toBe(names);
});

test.each(['nope=x', 'name', '', 'toString=x'])('--filter %j is refused', (filter) => {
  const result = host.minict('ps', '--filter', filter);
  expect(result).toMatchObject({ status: 125, stdout: '' });
  expect(result.stderr).toBe(
    `minict: cannot use --filter '${filter}': not K=V with K one of name, status, image, label, network, exited, health\n`,
  );
});

test.each([
  ['status=exited', /'exited' is none of ready, running, paused, restarting, stopped, broken\n/],
  ['health=well', /'well' is none of starting, healthy, unhealthy, none\n/],
  ['name=(', /.+\nhint: a part of a name, or a regular expression/],
])('--filter %j has no such value', (filter, expected) => {
  const result = host.minict('ps', '--filter', filter);
  expectRefused(result, new RegExp(`^minict: cannot use --filter '${RegExp.escape(filter)}': ${expected.source}`));
});

test('inspect is an array of all that is known, and its paths are the kernel’s', () => {
  const [idle, over] = JSON.parse(host.minict('inspect', 'idle', 'over').stdout);
  expect(idle).toEqual({
    version: 1,
    name: 'idle',
    hostname: 'idle',
    createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    image: 'base',
    imageId: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
    labels: { tier: 'web', lab: '' },
    lower: [imageTree(host, 'base')],
    mounts: 'private',
    nics: [
      {
        kind: 'veth',
        network: 'minict0',
        bridge: 'minict0',
        name: 'eth0',
        hostLink: 'idle-eth0',
        addresses: ['192.168.0.5/24'],
        gateways: ['192.168.0.1'],
        mac: expect.stringMatching(/^02(:[0-9a-f]{2}){5}$/),
        noStrangers: true,
      },
    ],
    services: [],
    stopCommands: [],
    command: [],
    env: {},
    address: '192.168.0.5',
    status: { state: 'ready', missing: [] },
    namespaces: { net: '/run/netns/idle', uts: '/run/utsns/idle', mount: '/run/mntns/idle' },
    cgroup: expect.stringMatching(/^\/sys\/fs\/cgroup\/.*\/idle\/payload$/),
    folder: join(host.root, 'containers/idle'),
  });
  expect(statSync(idle.cgroup).isDirectory()).toBe(true);
  expect(readFileSync(join(idle.folder, 'hostname'), 'utf8')).toBe('idle\n');
  expect(host.run(['nsenter', `--uts=${idle.namespaces.uts}`, 'hostname']).stdout).toBe('idle\n');
  expect(over).toMatchObject({
    name: 'over',
    command: ['sh', '-c', 'exit 3'],
    status: { state: 'ready', exitCode: 3 },
  });
});

test('inspect goes on after a name that is not there', () => {
  const result = host.minict('inspect', 'nope', 'idle');
  expect(result.status).toBe(125);
  expect(JSON.parse(result.stdout)).toHaveLength(1);
  expect(result.stderr).toContain('cannot find container nope');
});
