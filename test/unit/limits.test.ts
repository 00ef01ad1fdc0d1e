/** Limits: words to container.json, and from there to the kernel's files of v1 and v2. */
import { describe, expect, test } from 'vitest';
import type { CgroupHost } from '../../src/cgroup/cgroup.ts';
import {
  CONTROLLERS,
  type Controller,
  changesOf,
  controllersOf,
  enterLimits,
  type LimitFacts,
  planLimitGroups,
  planLimits,
  settingsOf,
  weightOf,
} from '../../src/cgroup/limits.ts';
import { runLines, undoLines } from '../../src/plan/shell.ts';
import { changedLimits, type LimitOptions, type Limits, newLimits, parseLimits } from '../../src/spec/limits.ts';

const NONE: LimitOptions = { ioReadBps: [], ioWriteBps: [], ioReadIops: [], ioWriteIops: [], ulimit: [] };
const MIB = 2 ** 20;

describe('what the command line says', () => {
  test.each([
    ['6m', 6 * MIB],
    ['64M', 64 * MIB],
    ['1g', 1024 * MIB],
    ['1.5GiB', 1536 * MIB],
    ['512mb', 512 * MIB],
    ['10485760', 10 * MIB],
    ['20480k', 20 * MIB],
  ])('-m %s', (memory, memoryBytes) => {
    expect(newLimits({ ...NONE, memory })).toEqual({ limits: { memoryBytes } });
  });

  test('all of it', () => {
    const options = {
      ...{ memory: '1g', memorySwap: '-1', cpus: '.5', cpuShares: '512', cpusetCpus: '0-1,3', pidsLimit: '100' },
      ...{
        ioReadBps: ['/dev/a:b:1mb', '/dev/c:2k'],
        ioWriteBps: ['/dev/c:3'],
        ioReadIops: [],
        ioWriteIops: ['/dev/c:4'],
      },
      ulimit: ['nofile=10:20', 'core=unlimited', 'nproc=5', 'nofile=11'],
    };
    expect(newLimits(options)).toEqual({
      limits: {
        ...{ memoryBytes: 1024 * MIB, memorySwapBytes: -1, cpus: 0.5, cpuShares: 512, cpusetCpus: '0-1,3', pids: 100 },
        io: { '/dev/a:b': { readBps: MIB }, '/dev/c': { readBps: 2048, writeBps: 3, writeIops: 4 } },
      },
      ulimits: { nofile: { soft: 11, hard: 11 }, core: { soft: -1, hard: -1 }, nproc: { soft: 5, hard: 5 } },
    });
  });

  test('a change keeps the others; 0, -1 and max lift; without the memory no swap; without any nothing is left', () => {
    const before = {
      limits: {
        memoryBytes: 8 * MIB,
        memorySwapBytes: 9 * MIB,
        pids: 5,
        io: { '/dev/a': { readBps: 1, writeBps: 2 } },
      },
      ulimits: { nofile: { soft: 1, hard: 2 } },
    };
    const changed = (options: Partial<LimitOptions>) => changedLimits(before, parseLimits({ ...NONE, ...options }));
    expect(changed({ pidsLimit: '0', ioReadBps: ['/dev/a:max'] })).toEqual({
      ...before,
      limits: { memoryBytes: 8 * MIB, memorySwapBytes: 9 * MIB, io: { '/dev/a': { writeBps: 2 } } },
    });
    expect(changed({ memory: 'max', ulimit: ['nofile=max'] })).toEqual({
      limits: { pids: 5, io: before.limits.io },
    });
    expect(changed({ memory: '0', pidsLimit: '-1', ioReadBps: ['/dev/a:0'], ioWriteBps: ['/dev/a:0'] })).toEqual({
      ulimits: before.ulimits,
    });
    expect(() => changed({ memory: '10m' })).toThrow('--memory-swap "9m": less than -m 10m');
  });
});

const LIMITS: Limits = {
  ...{ memoryBytes: 64 * MIB, cpus: 0.5, cpuShares: 512, cpusetCpus: '0-1', pids: 100 },
  io: { '/dev/a': { readBps: MIB, writeIops: 7 } },
};

