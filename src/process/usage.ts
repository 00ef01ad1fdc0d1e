/** What processes use, from /proc, for containers without a cgroup that counts it. Who ended, or is not root's, counts as nothing. */
import { readFileSync } from 'node:fs';

/** USER_HZ is 100 on every architecture that minict runs on (include/asm-generic/param.h). */
const TICK_NS = 10_000_000;

export interface ProcessUsage {
  readonly cpuNs: number;
  readonly threads: number;
}

function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return '';
  }
}

/**
 * With the time of children that were waited for: proc_pid_stat(5), fields 14 to 17 and 20. That of a process without threads is
 * known to the nanosecond (sched-stats.rst): between two looks that are near to each other a step of 10 ms is much.
 */
export function processUsage(pids: readonly number[]): ProcessUsage {
  let ticks = 0;
  let exactNs = 0;
  let threads = 0;
  for (const pid of pids) {
    const stat = read(pid, 'stat');
    if (stat === '') continue;
    const fields = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    const [user = 0, system = 0, childUser = 0, childSystem = 0] = fields.slice(11, 15);
    const ownNs = fields[17] === 1 ? read(pid, 'schedstat').split(' ')[0] : '';
    if (ownNs) exactNs += Number(ownNs);
    else ticks += user + system;
    ticks += childUser + childSystem;
    threads += fields[17] as number;
  }
  return { cpuNs: ticks * TICK_NS + exactNs, threads };
}

function sumOf(pids: readonly number[], file: string, key: RegExp): number {
  return pids.reduce((sum, pid) => sum + Number(key.exec(read(pid, file))?.[1] ?? 0), 0);
}

/** What they share is counted once: PSS. */
export function memoryOf(pids: readonly number[]): number {
  return sumOf(pids, 'smaps_rollup', /^Pss:\s+(\d+) kB$/m) * 1024;
}

export function ioOf(pids: readonly number[]): { readBytes: number; writeBytes: number } {
  return {
    readBytes: sumOf(pids, 'io', /^read_bytes: (\d+)$/m),
    writeBytes: sumOf(pids, 'io', /^write_bytes: (\d+)$/m),
  };
}
