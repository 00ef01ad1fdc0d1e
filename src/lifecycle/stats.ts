/** stats: what containers use, by files of the kernel alone: no process is started, and no lock taken. */
import { existsSync, readFileSync } from 'node:fs';
import { cgroupPaths } from '../cgroup/cgroup.ts';
import { processesIn } from '../cgroup/processes.ts';
import { type Counters, readCpuNs, readGroupUsage } from '../cgroup/usage.ts';
import { HostError } from '../errors.ts';
import { inNetworkNamespace } from '../host/namespaces.ts';
import { ioOf, memoryOf, processUsage } from '../process/usage.ts';
import { containerPaths } from '../state/paths.ts';
import { listContainers } from '../state/store.ts';
import type { Context } from './context.ts';
import { isInside } from './own-programs.ts';

export interface Stats {
  readonly name: string;
  /** Of one CPU: two that are busy are 200. */
  readonly cpuPercent: number;
  readonly memoryBytes: number;
  /** Its own, or all of the host's. */
  readonly memoryLimitBytes: number;
  /** Processes and threads. */
  readonly pids: number;
  readonly netReceivedBytes: number;
  readonly netSentBytes: number;
  readonly blockReadBytes: number;
  readonly blockWriteBytes: number;
}

interface CpuSample {
  readonly atMs: number;
  readonly cpuNs: number;
}

export type CpuSamples = ReadonlyMap<string, CpuSample>;

/** Processes of containers, by name: their own programs, and not who waits for these. */
export type Programs = ReadonlyMap<string, readonly number[]>;

/** Of `names`, or of all that have any. */
export function readPrograms(
  context: Context,
  { tracking }: Counters,
  instance: string,
  names: readonly string[],
): Programs {
  const inside = isInside();
  const programs = (name: string) => {
    const pids = processesIn(cgroupPaths(tracking, instance, name).payload);
    // Its file is there while it is up: no record has to be read for each.
    const hasNamespace = existsSync(containerPaths(context.roots, name).pidns);
    return [name, hasNamespace ? pids.filter(inside) : pids] as const;
  };
  if (names.length > 0) return new Map(names.map(programs));
  const all = listContainers(context.roots).map(programs);
  return new Map(all.filter(([, pids]) => pids.length > 0));
}

/** The time that each has had of the CPUs. */
export function sampleCpu(counters: Counters, instance: string, programs: Programs): CpuSamples {
  const cpuNs = (name: string, pids: readonly number[]) =>
    readCpuNs(counters, instance, name) ?? processUsage(pids).cpuNs;
  return new Map([...programs].map(([name, pids]) => [name, { cpuNs: cpuNs(name, pids), atMs: performance.now() }]));
}

/**
 * Of all, against an earlier sample. Who has none there, or was started anew, had no time yet. The CPUs' time comes last:
 * `spanMs` at least after `begin`, which the rest takes up, as a rule.
 */
export async function readStats(
  context: Context,
  counters: Counters,
  instance: string,
  programs: Programs,
  before: CpuSamples,
  { begin, spanMs }: { readonly begin: number; readonly spanMs: number },
): Promise<{ stats: Stats[]; samples: CpuSamples }> {
  const rest = readRest(context, counters, instance, programs);
  await Bun.sleep(Math.max(0, begin + spanMs - performance.now()));
  const samples = sampleCpu(counters, instance, programs);
  const stats = rest.map(({ name, ...others }) => {
    return { name, cpuPercent: percent(before.get(name), samples.get(name) as CpuSample), ...others };
  });
  return { stats, samples };
}

function readRest(
  context: Context,
  counters: Counters,
  instance: string,
  programs: Programs,
): Omit<Stats, 'cpuPercent'>[] {
  const hostBytes = totalMemory();
  return [...programs].map(([name, pids]) => {
    const group = readGroupUsage(counters, instance, name);
    const io = group.io ?? ioOf(pids);
    const { received, sent } = netOf(containerPaths(context.roots, name).netns);
    return {
      name,
      memoryBytes: group.memoryBytes ?? memoryOf(pids),
      memoryLimitBytes: Math.min(group.memoryLimitBytes ?? hostBytes, hostBytes),
      pids: processUsage(pids).threads,
      netReceivedBytes: received,
      netSentBytes: sent,
      blockReadBytes: io.readBytes,
      blockWriteBytes: io.writeBytes,
    };
  });
}

function percent(before: CpuSample | undefined, now: CpuSample): number {
  if (before === undefined) return 0;
  const usedMs = Math.max(0, now.cpuNs - before.cpuNs) / 1e6;
  return Math.round((usedMs / (now.atMs - before.atMs)) * 10_000) / 100;
}

function totalMemory(): number {
  return Number(/^MemTotal:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0) * 1024;
}

/** All its interfaces but the loopback; none where it is stopped and its namespace gone. */
function netOf(netns: string): { received: number; sent: number } {
  let text = '';
  try {
    text = inNetworkNamespace(netns, () => readFileSync('/proc/thread-self/net/dev', 'latin1'));
  } catch (error) {
    if (!(error instanceof HostError) && (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  let received = 0;
  let sent = 0;
  for (const [, nic, numbers = ''] of text.matchAll(/^\s*(\S+):\s*(.*)$/gm)) {
    if (nic === 'lo') continue;
    // proc_pid_net(5): eight columns of what came, then those of what went.
    const columns = numbers.split(/\s+/).map(Number);
    received += columns[0] as number;
    sent += columns[8] as number;
  }
  return { received, sent };
}
