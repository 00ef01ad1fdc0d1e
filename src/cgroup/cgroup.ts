/**
 * A container's cgroups: processes are tracked by `payload`, entered before the exec, so that daemons that double-fork
 * stay in it. cgroup v2 where it is the host's only one. Beside v1 the v1 freezer: a write to cgroup.procs waits for an
 * RCU grace period unless another came shortly before (measured: 19 ms on an idle host), one of `0` to v1's `tasks` by a
 * thread about itself takes no such lock (0.1 ms; cgroup_procs_write_start() in kernel/cgroup/cgroup.c).
 */
import { existsSync, readdirSync, readFileSync, rmdirSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HostError } from '../errors.ts';
import type { Step } from '../step.ts';

/** f_type of statfs(2), from linux/magic.h. */
const CGROUP2 = 0x63677270;

export interface CgroupHost {
  readonly version: 1 | 2;
  readonly mountPoint: string;
}

export function readCgroupHost(): CgroupHost {
  const v2 = '/sys/fs/cgroup';
  if (existsSync(v2) && statfsSync(v2).type === CGROUP2) return { version: 2, mountPoint: v2 };
  const freezer = '/sys/fs/cgroup/freezer';
  if (existsSync(join(freezer, 'tasks'))) return { version: 1, mountPoint: freezer };
  const hybrid = '/sys/fs/cgroup/unified';
  if (existsSync(hybrid) && statfsSync(hybrid).type === CGROUP2) return { version: 2, mountPoint: hybrid };
  throw new HostError('cannot find a cgroup hierarchy: neither cgroup2 nor the v1 freezer is mounted', {
    hint: 'mount -t cgroup2 none /sys/fs/cgroup',
  });
}

export interface CgroupPaths {
  readonly instance: string;
  readonly container: string;
  readonly payload: string;
  readonly supervisor: string;
  /** Files that take `0` from the (single-threaded, or about to exec) process that enters. */
  readonly enterPayload: string;
  readonly enterSupervisor: string;
}

/** A group beside the kernel's own files (`tasks`, `cgroup.procs`, `memory.max`, …); systemd puts the same `_` before. */
function groupName(name: string): string {
  return name.includes('.') || ['tasks', 'notify_on_release'].includes(name) ? `_${name}` : name;
}

export function cgroupPaths(host: CgroupHost, instance: string, name: string): CgroupPaths {
  const top = join(host.mountPoint, `minict-${instance}`);
  const container = join(top, groupName(name));
  const payload = join(container, 'payload');
  const supervisor = join(container, 'supervisor');
  const enter = host.version === 1 ? 'tasks' : 'cgroup.procs';
  return {
    instance: top,
    container,
    payload,
    supervisor,
    enterPayload: join(payload, enter),
    enterSupervisor: join(supervisor, enter),
  };
}

export function planCgroup(paths: CgroupPaths, chain: string): Step[] {
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
  ];
}

/** Below `path`, itself first; a container can make groups of its own. */
function tree(path: string): string[] {
  if (!existsSync(path)) return [];
  const below = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [path, ...below.flatMap((entry) => tree(join(path, entry.name)))];
}

export function processesIn(path: string): number[] {
  return tree(path).flatMap((group) =>
    readFileSync(join(group, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).map(Number),
  );
}

/** Whether the group is there with neither processes nor groups below it. */
export function isUnused(path: string): boolean {
  return tree(path).length === 1 && processesIn(path).length === 0;
}

/** Whether a live process is in the group or below it. */
export function isPopulated(host: CgroupHost, path: string): boolean {
  if (host.version === 1) return processesIn(path).length > 0;
  const events = join(path, 'cgroup.events');
  return existsSync(events) && readFileSync(events, 'utf8').includes('populated 1');
}

async function waitUntil(test: () => boolean, timeoutMs: number): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  while (!test()) {
    if (performance.now() > end) return false;
    await Bun.sleep(1);
  }
  return true;
}

async function freeze(host: CgroupHost, path: string, frozen: boolean): Promise<void> {
  if (host.version === 2) {
    writeFileSync(join(path, 'cgroup.freeze'), frozen ? '1' : '0');
    if (frozen) await waitUntil(() => readFileSync(join(path, 'cgroup.events'), 'utf8').includes('frozen 1'), 500);
    return;
  }
  writeFileSync(join(path, 'freezer.state'), frozen ? 'FROZEN' : 'THAWED');
  if (frozen) await waitUntil(() => readFileSync(join(path, 'freezer.state'), 'utf8').trim() === 'FROZEN', 500);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Signals every process of the group; frozen meanwhile, so that none can fork away and no pid is reused. */
export async function signalAll(host: CgroupHost, path: string, signals: readonly NodeJS.Signals[]): Promise<void> {
  await freeze(host, path, true);
  for (const pid of processesIn(path)) for (const name of signals) signal(pid, name);
  await freeze(host, path, false);
}

/** Ends every process of the group and waits until they are gone. */
export async function killAll(host: CgroupHost, path: string): Promise<void> {
  if (!existsSync(path)) return;
  if (isPopulated(host, path)) {
    const kill = join(path, 'cgroup.kill');
    if (existsSync(kill)) writeFileSync(kill, '1');
    else await signalAll(host, path, ['SIGKILL']);
    if (!(await waitUntil(() => !isPopulated(host, path), 10_000))) {
      throw new HostError(`cannot end the processes of ${path}: still there 10 s after SIGKILL`);
    }
  }
  for (const group of tree(path).slice(1).reverse()) rmdirSync(group);
}

export async function waitUntilEmpty(host: CgroupHost, path: string, timeoutMs: number): Promise<boolean> {
  return waitUntil(() => !isPopulated(host, path), timeoutMs);
}
