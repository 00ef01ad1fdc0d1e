/**
 * From limits to the kernel's files, of cgroup v1 and v2. Sources: Documentation/admin-guide/cgroup-v1/ and cgroup-v2.rst.
 * Pure.
 */
import type { IoLimits, Limits } from '../spec/limits.ts';
import type { Step } from '../step.ts';
import { type CgroupHost, cgroupPaths } from './cgroup.ts';

export const CONTROLLERS = ['memory', 'cpu', 'cpuset', 'pids', 'io'] as const;
export type Controller = (typeof CONTROLLERS)[number];

/** What has to be known of the host. */
export interface LimitFacts {
  /** Where the controllers are that are needed. */
  readonly controllers: ReadonlyMap<Controller, CgroupHost>;
  /** Those that the groups at the top of the hierarchy cannot have yet. */
  readonly toEnable: readonly Controller[];
  /** `MAJOR:MINOR` by the device's path. */
  readonly devices: Readonly<Record<string, string>>;
  /** CPUs and memory nodes of all: a group of v1 has none of its own at first. */
  readonly cpus: string;
  readonly mems: string;
  readonly countsSwap: boolean;
}

export interface Setting {
  readonly controller: Controller;
  readonly file: string;
  readonly value: string;
}

type Written = readonly [file: string, value: string];

interface Knob {
  readonly controller: Controller;
  /** It is written where one of these is, or was, there. */
  readonly keys: readonly (keyof Limits)[];
  readonly files: (limits: Limits, facts: LimitFacts, devices: readonly string[]) => readonly Written[];
}

const PERIOD_US = 100_000;
const quotaUs = (cpus: number) => Math.round(cpus * PERIOD_US);
const DEFAULT_SHARES = 1024;
const DEFAULT_WEIGHT = 100;

/** v1 counts from 2 to 262144, v2 from 1 to 10000: as crun and runc map one to the other. */
export function weightOf(shares: number): number {
  return 1 + Math.floor(((shares - 2) * 9999) / 262_142);
}

/** As docker has it: as much swap as memory where nothing else is said; -1 is no limit. */
function memoryAndSwap({ memoryBytes, memorySwapBytes }: Limits): number {
  return memoryBytes === undefined ? -1 : (memorySwapBytes ?? 2 * memoryBytes);
}

const V1: readonly Knob[] = [
  {
    controller: 'memory',
    keys: ['memoryBytes'],
    files: ({ memoryBytes = -1 }) => [['memory.limit_in_bytes', String(memoryBytes)]],
  },
  {
    controller: 'memory',
    keys: ['memoryBytes', 'memorySwapBytes'],
    files: (limits, { countsSwap }) =>
      countsSwap ? [['memory.memsw.limit_in_bytes', String(memoryAndSwap(limits))]] : [],
  },
  {
    controller: 'cpu',
    keys: ['cpus'],
    files: ({ cpus }) => [
      ['cpu.cfs_period_us', String(PERIOD_US)],
      ['cpu.cfs_quota_us', cpus === undefined ? '-1' : String(quotaUs(cpus))],
    ],
  },
  {
    controller: 'cpu',
    keys: ['cpuShares'],
    files: ({ cpuShares = DEFAULT_SHARES }) => [['cpu.shares', String(cpuShares)]],
  },
  {
    controller: 'cpuset',
    keys: ['cpusetCpus'],
    files: ({ cpusetCpus }, { cpus, mems }) => [
      ['cpuset.mems', mems],
      ['cpuset.cpus', cpusetCpus ?? cpus],
    ],
  },
  { controller: 'pids', keys: ['pids'], files: ({ pids = 'max' }) => [['pids.max', String(pids)]] },
  {
    controller: 'io',
    keys: ['io'],
    files: ({ io = {} }, facts, devices) =>
      devices.flatMap((device) =>
        IO.map(({ key, v1 }): Written => {
          const rate = io[device]?.[key] ?? 0;
          return [`blkio.throttle.${v1}_device`, `${facts.devices[device]} ${rate}`];
        }),
      ),
  },
];

