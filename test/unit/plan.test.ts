/** The plan of a container, and how its steps become few processes: data in, data out. */
import { describe, expect, test } from 'vitest';
import { type ContainerFacts, planBringUp } from '../../src/plan/container.ts';
import { runLines, undoLines } from '../../src/plan/shell.ts';
import { failingStep, nextBatch } from '../../src/runner/batch.ts';
import type { ContainerSpec } from '../../src/spec/container.ts';
import { quote } from '../../src/spec/shell-words.ts';
import { containerPaths } from '../../src/state/paths.ts';
import type { Step } from '../../src/step.ts';

const paths = containerPaths({ root: '/lib', runDir: '/run/minict' }, 'web1');

const spec: ContainerSpec = {
  version: 1,
  name: 'web1',
  hostname: 'web1.lab',
  createdAt: '2020-01-01T00:00:00.000Z',
  image: 'base',
  lower: ['/lib/images/base/rootfs'],
  mounts: 'private',
  nics: [
    {
      kind: 'veth',
      network: 'minict0',
      bridge: 'minict0',
      name: 'eth0',
      hostLink: 'web1-eth0',
      addresses: ['192.168.0.11/24'],
      gateways: ['192.168.0.1'],
      mac: '02:00:00:00:00:01',
    },
  ],
  services: [],
  stopCommands: [],
  command: [],
  env: {},
};

const facts: ContainerFacts = {
  instance: '00c0ffee',
  cgroup: {
    instance: '/cg/minict-00c0ffee',
    container: '/cg/minict-00c0ffee/web1',
    payload: '/cg/minict-00c0ffee/web1/payload',
    supervisor: '/cg/minict-00c0ffee/web1/supervisor',
    enterPayload: '/cg/minict-00c0ffee/web1/payload/cgroup.procs',
    enterSupervisor: '/cg/minict-00c0ffee/web1/supervisor/cgroup.procs',
  },
  rootfs: {
    absent: { files: [], folders: [], hidden: [] },
    volumes: [],
    missing: [],
    targets: { '/proc': '/proc', '/sys': '/sys', '/dev': '/dev', '/etc/hosts': '/etc/hosts', '/etc/hostname': '/e t' },
  },
  skeleton: '/lib/skeleton',
  ownHosts: undefined,
  hostsFile: '/lib/networks/minict0.hosts',
  resolvConf: 'nameserver 192.0.2.1\n',
};

const plan = planBringUp(spec, paths, facts);

interface Process {
  readonly argv: string;
  readonly stdin?: string;
}

/** The processes that a chain takes, in order. */
function processesOf(steps: readonly Step[]): Process[] {
  const processes: Process[] = [];
  for (let pending = steps; pending.length > 0; ) {
    const { batch, rest } = nextBatch(pending);
    pending = rest;
    if (batch.argv.length === 0) continue;
    processes.push({ argv: batch.argv.join(' '), ...(batch.stdin === undefined ? {} : { stdin: batch.stdin }) });
  }
  return processes;
}

const chain = (name: string) => plan.filter((step) => step.chain === `${name} web1`);

