/** update: other limits for a container that is there, live; all of them or none. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CgroupHost, cgroupPaths, readCgroupHost } from '../cgroup/cgroup.ts';
import { readLimitFacts } from '../cgroup/controllers.ts';
import {
  changesOf,
  enterLimits,
  type Limited,
  type LimitFacts,
  planLimitGroups,
  planLimits,
  type Setting,
  settingPath,
} from '../cgroup/limits.ts';
import { processesIn } from '../cgroup/processes.ts';
import { needsAtLeast } from '../cgroup/usage.ts';
import { ConflictError, HostError } from '../errors.ts';
import { applySteps } from '../runner/apply.ts';
import { Journal, type JournalState } from '../runner/journal.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { changedLimits, type LimitChanges, type Limits } from '../spec/limits.ts';
import type { Place } from '../spec/place.ts';
import { type EnterRecord, readEnterRecord, writeEnterRecord } from '../state/enter-record.ts';
import { recordEvent } from '../state/events.ts';
import { lockContainer, releaseContainer } from '../state/locks.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer, stageContainer, writeContainer } from '../state/store.ts';
import type { Step } from '../step.ts';
import { type Context, spawnContext } from './context.ts';
import { requireLimits } from './limits.ts';
import { placeOf } from './place.ts';
import { recover } from './remove.ts';
import { undoParts } from './stop.ts';

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
    const { limits, ulimits: _, ...rest } = before;
    const after: ContainerSpec = { ...rest, ...changedLimits(before, changes) };
    requireLimits(after);
    const facts = readLimitFacts(after.limits ?? {}, limits);
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
      try {
        await new LiveLimits(context, limited, facts, { journal, state, lockFd: lock.fd }).change(before, after);
      } catch (error) {
        writeContainer(context.roots, before);
        throw error;
      }
      writeEnterRecord(paths, entering(record, placeOf(after, paths), enterLimits(facts, limited)));
    }
    publish();
    recordEvent(context.roots, { type: 'container', action: 'update', name });
  } finally {
    releaseContainer(context.roots, name, lock);
  }
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

interface Records {
  readonly journal: Journal;
  readonly state: JournalState;
  readonly lockFd: number;
}

/** The limits of a container that is up. */
class LiveLimits {
  private readonly context: Context;
  private readonly limited: Limited;
  private readonly facts: LimitFacts;
  private readonly records: Records;

  constructor(context: Context, limited: Limited, facts: LimitFacts, records: Records) {
    this.context = context;
    this.limited = limited;
    this.facts = facts;
    this.records = records;
  }

  async change({ limits: before = {} }: ContainerSpec, { limits: after = {} }: ContainerSpec): Promise<void> {
    const { journal, state, lockFd } = this.records;
    const { name } = this.limited;
    const known = new Set(state.steps.map(({ id }) => id));
    const isNew = ({ id }: Step) => !known.has(id);
    const groups = planLimitGroups(this.facts, this.limited).filter(isNew);
    const moved: string[] = [];
    try {
      await applySteps(`update ${name}`, groups, journal, spawnContext(this.context, lockFd));
      this.write(after, before);
      for (const { claims = [] } of groups) {
        for (const claim of claims) {
          moved.push(claim.name);
          this.move(claim.name);
        }
      }
    } catch (error) {
      for (const group of moved) this.giveBack(group);
      await undoParts(this.context, name, journal.read() ?? state, groups, journal, lockFd);
      throw error;
    } finally {
      // What a start would write is written: it finds nothing missing.
      if (state.phase !== undefined) journal.phase(state.phase);
    }
    journal.plan(planLimits(after, this.facts, this.limited).filter(isNew));
    if (state.phase !== undefined) journal.phase(state.phase);
  }

  /** All of them; where the kernel refuses one, those of before. */
  private write(after: Limits, before: Limits): void {
    const { name } = this.limited;
    this.refuseTooLittle(after, before);
    for (const setting of changesOf(after, this.facts, before)) {
      try {
        this.writeOne(setting);
      } catch (error) {
        for (const back of changesOf(before, this.facts, after)) this.writeBack(back);
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EBUSY' && setting.controller === 'memory') throw this.tooLittle();
        throw new HostError(`cannot update ${name}: the kernel refuses ${setting.file} ${setting.value}: ${code}`, {
          hint: 'nothing was changed',
        });
      }
    }
  }

  private writeOne(setting: Setting): void {
    writeFileSync(settingPath(setting, this.facts, this.limited), setting.value, { flag: 'r+' });
  }

  private writeBack(setting: Setting): void {
    try {
      this.writeOne(setting);
    } catch {
      // It was not changed: the kernel refuses that, too.
    }
  }

  /** v2 would kill what does not fit; v1 refuses. */
  private refuseTooLittle({ memoryBytes }: Limits, before: Limits): void {
    const memory = this.facts.controllers.get('memory');
    if (memory?.version !== 2 || memoryBytes === undefined || memoryBytes === before.memoryBytes) return;
    if (memoryBytes < needsAtLeast(this.limited.instance, this.limited.name)) throw this.tooLittle();
  }

  private tooLittle(): ConflictError {
    const { name } = this.limited;
    return new ConflictError(`cannot update ${name}: its processes use more memory than that`, {
      hint: `minict stats --no-stream ${name}`,
    });
  }

  private payload(): number[] {
    const { tracking, instance, name } = this.limited;
    return processesIn(cgroupPaths(tracking, instance, name).payload);
  }

  /** Into a new group, until none is outside: who forks meanwhile was outside itself. */
  private move(group: string): void {
    for (;;) {
      const inside = new Set(processesIn(group));
      const outside = this.payload().filter((pid) => !inside.has(pid) && !isGone(pid));
      if (outside.length === 0) return;
      for (const pid of outside) moveTo(group, pid);
    }
  }

  /** To the group above those of minict; a new group's own before is not known any more. */
  private giveBack(group: string): void {
    const host = [...this.facts.controllers.values()].find(({ mountPoint }) => group.startsWith(`${mountPoint}/`));
    for (const pid of processesIn(group)) moveTo((host as CgroupHost).mountPoint, pid);
  }
}

function moveTo(group: string, pid: number): void {
  try {
    writeFileSync(join(group, 'cgroup.procs'), String(pid), { flag: 'r+' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH' || isGone(pid)) return;
    throw new HostError(`cannot move process ${pid} into ${group}: ${(error as Error).message}`);
  }
}

/** Ended, or about to be collected. */
function isGone(pid: number): boolean {
  try {
    return /^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return true;
  }
}
