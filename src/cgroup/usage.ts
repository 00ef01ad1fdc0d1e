/** What a container uses, from the files of its cgroups. Reads only. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readGroupFile } from '../host/group-file.ts';
import { type CgroupHost, cgroupPaths, readCgroupHost } from './cgroup.ts';
import { findController } from './controllers.ts';
import { CONTROLLERS, type Controller } from './limits.ts';

/** Of a file with lines `KEY NUMBER`. */
function numberOf(text: string | undefined, key: string): number | undefined {
  const [, number] = new RegExp(`^${key} (\\d+)$`, 'm').exec(text ?? '') ?? [];
  return number === undefined ? undefined : Number(number);
}

/** A container's group, where it has one of that controller. */
interface Group {
  readonly version: 1 | 2;
  readonly read: (file: string) => string | undefined;
}

/** Undefined where it has none: to be told so by each file takes three times as long. */
function groupIn(host: CgroupHost, instance: string, name: string): Group | undefined {
  const { container } = cgroupPaths(host, instance, name);
  if (!existsSync(container)) return undefined;
  return { version: host.version, read: (file) => readGroupFile(`${container}/${file}`) };
}

/** Of a container with limits of memory, in its group. */
function memoryGroup(instance: string, name: string): Group | undefined {
  const host = findController('memory');
  return host && groupIn(host, instance, name);
}

const oomFileOf = ({ version }: Pick<Group, 'version'>) => (version === 1 ? 'memory.oom_control' : 'memory.events');

/** Since the group was made; 0 where nobody counts. */
export function readOomKills(instance: string, name: string): number {
  const memory = memoryGroup(instance, name);
  return numberOf(memory?.read(oomFileOf(memory)), 'oom_kill') ?? 0;
}

/** That has a line `oom_kill NUMBER`, of a container whose memory is limited; undefined where nobody counts. */
export function oomCountFile(instance: string, name: string): string | undefined {
  const host = findController('memory');
  return host && join(cgroupPaths(host, instance, name).container, oomFileOf(host));
}

/** Of its memory, under v2, what the kernel cannot take back: all but files that are on a disk. */
export function needsAtLeast(instance: string, name: string): number {
  const memory = memoryGroup(instance, name);
  const used = Number(memory?.read('memory.current') ?? 0);
  const stat = memory?.read('memory.stat');
  return used - (numberOf(stat, 'file') ?? 0) + (numberOf(stat, 'shmem') ?? 0);
}

/** Where groups count. */
export interface Counters {
  readonly tracking: CgroupHost;
  readonly controllers: ReadonlyMap<Controller, CgroupHost>;
}

/** Once for many containers. */
export function findCounters(): Counters {
  const found = CONTROLLERS.map((controller) => [controller, findController(controller)] as const);
  const controllers = new Map(found.filter((each): each is [Controller, CgroupHost] => each[1] !== undefined));
  return { tracking: readCgroupHost(), controllers };
}

/** Undefined: no group counts it. */
export interface GroupUsage {
  readonly cpuNs: number | undefined;
  readonly memoryBytes: number | undefined;
  readonly memoryLimitBytes: number | undefined;
  readonly io: { readonly readBytes: number; readonly writeBytes: number } | undefined;
}

/** v1 has a number for "none", the most that a long counts in pages. */
const NO_LIMIT = 2 ** 62;

/** Memory as docker counts it: without files that nobody has used for a while. */
export function readGroupUsage(counters: Counters, instance: string, name: string): GroupUsage {
  const groupOf = (controller: Controller) => {
    const host = counters.controllers.get(controller);
    return host && groupIn(host, instance, name);
  };
  return {
    cpuNs: readCpuNs(counters, instance, name),
    ...readMemory(groupOf('memory')),
    io: readIo(groupOf('io')),
  };
}

function readMemory(memory: Group | undefined): Pick<GroupUsage, 'memoryBytes' | 'memoryLimitBytes'> {
  const isV1 = memory?.version === 1;
  const used = memory?.read(isV1 ? 'memory.usage_in_bytes' : 'memory.current');
  if (used === undefined) return { memoryBytes: undefined, memoryLimitBytes: undefined };
  const cache = numberOf(memory?.read('memory.stat'), isV1 ? 'total_inactive_file' : 'inactive_file') ?? 0;
  const limit = Number(memory?.read(isV1 ? 'memory.limit_in_bytes' : 'memory.max'));
  return { memoryBytes: Math.max(0, Number(used) - cache), memoryLimitBytes: limit < NO_LIMIT ? limit : undefined };
}

/** v2 counts in every group, with the controller or without; v1 where cpuacct shares the hierarchy. */
export function readCpuNs({ tracking, controllers }: Counters, instance: string, name: string): number | undefined {
  const host = tracking.version === 2 ? tracking : controllers.get('cpu');
  const group = host && groupIn(host, instance, name);
  if (group?.version === 1) {
    const used = group.read('cpuacct.usage');
    return used === undefined ? undefined : Number(used);
  }
  const usec = numberOf(group?.read('cpu.stat'), 'usage_usec');
  return usec === undefined ? undefined : usec * 1000;
}

/** Of all disks: lines `8:0 Read 4096` of v1, `8:0 rbytes=4096 wbytes=0 …` of v2. */
function readIo(group: Group | undefined): GroupUsage['io'] {
  const text = group?.read(group.version === 1 ? 'blkio.throttle.io_service_bytes' : 'io.stat');
  if (text === undefined) return undefined;
  const sum = (pattern: RegExp) => [...text.matchAll(pattern)].reduce((all, [, bytes]) => all + Number(bytes), 0);
  return { readBytes: sum(/(?:Read |rbytes=)(\d+)/g), writeBytes: sum(/(?:Write |wbytes=)(\d+)/g) };
}
