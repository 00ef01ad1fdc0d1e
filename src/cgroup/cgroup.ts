/**
 * A container's cgroups: processes are tracked by `payload`, entered before the exec, so that daemons that double-fork
 * stay in it. cgroup v2 where it is the host's only one. Beside v1 the v1 freezer: a write to cgroup.procs waits for an
 * RCU grace period unless another came shortly before (measured: 19 ms on an idle host), one of `0` to v1's `tasks` by a
 * thread about itself takes no such lock (0.1 ms; cgroup_procs_write_start() in kernel/cgroup/cgroup.c).
 */
import { existsSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { HostError } from '../errors.ts';
import type { Step } from '../step.ts';

/** f_type of statfs(2), from linux/magic.h. */
const CGROUP2 = 0x63677270;

export interface CgroupHost {
  readonly version: 1 | 2;
  readonly mountPoint: string;
}

const ROOT = '/sys/fs/cgroup';

const isCgroup2 = (path: string) => existsSync(path) && statfsSync(path).type === CGROUP2;

/** The hierarchy of v2, alone or beside those of v1. */
export function findUnified(): CgroupHost | undefined {
  const mountPoint = [ROOT, join(ROOT, 'unified')].find(isCgroup2);
  return mountPoint === undefined ? undefined : { version: 2, mountPoint };
}

export function readCgroupHost(): CgroupHost {
  cgroupHost ??= findCgroupHost();
  return cgroupHost;
}

let cgroupHost: CgroupHost | undefined;

function findCgroupHost(): CgroupHost {
  if (isCgroup2(ROOT)) return { version: 2, mountPoint: ROOT };
  const freezer = join(ROOT, 'freezer');
  if (existsSync(join(freezer, 'tasks'))) return { version: 1, mountPoint: freezer };
  const hybrid = findUnified();
  if (hybrid !== undefined) return hybrid;
  throw new HostError('cannot find a cgroup hierarchy: neither cgroup2 nor the v1 freezer is mounted', {
    hint: 'mount -t cgroup2 none /sys/fs/cgroup',
  });
}

export interface CgroupPaths {
  readonly instance: string;
  readonly container: string;
  readonly payload: string;
  readonly supervisor: string;
  /** Of PID 1, in a PID namespace of the container's own; it is none of the container's programs. */
  readonly init: string;
  /** Files that take `0` from the (single-threaded, or about to exec) process that enters. */
  readonly enterPayload: string;
  readonly enterSupervisor: string;
  readonly enterInit: string;
}

/** As `enterPayload`: of the group that all others are in. */
export function enterRoot({ version, mountPoint }: CgroupHost): string {
  return join(mountPoint, enterFile(version));
}

function enterFile(version: CgroupHost['version']): string {
  return version === 1 ? 'tasks' : 'cgroup.procs';
}

/** A group beside the kernel's own files (`tasks`, `cgroup.procs`, `memory.max`, …); systemd puts the same `_` before. */
function groupName(name: string): string {
  return name.includes('.') || ['tasks', 'notify_on_release'].includes(name) ? `_${name}` : name;
}

export function cgroupPaths(host: CgroupHost, instance: string, name: string): CgroupPaths {
  const top = join(host.mountPoint, `minict-${instance}`);
  const container = join(top, groupName(name));
  const payload = join(container, 'payload');
  // Beside the container's group and not in it: under v2 its limits would be the supervisor's too, and one without a process
  // left to fork writes no log. No container has an @ in its name.
  const supervisor = join(top, `supervisor@${name}`);
  const enter = enterFile(host.version);
  return {
    instance: top,
    container,
    payload,
    supervisor,
    init: join(container, 'init'),
    enterPayload: join(payload, enter),
    enterSupervisor: join(supervisor, enter),
    enterInit: join(container, 'init', enter),
  };
}

export function planCgroup(paths: CgroupPaths, chain: string, hasInit: boolean): Step[] {
  const group = (id: string, why: string, path: string): Step => ({
    id: `cgroup ${id}`,
    why,
    chain,
    run: { kind: 'mkdir', path, mode: 0o755 },
    undo: { kind: 'rmdir', path },
    claims: [{ kind: 'cgroup', name: path }],
  });
  return [
    {
      id: 'cgroup instance',
      why: 'the group of all containers',
      chain,
      run: { kind: 'mkdir', path: paths.instance, mode: 0o755, parents: true },
    },
    group('container', "the container's group", paths.container),
    group('payload', 'its processes', paths.payload),
    group('supervisor', 'what waits for its main command', paths.supervisor),
    ...(hasInit ? [group('init', 'PID 1 of its PID namespace', paths.init)] : []),
  ];
}
