/** Which cgroup hierarchy the containers' processes are tracked in, and how they can be ended. */
import { existsSync, readdirSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { readCgroupHost } from '../cgroup/cgroup.ts';
import { atLeast, type Check, pass } from './check.ts';

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
