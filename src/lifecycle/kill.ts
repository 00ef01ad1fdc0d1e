/** kill: a signal for a container's main command, or for all processes where none runs. */
import { processesIn } from '../cgroup/processes.ts';
import { ConflictError } from '../errors.ts';
import { signalProcesses } from '../host/syscalls.ts';
import { childrenOf } from '../process/supervisor.ts';
import { readEnterRecord } from '../state/enter-record.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer } from '../state/store.ts';
import type { Context } from './context.ts';
import { pausedError } from './paused.ts';
import { cgroupOf } from './status.ts';

/** The main command's process: the one that its supervisor waits for, once that is in the container. */
function mainProcesses(supervisor: string, payload: string): number[] {
  const inside = new Set(processesIn(payload));
  return processesIn(supervisor)
    .flatMap((pid) => {
      try {
        return childrenOf(pid);
      } catch (error) {
        if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
        throw error;
      }
    })
    .filter((pid) => inside.has(pid));
}

/** Throws NotFoundError, ConflictError where no process runs, or where it is paused. */
export async function killContainer(context: Context, instance: string, name: string, signal: number): Promise<void> {
  await getContainer(context.roots, name);
  if (readEnterRecord(containerPaths(context.roots, name))?.paused) throw pausedError('kill', name);
  const { payload, supervisor } = cgroupOf(instance, name);
  const find = () => {
    const main = mainProcesses(supervisor, payload);
    return main.length > 0 ? main : processesIn(payload);
  };
  const found = find();
  if (found.length === 0) throw new ConflictError(`cannot kill ${name}: no process runs in it`);
  signalProcesses(found, [signal], () => new Set(find()));
}
