/**
 * Groups for an init that makes groups of its own, systemd: where processes are tracked by v1, in the hierarchies beside that
 * in which it does so. Under v2 alone it has the container's.
 */
import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { HostError } from '../errors.ts';
import type { Step } from '../step.ts';
import { type CgroupHost, readCgroupHost } from './cgroup.ts';

const ROOT = '/sys/fs/cgroup';

/** systemd's own, and that of v2 (cgroups(7), "unified"). */
const HIERARCHIES = [
  { name: 'systemd', version: 1 },
  { name: 'unified', version: 2 },
] as const;

export function initHosts(): CgroupHost[] {
  const tracking = readCgroupHost();
  if (tracking.mountPoint === ROOT) return [];
  return HIERARCHIES.map(({ name, version }) => ({ version, mountPoint: join(ROOT, name) })).filter(
    ({ mountPoint }) => mountPoint !== tracking.mountPoint && existsSync(join(mountPoint, 'cgroup.procs')),
  );
}

/** Throws HostError where systemd-nspawn would not find the group that it is in. */
export function requireInitHosts(tracking: CgroupHost): void {
  const dir = join(ROOT, 'systemd');
  if (tracking.mountPoint === ROOT || initHosts().some(({ mountPoint }) => mountPoint === dir)) return;
  throw new HostError(`cannot use the runtime nspawn: systemd's hierarchy of cgroup v1 is not mounted at ${dir}`, {
    hint: `mkdir -p ${dir}; mount -t cgroup -o none,name=systemd none ${dir}`,
  });
}

/** `container` is a container's group in the hierarchy `tracking`; the same in another one. */
function groupIn({ mountPoint }: CgroupHost, tracking: CgroupHost, container: string): string {
  return join(mountPoint, relative(tracking.mountPoint, container));
}

/** Files that take `0` of who starts it. */
export function enterInitGroups(tracking: CgroupHost, container: string): string[] {
  return initHosts().map((host) => {
    return join(groupIn(host, tracking, container), host.version === 1 ? 'tasks' : 'cgroup.procs');
  });
}

const REMOVE = 'exec find "$0" -depth -type d -exec rmdir {} +';

/** With those that it has made below them. */
export function planInitGroups(tracking: CgroupHost, container: string, chain: string): Step[] {
  return initHosts().map((host) => {
    const path = groupIn(host, tracking, container);
    return {
      id: `init group ${path}`,
      why: 'where it makes groups of its own',
      chain,
      run: { kind: 'mkdir', path, mode: 0o755, parents: true },
      undo: { kind: 'run', argv: ['sh', '-c', REMOVE, path] },
      claims: [{ kind: 'cgroup', name: path }],
    };
  });
}