describe('the plan of a container', () => {
  test('its network takes two processes', () => {
    const hostMac = /address (fe\S+) type veth/.exec(runLines(plan))?.[1];
    expect(processesOf(chain('net'))).toEqual([
      {
        argv: 'ip -batch -',
        stdin: [
          'netns add web1',
          `link add name web1-eth0 address ${hostMac} type veth` +
            ' peer name eth0 address 02:00:00:00:00:01 netns web1',
          'link set dev web1-eth0 master minict0 alias minict:00c0ffee:web1:eth0 addrgenmode none',
          'link set dev web1-eth0 up',
          '',
        ].join('\n'),
      },
      {
        argv: 'ip -n web1 -batch -',
        stdin: [
          'link set dev eth0 addrgenmode none',
          'addr replace 192.168.0.11/24 brd + dev eth0',
          'link set dev eth0 up',
          'route add default via 192.168.0.1 dev eth0',
          'link set dev lo up',
          '',
        ].join('\n'),
      },
    ]);
  });

  test('its mounts take one, white space in their names written as fstab(5) wants it', () => {
    const [mounts, ...others] = processesOf(chain('mounts'));
    expect(others).toEqual([]);
    expect(mounts?.argv).toBe(
      'unshare --uts=/run/utsns/web1 --mount=/run/mntns/web1 --propagation slave mount --fstab /dev/stdin --all',
    );
    expect(
      nextBatch(chain('mounts').filter(({ run }) => run.kind !== 'mkdir' && run.kind !== 'write')).batch.inside,
    ).toEqual([
      expect.objectContaining({ file: '/run/utsns/web1', hostname: 'web1.lab' }),
      expect.objectContaining({ file: '/run/mntns/web1', detach: ['/run/netns', '/run/utsns'] }),
    ]);
    const root = '/lib/containers/web1/rootfs';
    expect(mounts?.stdin?.split('\n')).toEqual([
      `overlay ${root} overlay lowerdir=/lib/images/base/rootfs:/lib/skeleton,upperdir=/lib/containers/web1/upper,` +
        'workdir=/lib/containers/web1/work,index=off,metacopy=off,redirect_dir=off 0 0',
      `proc ${root}/proc proc defaults 0 0`,
      `/sys ${root}/sys none rbind,rslave 0 0`,
      `/dev ${root}/dev none rbind,rslave 0 0`,
      `/lib/networks/minict0.hosts ${root}/etc/hosts none bind 0 0`,
      `/lib/containers/web1/hostname ${root}/e\\040t none bind 0 0`,
      '',
    ]);
  });

  test('every step that makes something has an undo, or says what takes it along', () => {
    const ids = new Set(plan.map((step) => step.id));
    for (const step of plan) {
      if (step.claims !== undefined) expect(step.undo, step.id).toBeDefined();
      if (step.endsWith !== undefined) expect(ids, step.id).toContain(step.endsWith);
    }
    expect(ids.size).toBe(plan.length);
  });

  test('the way back unmounts the namespaces and removes their files, in that order', () => {
    const lines = undoLines(plan).split('\n');
    const at = (text: string) => lines.findIndex((line) => line.includes(text));
    expect(at('umount --lazy /run/utsns/web1')).toBeLessThan(at('rm /run/utsns/web1'));
    expect(at('umount /run/mntns/web1')).toBeLessThan(at('rm /run/mntns/web1'));
    expect(lines).toContain('umount --lazy /run/netns/web1 && rm /run/netns/web1');
    expect(at('ip link del')).toBe(-1);
  });
});

describe('a batch that fails', () => {
  test.each([
    ['net', 'Error: argument "x" is wrong\nCommand failed -:3\n', 'eth0 port'],
    ['mounts', 'unshare: unshare failed: Operation not permitted\n', 'utsns'],
    ['mounts', 'unshare: mount /proc/1/ns/mnt on /run/mntns/web1 failed: Invalid argument\n', 'mntns'],
    ['mounts', 'mount: /lib/containers/web1/rootfs/proc: permission denied.\n', 'mount proc'],
  ])('%s, %j is of step %s', (name, stderr, id) => {
    const steps = chain(name).filter(({ run }) => run.kind !== 'mkdir' && run.kind !== 'write');
    expect(failingStep(nextBatch(steps).batch, stderr).id).toBe(id);
  });
});

test.each(['', 'plain', "it's", '$HOME `id`', 'a\nb', '-n', 'ü', '\\', '*'])(
  'sh reads %j back from its quotes',
  (word) => {
    const { stdout } = Bun.spawnSync(['sh', '-c', `printf %s ${quote(word)}`]);
    expect(stdout.toString()).toBe(word);
  },
);
