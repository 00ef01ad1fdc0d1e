/** A container's health check, as its supervisor takes it. */

import { readCgroupHost } from '../cgroup/cgroup.ts';
import { freezerOf } from '../cgroup/freeze.ts';
import { type HealthCheck, healthCheck } from '../process/health.ts';
import { inCgroup } from '../process/in-cgroup.ts';
import type { ContainerSpec } from '../spec/container.ts';
import type { HealthSpec } from '../spec/health.ts';
import type { Place } from '../spec/place.ts';
import type { ContainerPaths } from '../state/paths.ts';
import { checkProgram } from './place.ts';

interface Where {
  readonly payload: string;
  /** Files of the cgroups that a program enters. */
  readonly enter: readonly string[];
  readonly mounted: Place['mounted'];
}

export function healthOf(
  spec: ContainerSpec,
  health: HealthSpec,
  paths: ContainerPaths,
  { payload, enter, mounted }: Where,
): HealthCheck {
  const program = inCgroup(enter, checkProgram(spec, health.command, paths, mounted));
  return healthCheck(
    health,
    { result: paths.health, asking: paths.asking },
    freezerOf(readCgroupHost(), payload),
    program,
  );
}
