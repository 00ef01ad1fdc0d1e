/**
 * The processes of a cgroup: whether there are any, signals for all, their end. Nothing is frozen meanwhile: a killed minict
 * would leave a group in which the next program hangs.
 */
import { existsSync, readdirSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HostError } from '../errors.ts';
import { readGroupFile } from '../host/group-file.ts';
import { signalProcesses } from '../host/syscalls.ts';
import type { CgroupHost } from './cgroup.ts';

/** The same everywhere; importing node:os costs every verb 0.2 ms. */
const SIGKILL = 9;

/** Below `path`, itself first; a container can make groups of its own. */
export function tree(path: string): string[] {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return [];
  // The kernel counts the groups below as links: most have none, and are not listed.
  if (stat.nlink === 2) return [path];
  return [path, ...groupsIn(path).flatMap((name) => tree(join(path, name)))];
}

/** None where it was removed meanwhile. */
function groupsIn(path: string): string[] {
  try {
    const entries = readdirSync(path, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

export function processesIn(path: string): number[] {
  return tree(path).flatMap((group) => {
    const pids = readGroupFile(join(group, 'cgroup.procs')) ?? '';
    return pids.split('\n').filter(Boolean).map(Number);
  });
}

/** Whether the group is there with neither processes nor groups below it. */
export function isUnused(path: string): boolean {
  return tree(path).length === 1 && processesIn(path).length === 0;
}

/** Whether a live process is in the group or below it. */
export function isPopulated(host: CgroupHost, path: string): boolean {
  if (host.version === 1) return processesIn(path).length > 0;
  return readGroupFile(join(path, 'cgroup.events'))?.includes('populated 1') ?? false;
}

async function waitUntil(test: () => boolean, timeoutMs: number): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  while (!test()) {
    if (performance.now() > end) return false;
    await Bun.sleep(1);
  }
  return true;
}

/** Signals every process that is in the group now, of those that are `wanted`. */
export function signalAll(
  path: string,
  signals: readonly number[],
  wanted: (pid: number) => boolean = () => true,
): void {
  signalProcesses(processesIn(path).filter(wanted), signals, () => new Set(processesIn(path)));
}

/** Signals of v1 wait until the group is thawed, KILL too; somebody else may have frozen it. */
function thaw(path: string): void {
  for (const group of tree(path)) {
    const state = join(group, 'freezer.state');
    if (existsSync(state)) writeFileSync(state, 'THAWED');
  }
}

/** Ends every process of the group, those too that are born meanwhile, and removes the groups below it. */
export async function killAll(host: CgroupHost, path: string): Promise<void> {
  if (!existsSync(path)) return;
  const killFile = join(path, 'cgroup.kill');
  const kill = () => {
    if (existsSync(killFile)) writeFileSync(killFile, '1');
    else signalAll(path, [SIGKILL]);
    return !isPopulated(host, path);
  };
  if (isPopulated(host, path)) {
    thaw(path);
    if (!(await waitUntil(kill, 10_000))) {
      throw new HostError(`cannot end the processes of ${path}: still there 10 s after SIGKILL`);
    }
  }
  for (const group of tree(path).slice(1).reverse()) rmdirSync(group);
}

export async function waitUntilEmpty(host: CgroupHost, path: string, timeoutMs: number): Promise<boolean> {
  return waitUntil(() => !isPopulated(host, path), timeoutMs);
}