function factsOf(version: 1 | 2, controllers: readonly Controller[], more: Partial<LimitFacts> = {}): LimitFacts {
  const mountPoint = (controller: Controller) => (version === 1 ? `/cg/${controller}` : '/cg');
  return {
    controllers: new Map(controllers.map((each) => [each, { version, mountPoint: mountPoint(each) }])),
    ...{ toEnable: [], devices: { '/dev/a': '8:0' }, cpus: '0-3', mems: '0', countsSwap: true },
    ...more,
  };
}

const lines = (limits: Limits, facts: LimitFacts, before: Limits = {}) =>
  settingsOf(limits, facts, before).map(({ file, value }) => `${file} ${value}`);

describe('what the kernel is told', () => {
  test('v1', () => {
    expect(lines(LIMITS, factsOf(1, CONTROLLERS))).toEqual([
      'memory.limit_in_bytes 67108864',
      'memory.memsw.limit_in_bytes 134217728',
      'cpu.cfs_period_us 100000',
      'cpu.cfs_quota_us 50000',
      'cpu.shares 512',
      'cpuset.mems 0',
      'cpuset.cpus 0-1',
      'pids.max 100',
      'blkio.throttle.read_bps_device 8:0 1048576',
      'blkio.throttle.write_bps_device 8:0 0',
      'blkio.throttle.read_iops_device 8:0 0',
      'blkio.throttle.write_iops_device 8:0 7',
    ]);
  });

  test('v2', () => {
    expect(lines(LIMITS, factsOf(2, CONTROLLERS))).toEqual([
      'memory.max 67108864',
      'memory.swap.max 67108864',
      'cpu.max 50000 100000',
      'cpu.weight 20',
      'cpuset.cpus 0-1',
      'pids.max 100',
      'io.max 8:0 rbps=1048576 wbps=max riops=max wiops=7',
    ]);
  });

  test.each([
    [1, undefined, '134217728'],
    [1, 80 * MIB, '83886080'],
    [1, -1, '-1'],
    [2, undefined, '67108864'],
    [2, 80 * MIB, '16777216'],
    [2, 64 * MIB, '0'],
    [2, -1, 'max'],
  ] as const)('memory and swap, v%i: %s', (version, memorySwapBytes, value) => {
    const limits = { memoryBytes: 64 * MIB, ...(memorySwapBytes === undefined ? {} : { memorySwapBytes }) };
    expect(settingsOf(limits, factsOf(version, ['memory'])).at(-1)?.value).toBe(value);
    expect(settingsOf(limits, factsOf(version, ['memory'], { countsSwap: false }))).toHaveLength(1);
  });

  test.each([
    [2, 1],
    [1024, 39],
    [262_144, 10_000],
  ])('%i shares are a weight of %i', (shares, weight) => {
    expect(weightOf(shares)).toBe(weight);
  });

  test('what is lifted is told, and nothing of what never was', () => {
    expect(lines({}, factsOf(1, CONTROLLERS), LIMITS)).toEqual([
      'memory.limit_in_bytes -1',
      'memory.memsw.limit_in_bytes -1',
      'cpu.cfs_period_us 100000',
      'cpu.cfs_quota_us -1',
      'cpu.shares 1024',
      'cpuset.mems 0',
      'cpuset.cpus 0-3',
      'pids.max max',
      ...['read_bps', 'write_bps', 'read_iops', 'write_iops'].map((what) => `blkio.throttle.${what}_device 8:0 0`),
    ]);
    expect(lines({}, factsOf(2, CONTROLLERS), LIMITS)).toEqual([
      'memory.max max',
      'memory.swap.max max',
      'cpu.max max 100000',
      'cpu.weight 100',
      'cpuset.cpus 0-3',
      'pids.max max',
      'io.max 8:0 rbps=max wbps=max riops=max wiops=max',
    ]);
    expect(lines({ pids: 3, cpus: 1 }, factsOf(2, CONTROLLERS), { pids: 5 })).toEqual([
      'cpu.max 100000 100000',
      'pids.max 3',
    ]);
  });

  test('under v1, memory and swap are lifted first: whether they grow or shrink, no step is refused', () => {
    const files = changesOf({ memoryBytes: 9 * MIB }, factsOf(1, ['memory']), { memoryBytes: 8 * MIB });
    expect(files.map(({ file, value }) => `${file} ${value}`)).toEqual([
      'memory.memsw.limit_in_bytes -1',
      'memory.limit_in_bytes 9437184',
      'memory.memsw.limit_in_bytes 18874368',
    ]);
  });

  test('the controllers are those that are needed', () => {
    expect(controllersOf({ memoryBytes: 1, memorySwapBytes: 2 })).toEqual(['memory']);
    expect(controllersOf({ cpus: 1 }, { io: {} })).toEqual(['cpu', 'io']);
    expect(controllersOf({})).toEqual([]);
  });
});

