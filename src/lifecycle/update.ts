/**
 * update: other limits for a container that is there, live; all of them or none. A mark tells of a change that is under way, with
 * the limits of before and after: of one that was killed, the next start or update makes the kernel's what is recorded.
 */
import { existsSync, rmSync } from 'node:fs';
import { readCgroupHost } from '../cgroup/cgroup.ts';
import { readLimitFacts } from '../cgroup/controllers.ts';
import { enterLimits } from '../cgroup/limits.ts';
import { ConflictError } from '../errors.ts';
import { Journal } from '../runner/journal.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { changedLimits, type LimitChanges, type Limits } from '../spec/limits.ts';
import type { Place } from '../spec/place.ts';
import { type EnterRecord, readEnterRecord } from '../state/enter-record.ts';
import { recordEvent } from '../state/events.ts';
import { type Lock, lockContainer, releaseContainer } from '../state/locks.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer, stageContainer, writeContainer } from '../state/store.ts';
import { readUpdateMark, type UpdateMark, writeUpdateMark } from '../state/update-mark.ts';
import { writeEnterRecord } from '../state/write-enter-record.ts';
import type { Context } from './context.ts';
import { requireLimits } from './limits.ts';
import { LiveLimits } from './live-limits.ts';
import { placeOf } from './place.ts';
import { recover } from './remove.ts';

/** The container as it will be. Throws InvalidInputError, NotFoundError, HostError for what cannot be. */
export function updated(before: ContainerSpec, changes: LimitChanges): ContainerSpec {
  const { limits: _, ulimits: __, ...rest } = before;
  const after: ContainerSpec = { ...rest, ...changedLimits(before, changes) };
  requireLimits(after);
  return after;
}

/** Throws InvalidInputError, NotFoundError, HostError, ConflictError; then all is as before. */
export async function updateContainer(
  context: Context,
  instance: string,
  name: string,
  changes: LimitChanges,
): Promise<void> {
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    await recover(context, instance, name, lock.fd);
    const before = await getContainer(context.roots, name);
    const after = updated(before, changes);
    await finishUpdate(context, instance, before, lock);
    const facts = readLimitFacts(after.limits ?? {}, before.limits);
    const paths = containerPaths(context.roots, name);
    const journal = new Journal(paths.journal);
    const state = journal.read();
    if (state !== undefined && state.interrupted.size > 0) {
      throw new ConflictError(`cannot update ${name}: a start or stop of it was interrupted`, {
        hint: `minict start ${name}`,
      });
    }
    const publish = await stageContainer(context.roots, after);
    const record = readEnterRecord(paths);
    if (record !== undefined && state !== undefined) {
      const limited = { tracking: readCgroupHost(), instance, name };
      const limits: UpdateMark = [before.limits ?? {}, after.limits ?? {}];
      writeUpdateMark(paths.updating, limits);
      try {
        await new LiveLimits(context, limited, facts, { journal, state, lockFd: lock.fd }).change(...limits);
      } catch (error) {
        writeContainer(context.roots, before);
        rmSync(paths.updating);
        throw error;
      }
      writeEnterRecord(paths, entering(record, placeOf(after, paths), enterLimits(facts, limited)));
    }
    publish();
    rmSync(paths.updating, { force: true });
    recordEvent(context.roots, { type: 'container', action: 'update', name });
  } finally {
    releaseContainer(context.roots, name, lock);
  }
}

/**
 * Of an update that was killed: the kernel gets the limits that are recorded. The caller has the exclusive lock. Throws HostError
 * where the kernel refuses them.
 */
export async function finishUpdate(context: Context, instance: string, spec: ContainerSpec, lock: Lock): Promise<void> {
  const paths = containerPaths(context.roots, spec.name);
  if (!existsSync(paths.updating)) return;
  const record = readEnterRecord(paths);
  const journal = new Journal(paths.journal);
  const state = journal.read();
  if (record !== undefined && state !== undefined) {
    const [before, after] = readUpdateMark(paths.updating);
    const others: Limits = { ...before, ...after, io: { ...before.io, ...after.io } };
    const limited = { tracking: readCgroupHost(), instance, name: spec.name };
    const facts = readLimitFacts(spec.limits ?? {}, others);
    const live = new LiveLimits(context, limited, facts, { journal, state, lockFd: lock.fd });
    await live.restore(spec.limits ?? {}, others);
    writeEnterRecord(paths, entering(record, placeOf(spec, paths), []));
  }
  rmSync(paths.updating);
}

/** With its rlimits, and groups that it has got. */
function entering(record: EnterRecord, { ulimits }: Place, groups: readonly string[]): EnterRecord {
  const { ulimits: _, ...place } = record.place;
  return {
    ...record,
    place: { ...place, ...(ulimits === undefined ? {} : { ulimits }) },
    enter: [...new Set([...record.enter, ...groups])],
  };
}
