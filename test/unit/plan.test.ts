/** The plan of a container, and how its steps become few processes: data in, data out. */
import { describe, expect, test } from 'vitest';
import { mountCalls } from '../../src/host/mounts.ts';
import { type ContainerFacts, planBringUp } from '../../src/plan/container.ts';
import { runLines, undoLines } from '../../src/plan/shell.ts';
import { failingStep, nextBatch } from '../../src/runner/batch.ts';
import { loadOci } from '../../src/runtime/oci.ts';
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
    supervisor: '/cg/minict-00c0ffee/supervisor@web1',
    init: '/cg/minict-00c0ffee/web1/init',
    enterInit: '/cg/minict-00c0ffee/web1/init/cgroup.procs',
    enterPayload: '/cg/minict-00c0ffee/web1/payload/cgroup.procs',
    enterSupervisor: '/cg/minict-00c0ffee/supervisor@web1/cgroup.procs',
  },
  rootfs: {
    absent: { files: [], folders: [], hidden: [] },
    volumes: [],
    missing: [],
    targets: { '/proc': '/proc', '/sys': '/sys', '/dev': '/dev', '/etc/hosts': '/etc/hosts', '/etc/hostname': '/e t' },
  },
  skeleton: '/lib/skeleton',
  namespaceFolders: ['/run/netns', '/run/utsns'],
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

const root = '/lib/containers/web1/rootfs';
const tmpfses = ['a', 'b c'].map((name): Step => {
  const mount = { source: 'tmpfs', target: `${root}/${name}`, fstype: 'tmpfs', options: 'size=1m' };
  return { id: name, why: '', run: { kind: 'mount', mntns: paths.mntns, ...mount } };
});

const chain = (name: string) => plan.filter((step) => step.chain === `${name} web1`);

describe('the plan of a container', () => {
  test('its network takes two processes', () => {
    const hostMac = /address (fe\S+) numtx/.exec(runLines(plan))?.[1];
    expect(processesOf(chain('net'))).toEqual([
      {
        argv: 'ip -batch -',
        stdin: [
          'netns add web1',
          `link add name web1-eth0 address ${hostMac} numtxqueues 1 numrxqueues 1 type veth` +
            ' peer name eth0 address 02:00:00:00:00:01 numtxqueues 1 numrxqueues 1 netns web1',
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

  test('its mounts are system calls', () => {
    const mounts = chain('mounts').flatMap(({ run }) => (run.kind === 'mount' ? [run] : []));
    expect(mounts).toHaveLength(6);
    for (const mount of mounts) expect(mountCalls(mount), mount.target).toBeDefined();
  });

  test('those that mount(8) has to see to take one process, white space as fstab(5) wants it', () => {
    expect(processesOf(tmpfses)).toEqual([
      {
        argv: 'nsenter --mount=/run/mntns/web1 mount --fstab /dev/stdin --all',
        stdin: `tmpfs ${root}/a tmpfs size=1m 0 0\ntmpfs ${root}/b\\040c tmpfs size=1m 0 0\n`,
      },
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

  test('who has to wait for a step of another chain stands behind it', () => {
    const own: ContainerSpec = { ...spec, runtime: 'crun', isolated: ['pid', 'ipc', 'cgroupns'] };
    const steps = planBringUp(own, paths, { ...facts, init: '/init', runtime: loadOci(own, 'crun') });
    const waiting = steps.flatMap((step, index) => (step.after ?? []).map((id) => ({ step, index, id })));
    expect(waiting.map(({ step }) => step.id)).toContain('init');
    for (const { step, index, id } of waiting) {
      const named = steps.findIndex((other) => other.id === id);
      expect(named, id).toBeGreaterThanOrEqual(0);
      expect(named, id).toBeLessThan(index);
      expect(steps[named]?.chain, id).not.toBe(step.chain);
    }
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
  test('is of the step that ip names by its line', () => {
    const stderr = 'Error: argument "x" is wrong\nCommand failed -:3\n';
    expect(failingStep(nextBatch(chain('net')).batch, stderr).id).toBe('eth0 port');
  });

  test('is of the step that mount names by its target', () => {
    const { batch } = nextBatch(tmpfses);
    expect(failingStep(batch, `mount: ${root}/a: permission denied.\n`).id).toBe('a');
  });
});

test.each(['', 'plain', "it's", '$HOME `id`', 'a\nb', '-n', 'ü', '\\', '*'])(
  'sh reads %j back from its quotes',
  (word) => {
    const { stdout } = Bun.spawnSync(['sh', '-c', `printf %s ${quote(word)}`]);
    expect(stdout.toString()).toBe(word);
  },
);
