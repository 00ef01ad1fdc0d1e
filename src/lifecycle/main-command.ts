/** The main command of a container: under its supervisor, with its output in the log or at the caller's terminal. */
import { closeSync, rmSync } from 'node:fs';
import { readCgroupHost } from '../cgroup/cgroup.ts';
import { isPopulated } from '../cgroup/processes.ts';
import { ConflictError, HostError, NotFoundError } from '../errors.ts';
import { toolPath } from '../host/tool.ts';
import { sayCommand } from '../host/verbose.ts';
import { handOnSignals, supervised } from '../process/supervisor.ts';
import { type ContainerSpec, isIsolated } from '../spec/container.ts';
import type { Place } from '../spec/place.ts';
import { readEnterRecord } from '../state/enter-record.ts';
import { beginHealth } from '../state/health-record.ts';
import { isLocked, type Lock } from '../state/locks.ts';
import { containerPaths } from '../state/paths.ts';
import { beginRun, endRun, type RunRecord, readExitStatus, readRun } from '../state/run-record.ts';
import type { Context } from './context.ts';
import { mainProcess } from './main-process.ts';
import { mainProgram, placeOf } from './place.ts';
import { seemsNotToRun } from './program-file.ts';
import { cgroupOf } from './status.ts';
import { supervisionOf } from './supervision.ts';

/** Whether nobody looks after a main command any more: it has ended and is not started again, or never ran. */
export function hasEnded({ roots }: Context, instance: string, name: string): boolean {
  const { supervisor } = cgroupOf(instance, name);
  // A log's writer may be left, for daemons.
  return readExitStatus(containerPaths(roots, name).exit) !== undefined || !isPopulated(readCgroupHost(), supervisor);
}

/** The same; while somebody is about to start it again, it has not, though the last end is forgotten. */
export function isOver(context: Context, instance: string, name: string): boolean {
  const hasEndedNow = () => hasEnded(context, instance, name);
  return hasEndedNow() && !isLocked(context.roots, name) && hasEndedNow();
}

/** Of whom somebody wants to stay with. Throws ConflictError. */
export function requireMain({ name, command }: ContainerSpec): void {
  if (command.length > 0) return;
  throw new ConflictError(`cannot attach to ${name}: it has no main command`, {
    hint: `minict logs -f ${name}; minict exec -it ${name} sh`,
  });
}

/** How a caller stays with the main command. */
export interface Attachment {
  /** stdin is one: the program shares the caller's session, for job control, and TERM. */
  readonly terminal: boolean;
  readonly stdin: boolean;
}

/** A program that cannot be run has ended by then. */
const FAILS_WITHIN_MS = 2000;

/** Who waits for it in a PID namespace, where that is not a shell. */
function waiterOf(spec: ContainerSpec, attachment: Attachment | undefined): string | undefined {
  return isIsolated(spec, 'pid') && spec.runtime === undefined && !attachment?.terminal
    ? toolPath('catatonit')
    : undefined;
}

/** Beside nsenter(1), which is what can be shown, and sets no limits. */
async function openEntry(
  { verbose }: Context,
  place: Place,
  attachment: Attachment | undefined,
): Promise<number | undefined> {
  if (place.oci === undefined || place.ulimits !== undefined || verbose) return undefined;
  return (await import('../process/oci-entry.ts')).openOciEntry(place, place.oci, attachment !== undefined);
}

/** The entry's number on the way: no shell there has a use for it. */
const ENTRY_FD = 8;

/** Throws NotFoundError (127), HostError (126) where it was not run; the container is there, with that exit status. */
async function refuseNotRun({ name, command, autoRemove }: ContainerSpec, child: Bun.Subprocess): Promise<void> {
  const end = performance.now() + FAILS_WITHIN_MS;
  while (child.exitCode === null && performance.now() < end) await Bun.sleep(1);
  const what = `cannot run ${command[0]} in ${name}`;
  const hint = autoRemove ? {} : { hint: `minict logs ${name}; minict rm ${name}` };
  const options = { exitCode: child.exitCode ?? 0, ...hint };
  if (child.exitCode === 127) throw new NotFoundError(`${what}: no such program`, options);
  if (child.exitCode === 126) throw new HostError(`${what}: not executable`, options);
}