const V2: readonly Knob[] = [
  {
    controller: 'memory',
    keys: ['memoryBytes'],
    files: ({ memoryBytes = 'max' }) => [['memory.max', String(memoryBytes)]],
  },
  {
    controller: 'memory',
    keys: ['memoryBytes', 'memorySwapBytes'],
    files: (limits, { countsSwap }) => {
      const both = memoryAndSwap(limits);
      const swap = both === -1 ? 'max' : String(both - (limits.memoryBytes ?? 0));
      return countsSwap ? [['memory.swap.max', swap]] : [];
    },
  },
  {
    controller: 'cpu',
    keys: ['cpus'],
    files: ({ cpus }) => [['cpu.max', `${cpus === undefined ? 'max' : quotaUs(cpus)} ${PERIOD_US}`]],
  },
  {
    controller: 'cpu',
    keys: ['cpuShares'],
    files: ({ cpuShares }) => [['cpu.weight', String(cpuShares === undefined ? DEFAULT_WEIGHT : weightOf(cpuShares))]],
  },
  {
    controller: 'cpuset',
    keys: ['cpusetCpus'],
    // None at all, as it is at first, is refused once there are processes.
    files: ({ cpusetCpus }, { cpus }) => [['cpuset.cpus', cpusetCpus ?? cpus]],
  },
  { controller: 'pids', keys: ['pids'], files: ({ pids = 'max' }) => [['pids.max', String(pids)]] },
  {
    controller: 'io',
    keys: ['io'],
    files: ({ io = {} }, facts, devices) =>
      devices.map((device): Written => {
        const rates = IO.map(({ key, v2 }) => `${v2}=${io[device]?.[key] ?? 'max'}`);
        return ['io.max', `${facts.devices[device]} ${rates.join(' ')}`];
      }),
  },
];

const IO: readonly { readonly key: keyof IoLimits; readonly v1: string; readonly v2: string }[] = [
  { key: 'readBps', v1: 'read_bps', v2: 'rbps' },
  { key: 'writeBps', v1: 'write_bps', v2: 'wbps' },
  { key: 'readIops', v1: 'read_iops', v2: 'riops' },
  { key: 'writeIops', v1: 'write_iops', v2: 'wiops' },
];

/** The controllers that limits take. */
export function controllersOf(...limits: readonly Limits[]): Controller[] {
  const used = V2.filter(({ keys }) => keys.some((key) => limits.some((those) => those[key] !== undefined)));
  return [...new Set(used.map(({ controller }) => controller))];
}

/** What is written, in this order; of what was limited `before` and is no more, that there is no limit. */
export function settingsOf(limits: Limits, facts: LimitFacts, before: Limits = {}): Setting[] {
  const devices = Object.keys(facts.devices);
  return [...facts.controllers].flatMap(([controller, { version }]) =>
    (version === 1 ? V1 : V2)
      .filter((knob) => knob.controller === controller)
      .filter(({ keys }) => keys.some((key) => limits[key] !== undefined || before[key] !== undefined))
      .flatMap((knob) => knob.files(limits, facts, devices))
      .map(([file, value]) => ({ controller, file, value })),
  );
}

/** The same of a container that has limits. v1 refuses memory above memory and swap, so that is lifted in between. */
export function changesOf(limits: Limits, facts: LimitFacts, before: Limits): Setting[] {
  const settings = settingsOf(limits, facts, before);
  const swap = settings.find(({ file }) => file === 'memory.memsw.limit_in_bytes');
  return swap === undefined ? settings : [{ ...swap, value: '-1' }, ...settings];
}

/** A container's group of a controller, and that of all containers. */
export function limitGroup(host: CgroupHost, instance: string, name: string): { top: string; container: string } {
  const { instance: top, container } = cgroupPaths(host, instance, name);
  return { top, container };
}

