/** What a container is doing, from the kernel: its namespaces, links, mounts, cgroup. Reads only. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { type CgroupPaths, cgroupPaths, readCgroupHost } from '../cgroup/cgroup.ts';
import { isHeldStill } from '../cgroup/freeze.ts';
import { isPopulated } from '../cgroup/processes.ts';
import { readOomKills } from '../cgroup/usage.ts';
import { mountPointsAt } from '../host/facts.ts';
import type { HostLink, Look, Looks } from '../host/links.ts';
import { inMountNamespace } from '../host/namespaces.ts';
import { nicDriver } from '../network/driver.ts';
import { nicPart, portPart } from '../network/parts.ts';
import { identityOf } from '../runner/identity.ts';
import { Journal, type JournalState } from '../runner/journal.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { readEnterRecord } from '../state/enter-record.ts';
import { type Health, readHealth } from '../state/health-record.ts';
import { isLocked } from '../state/locks.ts';
import { readOomCount } from '../state/oom-count.ts';
import { type ContainerPaths, containerPaths } from '../state/paths.ts';
import { type RunRecord, readRun } from '../state/run-record.ts';
import { type Claim, mountTarget, type Part } from '../step.ts';
import type { Context } from './context.ts';
import { hasSupervisor } from './main-process.ts';

export interface Status {
  readonly state: 'ready' | 'running' | 'paused' | 'restarting' | 'stopped' | 'broken';
  /** What is missing, for `broken`. */
  readonly missing: readonly string[];
  readonly exitCode: number | undefined;
  /** Of its main command, where it ran; as `createdAt` has it. */
  readonly startedAt?: string;
  readonly finishedAt?: string;
  /** Of its main command, by its restart policy; absent where there were none. */
  readonly restarts?: number;
  /** While it runs, where it has a health check. */
  readonly health?: Health;
  /** Since it was last brought up; absent where there were none. */
  readonly oomKills?: number;
}

export function cgroupOf(instance: string, name: string): CgroupPaths {
  return cgroupPaths(readCgroupHost(), instance, name);
}

/** Parts of the container that are not as their steps left them, each with what is missing. */
export async function findBroken(
  spec: ContainerSpec,
  state: JournalState,
  links: ReadonlyMap<string, HostLink>,
): Promise<Map<Part, string[]>> {
  const broken = new Map<Part, string[]>();
  const report = (part: Part | undefined, what: string) => {
    if (part !== undefined) broken.set(part, [...(broken.get(part) ?? []), what]);
  };
  for (const step of state.steps) {
    for (const claim of step.claims ?? []) {
      // The placeholder files are hidden under the namespaces mounted over them.
      // What a database says is asked for once, not for each row.
      if (claim.kind === 'file' || claim.kind === 'ovs') continue;
      // Of an interface that is gone the step that made it tells, and not what has it up as well.
      if (claim.kind === 'link' && step.part?.startsWith('port ')) continue;
      const recorded = state.identities.get(step.id)?.[claim.name];
      if (recorded === undefined || identityOf(claim) !== recorded) report(step.part, shown(claim));
    }
  }
  for (const nic of spec.nics) {
    const part = nicPart(nic);
    const wantedUp = state.steps.some((step) => step.part === portPart(nic));
    if (broken.has(part)) continue;
    const damage = await nicDriver(nic).findDamage(nic, spec.name, links);
    if (damage.nic !== undefined) report(part, damage.nic);
    if (damage.loose !== undefined) report(portPart(nic), damage.loose);
    // Of one that is stopped it is down.
    else if (damage.port !== undefined && wantedUp) report(portPart(nic), damage.port);
  }
  if (!broken.has('mounts')) for (const target of missingMounts(state)) report('mounts', `mount ${target}`);
  return broken;
}

/** Of a published port without the table that it is in. */
function shown({ kind, name }: Claim): string {
  return `${kind} ${kind === 'port' ? name.split(' ')[1] : name}`;
}

function missingMounts(state: JournalState): string[] {
  const mounts = state.steps.flatMap((step) => {
    const target = mountTarget(step);
    return target === undefined ? [] : [{ target, source: step.run.kind === 'mount' ? step.run.source : '' }];
  });
  const mntns = state.steps.flatMap(({ run }) => (run.kind === 'mount' ? [run] : []))[0]?.mntns;
  if (mounts.length === 0) return [];
  const targets = mounts.map(({ target }) => target);
  const found = new Map(mountPointsAt(mountinfoOf(mntns), targets).map((mount) => [mount.target, mount]));
  // An editor puts a new file in the place of one that is bound: that is no reason to stop the container.
  const isFile = (path: string) => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
  return mounts.flatMap(({ source, target }) => {
    const mount = found.get(target);
    return mount === undefined || (mount.removed && !isFile(source)) ? [target] : [];
  });
}

/** Empty where the namespace cannot be entered: its file may be there, and it not. */
function mountinfoOf(mntns: string | undefined): string {
  const read = () => readFileSync('/proc/thread-self/mountinfo', 'utf8');
  if (mntns === undefined) return read();
  try {
    return inMountNamespace(mntns, read);
  } catch {
    return '';
  }
}

