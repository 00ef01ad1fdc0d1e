/** Which process a container's main command is, by who waits for it. */
import { readFileSync } from 'node:fs';
import type { CgroupPaths } from '../cgroup/cgroup.ts';
import { processesIn } from '../cgroup/processes.ts';
import { signalProcesses } from '../host/syscalls.ts';
import { childrenOf } from '../process/supervisor.ts';

const SIGTERM = 15;

type Groups = Pick<CgroupPaths, 'payload' | 'supervisor'>;

/** The supervisor's child that is in the container; undefined where it is not there yet. */
export function mainProcess(supervisorPid: number, payload: string): number | undefined {
  const inside = new Set(processesIn(payload));
  return childrenOf(supervisorPid).find((pid) => inside.has(pid));
}

/** Who waits for a main command: beside it there may be who writes its log, who checks its health, and what these started. */
function supervisorsIn({ supervisor }: Groups): number[] {
  const pids = processesIn(supervisor);
  return pids.filter((pid) => {
    const stat = readStat(pid);
    return stat?.comm === 'sh' && !pids.includes(stat.parent);
  });
}

export function hasSupervisor(groups: Groups): boolean {
  return supervisorsIn(groups).length > 0;
}

/** Ends the sleep of a supervisor that waits between an end and the next start: it looks then whether it is to go on. */
export function endWait(groups: Groups): void {
  const find = () =>
    supervisorsIn(groups)
      .flatMap(childrenIfThere)
      .filter((pid) => readStat(pid)?.comm === 'sleep');
  signalProcesses(find(), [SIGTERM], () => new Set(find()));
}

/** None of who has ended meanwhile. */
export function childrenIfThere(pid: number): number[] {
  try {
    return childrenOf(pid);
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
}

/** The same of whichever supervisor the container has; of who ends meanwhile there is none. */
export function runningMain(groups: Groups): number | undefined {
  for (const pid of supervisorsIn(groups)) {
    try {
      const main = mainProcess(pid, groups.payload);
      if (main !== undefined) return main;
    } catch (error) {
      if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
  return undefined;
}

/** proc_pid_stat(5); undefined where it has ended. */
function readStat(pid: number): { comm: string; parent: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const end = text.lastIndexOf(')');
    return { comm: text.slice(text.indexOf('(') + 1, end), parent: Number(text.slice(end + 4).split(' ')[0]) };
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}
