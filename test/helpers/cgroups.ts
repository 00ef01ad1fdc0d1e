/** A container's limits, as the kernel's files have them. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Host } from './host.ts';

/** Where a controller is, and what its file is called there. */
export interface LimitFile {
  readonly controller: string;
  readonly v1: string;
  readonly v2: string;
}

function groupOf(host: Host, name: string, { controller, v1, v2 }: LimitFile): string {
  const top = `minict-${readFileSync(join(host.root, 'instance'), 'utf8').trim()}`;
  const old = join('/sys/fs/cgroup', controller === 'io' ? 'blkio' : controller);
  if (existsSync(join(old, 'tasks'))) return join(old, top, name, v1);
  const unified = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find((dir) => existsSync(join(dir, 'cgroup.procs')));
  return join(unified as string, top, name, v2);
}

/** Undefined where the container has no such group. */
export function readLimit(host: Host, name: string, file: LimitFile): string | undefined {
  const path = groupOf(host, name, file);
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
}

/** Of a file with lines `KEY NUMBER`. */
export function readCounter(host: Host, name: string, file: LimitFile, key: string): number {
  const [, number] = new RegExp(`^${key} (\\d+)$`, 'm').exec(readLimit(host, name, file) ?? '') ?? [];
  return Number(number);
}

export const MEMORY: LimitFile = { controller: 'memory', v1: 'memory.limit_in_bytes', v2: 'memory.max' };
export const PIDS: LimitFile = { controller: 'pids', v1: 'pids.max', v2: 'pids.max' };
export const PIDS_NOW: LimitFile = { controller: 'pids', v1: 'pids.current', v2: 'pids.current' };
export const QUOTA: LimitFile = { controller: 'cpu', v1: 'cpu.cfs_quota_us', v2: 'cpu.max' };
export const CPU_STAT: LimitFile = { controller: 'cpu', v1: 'cpu.stat', v2: 'cpu.stat' };
export const CPUSET: LimitFile = { controller: 'cpuset', v1: 'cpuset.cpus', v2: 'cpuset.cpus' };
export const READ_BPS: LimitFile = { controller: 'io', v1: 'blkio.throttle.read_bps_device', v2: 'io.max' };
export const WRITE_IOPS: LimitFile = { controller: 'io', v1: 'blkio.throttle.write_iops_device', v2: 'io.max' };

/** Takes more memory than the number of bytes, and waits. */
export const hog = (bytes: number) => [
  'sh',
  '-c',
  `x=$(head -c ${bytes} /dev/zero | tr '\\0' x); sleep 1000; echo "$x"`,
];

/** A line of /proc/PID/cgroup: v1's group for its memory, or v2's group of programs, below the one with the limits. */
export const IN_ITS_GROUP = /^(\d+:[\w,]*\bmemory\b[\w,]*:\/minict-\w+\/c1|0::\/minict-\w+\/c1\/payload)$/m;