describe('the plan', () => {
  const limited = (version: 1 | 2) => ({
    tracking: { version, mountPoint: version === 1 ? '/cg/freezer' : '/cg' },
    ...{ instance: '00c0ffee', name: 'web1' },
  });

  test('v2: the controllers are handed down to the group that the processes are below', () => {
    const facts = factsOf(2, ['memory', 'pids'], { toEnable: ['pids'] });
    const steps = [...planLimitGroups(facts, limited(2)), ...planLimits(LIMITS, facts, limited(2))];
    expect(runLines(steps)).toBe(`# memory for the groups below
printf %s +memory >/cg/minict-00c0ffee/cgroup.subtree_control
# pids for the groups below
printf %s +pids >/cg/cgroup.subtree_control
# pids for the groups below
printf %s +pids >/cg/minict-00c0ffee/cgroup.subtree_control
# limit of memory
printf %s 67108864 >/cg/minict-00c0ffee/web1/memory.max
# limit of memory
printf %s 67108864 >/cg/minict-00c0ffee/web1/memory.swap.max
# limit of pids
printf %s 100 >/cg/minict-00c0ffee/web1/pids.max
`);
    expect(undoLines(steps)).toBe('');
    expect(enterLimits(facts, limited(2))).toEqual([]);
  });

  test('v1: a group in each hierarchy, which programs enter too; a cpuset needs CPUs and memory first', () => {
    const facts = factsOf(1, ['cpuset', 'pids']);
    const steps = [...planLimitGroups(facts, limited(1)), ...planLimits(LIMITS, facts, limited(1))];
    expect(steps.map(({ run }) => (run.kind === 'write' ? `${run.path} ${run.content}` : run.kind))).toEqual([
      'mkdir',
      '/cg/cpuset/minict-00c0ffee/cpuset.cpus 0-3',
      '/cg/cpuset/minict-00c0ffee/cpuset.mems 0',
      'mkdir',
      'mkdir',
      'mkdir',
      '/cg/cpuset/minict-00c0ffee/web1/cpuset.mems 0',
      '/cg/cpuset/minict-00c0ffee/web1/cpuset.cpus 0-1',
      '/cg/pids/minict-00c0ffee/web1/pids.max 100',
    ]);
    expect(undoLines(steps).match(/^rmdir .*$/gm)).toEqual([
      'rmdir /cg/pids/minict-00c0ffee/web1',
      'rmdir /cg/cpuset/minict-00c0ffee/web1',
    ]);
    expect(enterLimits(facts, limited(1))).toEqual([
      '/cg/cpuset/minict-00c0ffee/web1/tasks',
      '/cg/pids/minict-00c0ffee/web1/tasks',
    ]);
  });

  test('controllers of v1 that share a hierarchy share a group; one of v2 beside v1 is entered by cgroup.procs', () => {
    const shared = { version: 1, mountPoint: '/cg/cpu,pids' } as const;
    const unified = { version: 2, mountPoint: '/cg/unified' } as const;
    const facts: LimitFacts = {
      ...factsOf(1, []),
      controllers: new Map<Controller, CgroupHost>([
        ['cpu', shared],
        ['pids', shared],
        ['memory', unified],
      ]),
    };
    expect(enterLimits(facts, limited(1))).toEqual([
      '/cg/cpu,pids/minict-00c0ffee/web1/tasks',
      '/cg/unified/minict-00c0ffee/web1/cgroup.procs',
    ]);
    const made = planLimitGroups(facts, limited(1)).flatMap(({ claims = [] }) => claims.map(({ name }) => name));
    expect(made).toEqual(['/cg/cpu,pids/minict-00c0ffee/web1', '/cg/unified/minict-00c0ffee/web1']);
  });
});
