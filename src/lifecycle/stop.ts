/** stop and rm: end the processes, then take down what is in the kernel. */
import { existsSync, unlinkSync } from 'node:fs';
import { killAll, readCgroupHost, signalAll, waitUntilEmpty } from '../cgroup/cgroup.ts';
import { ConflictError, HostError } from '../errors.ts';
import { Journal } from '../runner/journal.ts';
import { undoSteps } from '../runner/undo.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { containerPaths } from '../state/paths.ts';
import { findContainer, getContainer, lockContainer } from '../state/store.ts';
import { recover, removeTraces } from './bring-up.ts';
import { type Context, spawnContext } from './context.ts';
import { cgroupOf, readStatus } from './status.ts';

/** TERM and CONT, wait without a lock, then KILL; unmounts and removes the namespaces, the address stays reserved. */
export async function stopContainer(context: Context, instance: string, name: string, graceMs: number): Promise<void> {
  const host = readCgroupHost();
  const { payload, supervisor } = cgroupOf(instance, name);
  getContainer(context.roots, name);
  if (existsSync(payload)) {
    await signalAll(host, payload, ['SIGTERM', 'SIGCONT']);
    await waitUntilEmpty(host, payload, graceMs);
  }
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    getContainer(context.roots, name);
    await killAll(host, payload);
    // The supervisor records the exit status, then ends by itself.
    if (existsSync(supervisor)) await waitUntilEmpty(host, supervisor, 1000);
    await killAll(host, supervisor);
    const journal = new Journal(containerPaths(context.roots, name).journal);
    const state = journal.read();
    if (state === undefined || state.phase === 'stopped') return;
    const kernel = state.steps.filter((step) => step.undo?.kind !== 'rmtree');
    const failures = await undoSteps(kernel, state.identities, spawnContext(context, lock.fd));
    if (failures.length > 0) throw new HostError(`cannot stop ${name}: ${failures[0]}`);
    journal.undone(kernel.map((step) => step.id));
    journal.phase('stopped');
  } finally {
    lock.release();
  }
}

function refuseRunning(context: Context, instance: string, spec: ContainerSpec): void {
  if (readStatus(context, instance, spec).state === 'running') {
    throw new ConflictError(`cannot remove ${spec.name}: processes run in it`, { hint: `minict rm -f ${spec.name}` });
  }
}

/** Removes every trace. The container ceases to exist with its container.json, first; the rest can be redone. */
export async function removeContainers(
  context: Context,
  instance: string,
  names: readonly string[],
  force: boolean,
): Promise<Error[]> {
  const errors: Error[] = [];
  const locked: { name: string; lock: ReturnType<typeof lockContainer> }[] = [];
  for (const name of [...new Set(names)].sort())
    locked.push({ name, lock: lockContainer(context.roots, name, 'exclusive') });
  const removing: string[] = [];
  try {
    const host = readCgroupHost();
    for (const { name, lock } of locked) {
      try {
        await recover(context, name, lock.fd);
        const spec = getContainer(context.roots, name);
        if (!force) refuseRunning(context, instance, spec);
        const { payload, supervisor } = cgroupOf(instance, name);
        unlinkSync(containerPaths(context.roots, name).json);
        await killAll(host, supervisor);
        await killAll(host, payload);
        removing.push(name);
      } catch (error) {
        errors.push(error as Error);
      }
    }
    const failures = removing.length === 0 ? [] : await removeTraces(context, removing, locked[0]?.lock.fd ?? -1);
    if (failures.length > 0) errors.push(new HostError(`cannot remove ${removing.join(' ')}: ${failures.join('; ')}`));
  } finally {
    for (const { name, lock } of locked) {
      const path = containerPaths(context.roots, name).lock;
      if (findContainerSafely(context, name) === undefined && existsSync(path)) unlinkSync(path);
      lock.release();
    }
  }
  return errors;
}

/** A damaged container.json counts as a container: its lock stays. */
function findContainerSafely(context: Context, name: string): unknown {
  try {
    return findContainer(context.roots, name);
  } catch {
    return name;
  }
}
