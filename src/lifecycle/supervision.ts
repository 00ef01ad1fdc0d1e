/** What the supervisor of a container's main command is given, by a verb and by a printed script alike. */
import { realpathSync } from 'node:fs';
import { type CgroupPaths, enterRoot, readCgroupHost } from '../cgroup/cgroup.ts';
import { oomCountFile } from '../cgroup/usage.ts';
import { type AutoRemove, autoRemove } from '../process/auto-remove.ts';
import type { LogPipe } from '../process/log-writer.ts';
import { restarting } from '../process/restart.ts';
import type { Supervision } from '../process/supervisor.ts';
import { eventBounds } from '../process/supervisor-events.ts';
import type { ContainerSpec } from '../spec/container.ts';
import type { Place } from '../spec/place.ts';
import { containerPaths, eventsLockPath, eventsPath } from '../state/paths.ts';
import type { Context } from './context.ts';
import { healthOf } from './health.ts';

interface Where {
  readonly instance: string;
  readonly cgroup: CgroupPaths;
  /** Files of the cgroups that a program enters. */
  readonly enter: readonly string[];
  readonly mounted: Place['mounted'];
  /** Where nobody is attached. */
  readonly log: LogPipe | undefined;
}

/** By this very program, wherever it was started from. */
function removalOf({ roots }: Context, { createdAt }: ContainerSpec): AutoRemove {
  const minict = [realpathSync(process.execPath), roots.root, roots.runDir];
  return autoRemove(minict, enterRoot(readCgroupHost()), createdAt);
}

export function supervisionOf(
  context: Context,
  spec: ContainerSpec,
  { instance, cgroup, enter, mounted, log }: Where,
): Supervision {
  const { roots } = context;
  const paths = containerPaths(roots, spec.name);
  const isLasting = spec.restart !== undefined || spec.health !== undefined;
  return {
    container: spec.name,
    cgroups: { ...cgroup, enter },
    record: paths.exit,
    events: eventsPath(roots),
    bounds: isLasting ? eventBounds(eventsLockPath(roots)) : undefined,
    oomFile: spec.limits?.memoryBytes === undefined ? undefined : oomCountFile(instance, spec.name),
    log,
    remove: spec.autoRemove && removalOf(context, spec),
    restart: spec.restart && restarting(spec.restart, paths.stopping),
    health: spec.health && healthOf(spec, spec.health, paths, { payload: cgroup.payload, enter, mounted }),
  };
}