/** A supervisor whose words and environment the kernel does not take (E2BIG) has ended before it began. */
function spawnOrEnd(record: string, spawn: () => Bun.Subprocess): Bun.Subprocess {
  try {
    return spawn();
  } catch (error) {
    endRun(record, 126, Date.now());
    throw error;
  }
}

/**
 * Starts it, under the container's lock; returns once the program is where a stop sees it and asks it to end. What is returned
 * waits for the exit status; signals are handed on until then, for who is attached. Throws NotFoundError, HostError where it
 * cannot be run and nobody is attached, who would see that.
 */
export async function startMain(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  lock: Lock,
  attachment: Attachment | undefined,
): Promise<() => Promise<number>> {
  const paths = containerPaths(context.roots, spec.name);
  beginRun(paths.exit, Date.now());
  if (spec.restart !== undefined) rmSync(paths.stopping, { force: true });
  if (spec.autoRemove) rmSync(paths.kept, { force: true });
  const cgroups = cgroupOf(instance, spec.name);
  const term = attachment?.terminal ? process.env.TERM : undefined;
  const record = readEnterRecord(paths);
  const mounted = record?.place.mounted;
  const place = { ...placeOf(spec, paths), mounted };
  const entry = await openEntry(context, place, attachment);
  const program = spec.boot
    ? (await import('../runtime/boot.ts')).bootProgram(spec, paths, cgroups.container, term)
    : mainProgram(spec, paths, term, mounted, {
        init: waiterOf(spec, attachment),
        entry: entry === undefined ? undefined : ENTRY_FD,
      });
  const isDoubtful = attachment === undefined && !spec.boot && seemsNotToRun(spec, place);
  const log = attachment === undefined ? (await import('./open-log.ts')).openLog(paths, spec) : undefined;
  // Before there is a program: it may be far before this process goes on.
  let pid: number | undefined;
  if (attachment !== undefined) handOnSignals(attachment.terminal, () => pid && mainProcess(pid, cgroups.payload));
  const enter = record?.enter ?? [cgroups.enterPayload];
  if (spec.health !== undefined) beginHealth(paths.health, Date.now());
  const supervision = supervisionOf(context, spec, { instance, cgroup: cgroups, enter, mounted, log: log?.pipe });
  const { argv, env } = supervised(supervision, program);
  if (context.verbose) sayCommand(argv);
  // Between it and the lock are those that the scripts on the way use.
  const handedOn = entry === undefined ? [] : [...Array<'ignore'>(ENTRY_FD - 4).fill('ignore'), entry];
  const child = spawnOrEnd(paths.exit, () =>
    Bun.spawn([...argv], {
      stdio: [
        attachment?.stdin ? 'inherit' : 'ignore',
        log?.fd ?? 'inherit',
        log?.fd ?? 'inherit',
        lock.fd,
        ...handedOn,
      ],
      env: { ...env },
      detached: !attachment?.terminal,
    }),
  );
  pid = child.pid;
  if (log !== undefined) closeSync(log.fd);
  if (entry !== undefined) closeSync(entry);
  const host = readCgroupHost();
  // One that has ended already may be about to be started again.
  const hasRun = ({ finishedAtMs, restarts }: RunRecord) => finishedAtMs !== undefined || restarts > 0;
  const hasBegun = () => isPopulated(host, cgroups.payload) || hasRun(readRun(paths.exit) ?? { restarts: 0 });
  let begun = hasBegun();
  while (!begun && child.exitCode === null && child.signalCode === null) {
    await Bun.sleep(1);
    begun = hasBegun();
  }
  // Once seen is enough: a program may have ended, and its status not be written yet. The last look comes after the supervisor.
  if (!begun && !hasBegun()) {
    throw new HostError(`cannot start ${spec.name}: its supervisor ended`, { hint: `minict logs ${spec.name}` });
  }
  if (isDoubtful) await refuseNotRun(spec, child);
  if (attachment === undefined) child.unref();
  return () => child.exited;
}
