/** Which cgroup hierarchy the containers' processes are tracked in, and how they can be ended. */
import { existsSync, readdirSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { readCgroupHost } from '../cgroup/cgroup.ts';
import { countsSwap, findController, isDelegated } from '../cgroup/controllers.ts';
import { CONTROLLERS, type Controller } from '../cgroup/limits.ts';
import { atLeast, type Check, pass, warn } from './check.ts';

export function checkCgroup(): Check {
  const { version, mountPoint } = readCgroupHost();
  if (version === 1) return pass('cgroup', `v1 freezer at ${mountPoint}`);
  const kill = hasKill(mountPoint) ? 'cgroup.kill' : 'no cgroup.kill: each process is killed';
  return pass('cgroup', `v2 at ${mountPoint}, ${kill}`);
}

/** Every group but the root has the file, since 5.14. */
function hasKill(mountPoint: string): boolean {
  const groups = readdirSync(mountPoint, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  if (groups.length === 0) return atLeast(release(), [5, 14]);
  return groups.some((group) => existsSync(join(mountPoint, group.name, 'cgroup.kill')));
}

const OPTIONS: Readonly<Record<Controller, string>> = {
  memory: '-m',
  cpu: '--cpus and --cpu-shares',
  cpuset: '--cpuset-cpus',
  pids: '--pids-limit',
  io: '--io-…',
};

/** Some distributions, of small computers above all, have memory switched off. */
const MISSING: Readonly<Partial<Record<Controller, string>>> = {
  memory: 'cgroup_enable=memory on the kernel command line',
};

/** A line for those that there are, and one for each that is missing. */
export function checkLimits(): Check[] {
  const hosts = CONTROLLERS.map((controller) => ({ controller, host: findController(controller) }));
  const usable = hosts.filter(({ controller, host }) => host !== undefined && isDelegated(controller, host));
  const there = usable.map(({ controller, host }) => `${controller} (v${host?.version})`).join(', ');
  const memory = usable.find(({ controller }) => controller === 'memory')?.host;
  const swap = memory === undefined ? '' : countsSwap(memory) ? '; swap is counted' : '; swap is not counted';
  return [
    ...(there === '' ? [] : [pass('limits', `${there}${swap}`)]),
    ...hosts
      .filter((each) => !usable.includes(each))
      .map(({ controller, host }) =>
        host === undefined
          ? warn(
              'limits',
              `no controller ${controller}, for ${OPTIONS[controller]}`,
              MISSING[controller] ?? 'cat /proc/cgroups',
            )
          : warn(
              'limits',
              `${controller}, for ${OPTIONS[controller]}, is not delegated to ${host.mountPoint}`,
              'move the processes in that group into one below it',
            ),
      ),
  ];
}
