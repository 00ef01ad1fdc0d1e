/** Of `run -d --rm`: its container goes with its main command, by whoever comes to it first, its supervisor or a stop. */
import { existsSync } from 'node:fs';
import { readCgroupHost } from '../cgroup/cgroup.ts';
import { containerPaths } from '../state/paths.ts';
import { findContainer } from '../state/store.ts';
import type { Context } from './context.ts';
import { hasEnded } from './main-command.ts';
import { type Removal, removeContainers } from './remove.ts';
import { cgroupOf } from './status.ts';
import { endMain } from './stop.ts';

/**
 * Removes it unless there is another one of that name by now, it runs again, or who stopped it starts it again (`restart`). What is
 * left of its processes ends.
 */
export async function removeOnceEnded(
  context: Context,
  instance: string,
  name: string,
  createdAt: string,
): Promise<Removal> {
  const onlyIf = async () => {
    const spec = await findContainer(context.roots, name);
    const isKept = existsSync(containerPaths(context.roots, name).kept);
    const isMeant = spec?.autoRemove === true && spec.createdAt === createdAt && !isKept;
    if (!isMeant || !hasEnded(context, instance, name)) return false;
    // Whoever follows its log gets all that it wrote: the log's writer ends with those that have it open.
    const { payload, supervisor } = cgroupOf(instance, name);
    await endMain(readCgroupHost(), payload, supervisor, false);
    return true;
  };
  return removeContainers(context, instance, [name], true, { onlyIf });
}
