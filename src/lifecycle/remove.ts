/** rm, and what a killed create or rm left: everything of a container that no longer exists (no container.json). */
import { existsSync, rmSync, unlinkSync } from 'node:fs';
import { killAll, readCgroupHost } from '../cgroup/cgroup.ts';
import { ConflictError, HostError } from '../errors.ts';
import { planFolder } from '../plan/container.ts';
import { Journal, type JournalState } from '../runner/journal.ts';
import { undoSteps } from '../runner/undo.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { lockContainer, unlinkLock } from '../state/locks.ts';
import { type ContainerPaths, containerPaths, type Roots } from '../state/paths.ts';
import { findContainer, getContainer } from '../state/store.ts';
import type { Step } from '../step.ts';
import { type Context, spawnContext } from './context.ts';
import { leaveNetwork } from './network.ts';
import { cgroupOf, isRunning } from './status.ts';

/** Removes what a killed create or rm left of `name`; the caller holds its exclusive lock. */
export async function recover(context: Context, instance: string, name: string, lockFd: number): Promise<void> {
  const paths = containerPaths(context.roots, name);
  if (existsSync(paths.json)) return;
  const known = new Journal(paths.journal).read() !== undefined;
  if (!known && !existsSync(paths.dir)) return;
  // A folder without a journal, but with namespaces: made by a printed script, and perhaps in use.
  if (!known && [paths.netns, paths.utsns, paths.mntns].some((path) => existsSync(path))) return;
  await endProcesses(instance, name);
  await removeTraces(context, [name], lockFd);
}

async function endProcesses(instance: string, name: string): Promise<void> {
  const { payload, supervisor } = cgroupOf(instance, name);
  const host = readCgroupHost();
  await killAll(host, supervisor);
  await killAll(host, payload);
}

/** The steps that an `rm` undoes: the container's folder, which outlasts a reboot, and what its journal has. */
export function stepsInEffect(paths: ContainerPaths, state: JournalState | undefined): Step[] {
  return [...planFolder(paths), ...(state?.steps ?? []).filter((step) => step.id !== 'folder')];
}

/** Undoes everything of containers that no longer exist, many in one go. Returns what could not be. */
export async function removeTraces(context: Context, names: readonly string[], lockFd: number): Promise<string[]> {
  const steps: Step[] = [];
  const identities = new Map<string, Readonly<Record<string, string>>>();
  for (const name of names) {
    // Steps of several containers go into one undo: their ids must differ.
    const own = (id: string) => `${name}/${id}`;
    const paths = containerPaths(context.roots, name);
    const state = new Journal(paths.journal).read();
    for (const step of stepsInEffect(paths, state)) {
      steps.push({ ...step, id: own(step.id), ...(step.endsWith ? { endsWith: own(step.endsWith) } : {}) });
    }
    for (const [id, value] of state?.identities ?? []) identities.set(own(id), value);
  }
  const leave = () => leaveNetwork(context, names);
  const failures = await undoSteps(steps, identities, spawnContext(context, lockFd), leave);
  if (failures.length === 0) {
    for (const name of names) rmSync(containerPaths(context.roots, name).runDir, { recursive: true, force: true });
  }
  return failures;
}

function refuseRunning(instance: string, spec: ContainerSpec): void {
  if (isRunning(instance, spec.name)) {
    throw new ConflictError(`cannot remove ${spec.name}: processes run in it`, { hint: `minict rm -f ${spec.name}` });
  }
}

export interface Removal {
  readonly removed: readonly string[];
  readonly errors: readonly unknown[];
}

/** Removes every trace. A container ceases to exist with its container.json, first; the rest can be redone. */
export async function removeContainers(
  context: Context,
  instance: string,
  names: readonly string[],
  force: boolean,
): Promise<Removal> {
  const errors: unknown[] = [];
  const removed: string[] = [];
  const sorted = [...new Set(names)].sort();
  const locks = sorted.map((name) => lockContainer(context.roots, name, 'exclusive'));
  try {
    for (const [index, name] of sorted.entries()) {
      try {
        await recover(context, instance, name, locks[index]?.fd ?? -1);
        const spec = await getContainer(context.roots, name);
        if (!force) refuseRunning(instance, spec);
        unlinkSync(containerPaths(context.roots, name).json);
        await endProcesses(instance, name);
        removed.push(name);
      } catch (error) {
        errors.push(error);
      }
    }
    if (removed.length > 0) {
      const failures = await removeTraces(context, removed, locks[0]?.fd ?? -1);
      if (failures.length > 0) errors.push(new HostError(`cannot remove ${removed.join(' ')}: ${failures.join('; ')}`));
    }
  } finally {
    for (const [index, name] of sorted.entries()) {
      if (!(await mayExist(context.roots, name))) unlinkLock(context.roots, name);
      locks[index]?.release();
    }
  }
  return { removed, errors };
}

/** A damaged container.json counts as a container: its lock stays. */
async function mayExist(roots: Roots, name: string): Promise<boolean> {
  try {
    return (await findContainer(roots, name)) !== undefined;
  } catch {
    return true;
  }
}
