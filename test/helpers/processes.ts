/** What the kernel says of a container's processes. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Host } from './host.ts';

export interface Inspected {
  readonly cgroup: string;
  readonly folder: string;
  readonly status: { readonly state: string; readonly exitCode?: number };
}

export function inspect(host: Host, name: string): Inspected {
  return JSON.parse(host.minict('inspect', name).stdout)[0];
}

function processesOf(cgroup: string): number[] {
  return readFileSync(join(cgroup, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number);
}

/** Its programs: those in the payload cgroup. */
export function programsOf(host: Host, name: string): number[] {
  return processesOf(inspect(host, name).cgroup);
}

export function supervisorsOf(host: Host, name: string): number[] {
  return processesOf(join(dirname(inspect(host, name).cgroup), '..', `supervisor@${name}`));
}

/** Where a process's descriptors lead; one that it closes meanwhile leads nowhere. */
export function descriptorsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      return [];
    }
  });
}

/** Not a zombie, which its parent has yet to collect. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** Number and name of each process that `ps` inside shows, itself among them. */
export function commandsIn(host: Host, name: string): string[][] {
  const { stdout } = host.minict('exec', name, 'ps', '-o', 'pid,comm');
  const lines = stdout.split('\n').slice(1).filter(Boolean);
  return lines.map((line) => line.trim().split(/\s+/));
}

/** Kilobytes: the largest PSS, and the sum of what no other process can share (proc_pid_smaps(5)), however many of them run. */
export function memoryOf(pids: readonly number[]): { largest: number; unshared: number } {
  const all = pids.map((pid) => readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'));
  const values = (key: string) => all.map((text) => Number(new RegExp(`^${key}:\\s*(\\d+) kB$`, 'm').exec(text)?.[1]));
  return { largest: Math.max(...values('Pss')), unshared: values('Pss_Dirty').reduce((sum, each) => sum + each, 0) };
}