export async function readStatus(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  looks: Looks,
): Promise<Status> {
  const paths = containerPaths(context.roots, spec.name);
  for (let count = 1; ; count += 1) {
    const { links, atMs } = lookOf(looks, count);
    const status = await readStatusOnce(context, instance, spec, links);
    if (status.state !== 'broken' || count === MOST_LOOKS) return status;
    // Who has changed it since may have let go of it before its lock was looked at.
    if (count > 1 && changedMs(paths) < atMs) return status;
  }
}

/** Of one that is changed without end. */
const MOST_LOOKS = 10;
/** The kernel's times of files lag behind the clock by a tick. */
const TICK_MS = 20;

function lookOf({ first, second, next }: Looks, count: number): Look {
  if (count === 1) return first();
  return count === 2 ? second() : next();
}

/** When at the latest: each change of what is in effect writes into the journal, or a file comes or goes beside it. */
function changedMs({ journal, runDir }: ContainerPaths): number {
  const times = [journal, runDir].map((path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0);
  return Math.max(...times) + TICK_MS;
}

async function readStatusOnce(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  links: ReadonlyMap<string, HostLink>,
): Promise<Status> {
  const paths = containerPaths(context.roots, spec.name);
  // Looked at before how its run ended, which is written first: one that has ended has a status.
  const runs = isRunning(instance, spec.name);
  const run = readRun(paths.exit);
  const oomKills = readOomKills(instance, spec.name) || readOomCount(paths.oomKills);
  const past = { ...pastOf(run), ...(oomKills === 0 ? {} : { oomKills }) };
  const state = new Journal(paths.journal).salvage();
  const now = (): Status => {
    const live = runs ? liveState(paths, instance, spec.name, run) : 'ready';
    // A program of `exec` may go on after the main command's end.
    const hasEnded = run?.finishedAtMs !== undefined && !run.isRestarting;
    const health = spec.health === undefined || live === 'ready' || hasEnded ? undefined : readHealth(paths.health);
    return { state: live, missing: [], ...past, ...(health === undefined ? {} : { health }) };
  };
  const broken = (...missing: string[]): Status => ({ state: 'broken', missing, ...past });
  const stopped: Status = { state: 'stopped', missing: [], ...past };
  // Nothing is missing of what somebody is just bringing up or taking down.
  const isUnderWay = () => isLocked(context.roots, spec.name) || !existsSync(paths.json);
  if (state?.damaged) return broken(`journal ${paths.journal} (damaged)`);
  if (existsSync(paths.updating) && !isUnderWay()) return broken('the end of an update that was interrupted');
  const isHalf = state !== undefined && state.interrupted.size > 0;
  if (isHalf && !isUnderWay()) return broken('the end of a start that was interrupted');
  if (state === undefined || state.phase === undefined || state.phase === 'stopped') return stopped;
  if (!existsSync(paths.enter)) return isUnderWay() ? stopped : broken('the end of a stop that was interrupted');
  const missing = [...(await findBroken(spec, state, links)).values()].flat();
  if (state.phase === 'started' && isUnattended(instance, spec.name, run)) missing.push(SUPERVISOR);
  return missing.length > 0 && !isUnderWay() ? broken(...missing) : now();
}

const SUPERVISOR = 'who waits for its main command';

/** Whether somebody killed the supervisor alone: the program goes on, and nobody will tell how it ended. */
export function isUnattended(instance: string, name: string, run: RunRecord | undefined): boolean {
  if (run?.startedAtMs === undefined || run.finishedAtMs !== undefined) return false;
  const groups = cgroupOf(instance, name);
  return isPopulated(readCgroupHost(), groups.payload) && !hasSupervisor(groups);
}

function pastOf(run: RunRecord | undefined): Pick<Status, 'exitCode' | 'startedAt' | 'finishedAt' | 'restarts'> {
  const timeOf = (ms: number | undefined, name: 'startedAt' | 'finishedAt') =>
    ms === undefined ? {} : { [name]: new Date(ms).toISOString() };
  return {
    exitCode: run?.exitCode,
    ...timeOf(run?.startedAtMs, 'startedAt'),
    ...timeOf(run?.finishedAtMs, 'finishedAt'),
    ...(run === undefined || run.restarts === 0 ? {} : { restarts: run.restarts }),
  };
}

function liveState(
  paths: ContainerPaths,
  instance: string,
  name: string,
  run: RunRecord | undefined,
): 'paused' | 'restarting' | 'running' {
  // Who copies its files holds it, too, for a moment.
  const isPaused = readEnterRecord(paths)?.paused && isHeldStill(cgroupOf(instance, name).payload);
  if (isPaused) return 'paused';
  return run?.isRestarting ? 'restarting' : 'running';
}

/** Whether a process is in the container, or one that is about to be its main command; cheaper than its whole status. */
export function isRunning(instance: string, name: string): boolean {
  const host = readCgroupHost();
  const { payload, supervisor } = cgroupOf(instance, name);
  return isPopulated(host, payload) || isPopulated(host, supervisor);
}
