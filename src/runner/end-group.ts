/** Ends the processes of a cgroup, where nothing else of it is known than its path. */
import { signalProcesses } from '../host/syscalls.ts';
import { processesOf } from './identity.ts';

const SIGKILL = 9;
const GONE_WITHIN_MS = 10_000;

/** Returns when nobody is in the group; what there is to say where somebody still is. */
export async function endGroup(group: string): Promise<string | undefined> {
  const end = performance.now() + GONE_WITHIN_MS;
  const members = () => processesOf(group).map(Number).filter(Boolean);
  for (let pids = members(); pids.length > 0; pids = members()) {
    if (performance.now() > end) return `processes of ${group} are still there 10 s after SIGKILL`;
    signalProcesses(pids, [SIGKILL], () => new Set(members()));
    await Bun.sleep(1);
  }
  return undefined;
}
