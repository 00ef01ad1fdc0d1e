/** pause and unpause: a container's processes held still by the freezer, by who is alone at work on the container. */
import { rmSync } from 'node:fs';
import { holdStill, letGo } from '../cgroup/freeze.ts';
import { ConflictError } from '../errors.ts';
import { type EnterRecord, readEnterRecord } from '../state/enter-record.ts';
import { recordEvent } from '../state/events.ts';
import { lockContainer, releaseContainer } from '../state/locks.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer } from '../state/store.ts';
import { writeEnterRecord } from '../state/write-enter-record.ts';
import type { Context } from './context.ts';
import { cgroupOf, isRunning } from './status.ts';

/** Throws NotFoundError, ConflictError where no process runs or it is paused, HostError. */
export async function pauseContainer(context: Context, instance: string, name: string): Promise<void> {
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    await getContainer(context.roots, name);
    const paths = containerPaths(context.roots, name);
    const record = readEnterRecord(paths);
    if (record === undefined || !isRunning(instance, name)) {
      throw new ConflictError(`cannot pause ${name}: no process runs in it`, { hint: `minict start ${name}` });
    }
    if (record.paused) throw new ConflictError(`cannot pause ${name}: it is paused`);
    // Before: where minict is killed in between, `unpause` mends it, and no exec hangs.
    writeEnterRecord(paths, { ...record, paused: true });
    try {
      await holdStill(cgroupOf(instance, name).payload);
    } catch (error) {
      writeEnterRecord(paths, record);
      throw error;
    }
    recordEvent(context.roots, { type: 'container', action: 'pause', name });
  } finally {
    releaseContainer(context.roots, name, lock);
  }
}

/** Throws NotFoundError, ConflictError where it is not paused. */
export async function unpauseContainer(context: Context, instance: string, name: string): Promise<void> {
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    await getContainer(context.roots, name);
    const paths = containerPaths(context.roots, name);
    const { paused, ...record }: Partial<EnterRecord> = readEnterRecord(paths) ?? {};
    if (!paused) throw new ConflictError(`cannot unpause ${name}: it is not paused`);
    // A check that ends from now on was held.
    rmSync(paths.asking, { force: true });
    letGo(cgroupOf(instance, name).payload);
    writeEnterRecord(paths, record as EnterRecord);
    recordEvent(context.roots, { type: 'container', action: 'unpause', name });
  } finally {
    releaseContainer(context.roots, name, lock);
  }
}
