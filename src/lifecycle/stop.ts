/**
 * stop: ends the processes, takes down mounts and cgroups, and the NIC's host end, so that neighbours see carrier loss.
 * The namespaces stay, with their addresses, routes, tc and nft rules.
 */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { type CgroupHost, readCgroupHost } from '../cgroup/cgroup.ts';
import { letGo } from '../cgroup/freeze.ts';
import { killAll, signalAll, waitUntilEmpty } from '../cgroup/processes.ts';
import { readOomKills } from '../cgroup/usage.ts';
import { HostError } from '../errors.ts';
import { requireTools } from '../host/tool.ts';
import { Journal, type JournalState } from '../runner/journal.ts';
import { undoSteps } from '../runner/undo.ts';
import { parseSignal } from '../spec/signal.ts';
import { recordEvent } from '../state/events.ts';
import { lockContainer, releaseContainer } from '../state/locks.ts';
import { writeOomCount } from '../state/oom-count.ts';
import { containerPaths } from '../state/paths.ts';
import { markStopped, settleRun } from '../state/run-record.ts';
import { findContainer, getContainer } from '../state/store.ts';
import { removeEnterRecord } from '../state/write-enter-record.ts';
import type { Step } from '../step.ts';
import { type Context, spawnContext } from './context.ts';
import { endWait } from './main-process.ts';
import { isOwnProgram } from './own-programs.ts';
import { cgroupOf } from './status.ts';
import { settleCables } from './unfinished-cables.ts';

/** Time for the supervisor to write down the exit status. */
const SUPERVISOR_MS = 1000;
const POLL_MS = 10;

/** The steps that a stop undoes: mounts, cgroups, published ports, and the host end's being up. */
export function stepsThatStopUndoes(steps: readonly Step[]): Step[] {
  return steps.filter(
    ({ part }) => part === 'mounts' || part === 'cgroup' || part === 'ports' || part?.startsWith('port '),
  );
}

/** Whether a stop has come to its end, and no start has begun since. */
export function isDown({ phase, interrupted }: JournalState): boolean {
  return phase === 'stopped' && interrupted.size === 0;
}

export interface StopOptions {
  /** Not at the host's end, of which `unless-stopped` takes no notice. */
  readonly byHand?: boolean;
  /** It is started again: what goes with its main command stays. */
  readonly keep?: boolean;
}

/** TERM, or what the container has instead, and CONT, up to `graceMs` without a lock, then KILL. */
export async function stopContainer(
  context: Context,
  instance: string,
  name: string,
  graceMs: number,
  { byHand = false, keep = false }: StopOptions = {},
): Promise<void> {
  requireTools();
  await settleCables(context, instance, name);
  const host = readCgroupHost();
  const { payload, supervisor, init } = cgroupOf(instance, name);
  const spec = await getContainer(context.roots, name);
  const { stopSignal = 'TERM' } = spec;
  if (existsSync(payload)) {
    if (spec.autoRemove) markKept(containerPaths(context.roots, name).kept, keep);
    if (spec.restart !== undefined) {
      writeFileSync(containerPaths(context.roots, name).stopping, '');
      endWait({ payload, supervisor });
    }
    if (!spec.boot) signalAll(payload, [parseSignal(stopSignal), parseSignal('CONT')], isOwnProgram(spec));
    letGo(payload);
    if (spec.boot) await (await import('./boot.ts')).shutDown(context, instance, spec);
    await waitUntilEmpty(host, payload, graceMs);
    // Before the lock: a start has it until its services end.
    await killAll(host, payload);
  }
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    // `run --rm` removes it as soon as its program has ended.
    if ((await findContainer(context.roots, name)) === undefined) return;
    await endMain(host, payload, supervisor, spec.restart !== undefined);
    await killAll(host, init);
    const paths = containerPaths(context.roots, name);
    const journal = new Journal(paths.journal);
    if (spec.restart !== undefined) settleRun(paths.exit);
    if (byHand && spec.restart?.policy === 'unless-stopped') markStopped(paths.exit);
    const state = journal.read();
    if (state === undefined || isDown(state)) return;
    removeEnterRecord(paths);
    const oomKills = readOomKills(instance, name);
    // The kernel's own count goes with the group.
    if (oomKills > 0) {
      writeOomCount(paths.oomKills, oomKills);
      // Of a main command's the supervisor has told.
      if (spec.command.length === 0) {
        recordEvent(context.roots, { type: 'container', action: 'oom', name, oomKills });
      }
    }
    await undoParts(context, name, state, stepsThatStopUndoes(state.steps), journal, lock.fd);
    journal.phase('stopped');
    recordEvent(context.roots, { type: 'container', action: 'stop', name });
  } finally {
    releaseContainer(context.roots, name, lock);
  }
}

function markKept(path: string, isKept: boolean): void {
  if (isKept) writeFileSync(path, '');
  else rmSync(path, { force: true });
}

/** Ends the processes; a supervisor has time to write down the exit status, and may just be starting its program. */
export async function endMain(
  host: CgroupHost,
  payload: string,
  supervisor: string,
  isRestarted: boolean,
): Promise<void> {
  const end = performance.now() + SUPERVISOR_MS;
  do {
    await killAll(host, payload);
    // Which it may have begun since.
    if (isRestarted) endWait({ payload, supervisor });
  } while (!(await waitUntilEmpty(host, supervisor, POLL_MS)) && performance.now() < end);
  await killAll(host, supervisor);
  await killAll(host, payload);
}

/** Throws HostError for what could not be undone. */
export async function undoParts(
  context: Context,
  name: string,
  state: JournalState,
  steps: readonly Step[],
  journal: Journal,
  lockFd: number,
): Promise<void> {
  const failures = await undoSteps({ ...state, steps }, spawnContext(context, lockFd));
  if (failures.length > 0) throw new HostError(`cannot take down ${name}: ${failures.join('; ')}`);
  journal.undone(steps.map((step) => step.id));
}
