/** The limits of a container that is up, in the kernel: all of a change or none. Its records are its caller's. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type CgroupHost, cgroupPaths } from '../cgroup/cgroup.ts';
import { whileFrozen } from '../cgroup/freeze.ts';
import {
  changesOf,
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
import type { Journal, JournalState } from '../runner/journal.ts';
import type { Limits } from '../spec/limits.ts';
import type { Step } from '../step.ts';
import { type Context, spawnContext } from './context.ts';
import { undoParts } from './stop.ts';

export interface Records {
  readonly journal: Journal;
  readonly state: JournalState;
  readonly lockFd: number;
}

/** The limits of a container that is up. */
export class LiveLimits {
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

  async change(before: Limits, after: Limits): Promise<void> {
    const { journal, state, lockFd } = this.records;
    const { name } = this.limited;
    const known = new Set(state.steps.map(({ id }) => id));
    const isNew = ({ id }: Step) => !known.has(id);
    const groups = planLimitGroups(this.facts, this.limited).filter(isNew);
    try {
      await applySteps(`update ${name}`, groups, journal, spawnContext(this.context, lockFd));
      this.write(after, before);
      await this.moveInto(groupsOf(groups));
    } catch (error) {
      await undoParts(this.context, name, journal.read() ?? state, groups, journal, lockFd);
      throw error;
    } finally {
      // What a start would write is written: it finds nothing missing.
      if (state.phase !== undefined) journal.phase(state.phase);
    }
    journal.plan(planLimits(after, this.facts, this.limited).filter(isNew));
    if (state.phase !== undefined) journal.phase(state.phase);
  }

  /** Of one that was killed on its way from one to the other: back to `limits`, those that are recorded. */
  async restore(limits: Limits, others: Limits): Promise<void> {
    const { journal, state, lockFd } = this.records;
    const begun = state.steps.filter(({ id }) => state.interrupted.has(id));
    const groups = groupsOf(begun);
    if (groups.length > 0) await this.whileStill(() => this.giveBack(groups));
    await undoParts(this.context, this.limited.name, state, begun, journal, lockFd);
    if (state.phase !== undefined) journal.phase(state.phase);
    const left = new Set(groups);
    try {
      this.refuseTooLittle(limits, {});
      for (const setting of changesOf(limits, this.facts, others)) {
        const path = settingPath(setting, this.facts, this.limited);
        if (!left.has(dirname(path)) && existsSync(path)) this.writeOne(setting);
      }
    } catch (error) {
      const { name } = this.limited;
      throw new HostError(`cannot give ${name} the limits that are recorded: ${(error as Error).message}`, {
        hint: `an update was killed half-way: minict restart ${name}`,
      });
    }
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

  /** All of the container's processes, or none. */
  private async moveInto(groups: readonly string[]): Promise<void> {
    if (groups.length === 0) return;
    await this.whileStill(() => {
      try {
        for (const group of groups) this.move(group);
      } catch (error) {
        this.giveBack(groups);
        throw error;
      }
    });
  }

  /**
   * The kernel moves a process by its number alone, which another one could have by then: nobody ends meanwhile, since who is
   * held in the freezer of v1 is not even killed (freezer-subsystem.rst).
   */
  private whileStill(action: () => void): Promise<void> {
    const { tracking, instance, name } = this.limited;
    return whileFrozen(cgroupPaths(tracking, instance, name).payload, async () => action());
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

  /** To the groups above those of minict; a new group's own before is not known any more. */
  private giveBack(groups: readonly string[]): void {
    for (const group of groups) {
      const host = [...this.facts.controllers.values()].find(({ mountPoint }) => group.startsWith(`${mountPoint}/`));
      for (const pid of processesIn(group)) moveTo((host as CgroupHost).mountPoint, pid);
    }
  }
}

function groupsOf(steps: readonly Step[]): string[] {
  return steps.flatMap(({ claims = [] }) => claims.map(({ name }) => name));
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