/** Hierarchies beside the one that processes are tracked in. */
function othersThan(tracking: CgroupHost, { controllers }: LimitFacts): CgroupHost[] {
  const others = [...controllers.values()].filter(({ mountPoint }) => mountPoint !== tracking.mountPoint);
  return [...new Map(others.map((host) => [host.mountPoint, host])).values()];
}

/** Files that take `0` of who enters, beside the payload's: where limits are in other hierarchies than that. */
export function enterLimits(facts: LimitFacts, { tracking, instance, name }: Limited): string[] {
  return othersThan(tracking, facts).map((host) => {
    const { container } = limitGroup(host, instance, name);
    return `${container}/${host.version === 1 ? 'tasks' : 'cgroup.procs'}`;
  });
}

/** Whose limits, and the hierarchy in which its processes are tracked. */
export interface Limited {
  readonly tracking: CgroupHost;
  readonly instance: string;
  readonly name: string;
}

function write({ name }: Limited, id: string, why: string, path: string, content: string): Step {
  return { id: `limit ${id}`, why, chain: `cgroup ${name}`, part: 'cgroup', run: { kind: 'write', path, content } };
}

/** What limits are written to. */
export function planLimitGroups(facts: LimitFacts, limited: Limited): Step[] {
  return [...planGroups(facts, limited), ...planEnabling(facts, limited)];
}

/** They are on the container's own group: what is below it cannot lift them. */
export function planLimits(limits: Limits, facts: LimitFacts, limited: Limited): Step[] {
  return settingsOf(limits, facts).map((setting) => {
    const { controller, file, value } = setting;
    const device = controller === 'io' ? ` ${value.split(' ')[0]}` : '';
    return write(limited, `${file}${device}`, `limit of ${controller}`, settingPath(setting, facts, limited), value);
  });
}

export function settingPath({ controller, file }: Setting, facts: LimitFacts, { instance, name }: Limited): string {
  return `${limitGroup(facts.controllers.get(controller) as CgroupHost, instance, name).container}/${file}`;
}

/** v2: a group has the controllers that the one above it hands down. */
function planEnabling(facts: LimitFacts, limited: Limited): Step[] {
  const enable = (controller: Controller, dir: string) => {
    const why = `${controller} for the groups below`;
    return write(limited, `${controller} in ${dir}`, why, `${dir}/cgroup.subtree_control`, `+${controller}`);
  };
  return [...facts.controllers]
    .filter(([, { version }]) => version === 2)
    .flatMap(([controller, host]) => {
      const { top } = limitGroup(host, limited.instance, limited.name);
      const isEnabled = !facts.toEnable.includes(controller);
      return [...(isEnabled ? [] : [enable(controller, host.mountPoint)]), enable(controller, top)];
    });
}

function planGroups(facts: LimitFacts, limited: Limited): Step[] {
  const { tracking, instance, name } = limited;
  const place = { chain: `cgroup ${name}`, part: 'cgroup' } as const;
  const cpuset = facts.controllers.get('cpuset');
  return othersThan(tracking, facts).flatMap((host): Step[] => {
    const { top, container } = limitGroup(host, instance, name);
    const isCpuset = cpuset?.version === 1 && cpuset.mountPoint === host.mountPoint;
    return [
      {
        id: `limit group of all ${top}`,
        why: 'the group of all containers',
        ...place,
        run: { kind: 'mkdir', path: top, mode: 0o755, parents: true },
      },
      // A group of v1 has neither at first, and takes no process without.
      ...(isCpuset
        ? [
            write(limited, 'cpuset.cpus of all', 'all CPUs', `${top}/cpuset.cpus`, facts.cpus),
            write(limited, 'cpuset.mems of all', 'all memory nodes', `${top}/cpuset.mems`, facts.mems),
          ]
        : []),
      {
        id: `limit group ${container}`,
        why: "the container's group, for its limits",
        ...place,
        run: { kind: 'mkdir', path: container, mode: 0o755 },
        undo: { kind: 'rmdir', path: container },
        claims: [{ kind: 'cgroup', name: container }],
      },
    ];
  });
}
