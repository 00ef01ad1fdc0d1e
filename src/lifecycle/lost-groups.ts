/** The cgroups of a container whose journal was lost: nothing else would know that they are to go. */
import { existsSync, rmdirSync } from 'node:fs';
import { cgroupPaths, readCgroupHost } from '../cgroup/cgroup.ts';
import { limitHosts } from '../cgroup/controllers.ts';
import { initHosts } from '../cgroup/init-groups.ts';
import { tree } from '../cgroup/processes.ts';
import { cgroupOf } from './status.ts';

/** Of one that was removed, and has no process any more; what is not empty stays. */
export function removeLostGroups(instance: string, name: string): void {
  const own = cgroupOf(instance, name);
  if (![own.container, own.supervisor].some((path) => existsSync(path))) return;
  for (const host of [readCgroupHost(), ...limitHosts(), ...initHosts()]) {
    const { container, supervisor } = cgroupPaths(host, instance, name);
    for (const path of [supervisor, container]
      .filter((group) => existsSync(group))
      .flatMap(tree)
      .reverse()) {
      try {
        rmdirSync(path);
      } catch {
        // In use, or gone with the same hierarchy under another name.
      }
    }
  }
}
