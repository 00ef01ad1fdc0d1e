/** kill: a signal for a container's main command, or for all processes where none runs. */
import { processesIn } from '../cgroup/processes.ts';
import { ConflictError } from '../errors.ts';
import { signalProcesses } from '../host/syscalls.ts';
import { readEnterRecord } from '../state/enter-record.ts';
import { recordEvent } from '../state/events.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer } from '../state/store.ts';
import type { Context } from './context.ts';
import { childrenIfThere, runningMain } from './main-process.ts';
import { isOwnProgram } from './own-programs.ts';
import { pausedError } from './paused.ts';
import { cgroupOf } from './status.ts';

/** The first below who waits for it. */
function programBelow(pid: number, isProgram: (pid: number) => boolean): number[] {
  return isProgram(pid) ? [pid] : childrenIfThere(pid).flatMap((child) => programBelow(child, isProgram));
}

/** Throws NotFoundError, ConflictError where no process runs, or where it is paused. */
export async function killContainer(context: Context, instance: string, name: string, signal: number): Promise<void> {
  const isProgram = isOwnProgram(await getContainer(context.roots, name));
  if (readEnterRecord(containerPaths(context.roots, name))?.paused) throw pausedError('kill', name);
  const groups = cgroupOf(instance, name);
  const find = () => {
    const main = runningMain(groups);
    const all = processesIn(groups.payload).filter(isProgram);
    if (main === undefined) return all;
    return programBelow(main, isProgram);
  };
  const found = find();
  if (found.length === 0)
    throw new ConflictError(`cannot kill ${name}: no process runs in it`, { hint: `minict start ${name}` });
  recordEvent(context.roots, { type: 'container', action: 'kill', name, signal });
  signalProcesses(found, [signal], () => new Set(find()));
}
