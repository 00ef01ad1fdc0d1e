/** A container that boots: until its init is through, and its end in good order. */
import { readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { processesIn } from '../cgroup/processes.ts';
import { HostError } from '../errors.ts';
import { isMountPoint } from '../host/exec-calls.ts';
import { detachMounts } from '../host/namespaces.ts';
import { signalProcesses } from '../host/syscalls.ts';
import { isEntered } from '../process/become.ts';
import { containerEnv } from '../process/enter.ts';
import { inCgroup } from '../process/in-cgroup.ts';
import { runIn } from '../process/run-in.ts';
import { bound } from '../process/waiter.ts';
import { guestFiles } from '../runtime/nspawn.ts';
import type { ContainerSpec } from '../spec/container.ts';
import type { Place } from '../spec/place.ts';
import { parseSignal } from '../spec/signal.ts';
import { type EnterRecord, readEnterRecord } from '../state/enter-record.ts';
import { type ContainerPaths, containerPaths } from '../state/paths.ts';
import { readRun } from '../state/run-record.ts';
import { resolveInRoot } from '../storage/resolve.ts';
import { OS_RELEASE } from './bootable.ts';
import type { Context } from './context.ts';
import { cgroupOf, isRunning } from './status.ts';

/** As long as systemd waits for a unit (DefaultTimeoutStartSec=), and a little more. */
const BOOTS_WITHIN_MS = 100_000;
const POLL_MS = 50;
/** What it says is a word. */
const ANSWER_BYTES = 4096;
const ANSWERS_WITHIN_MS = 3000;

/** The process that is PID 1 of the guest's namespace, and of no other: NSpid of proc_pid_status(5). */
function leaderIn(payload: string): number | undefined {
  return processesIn(payload).find((pid) => {
    try {
      return /^NSpid:\t\d+\t1$/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
    } catch {
      return false; // It has ended meanwhile.
    }
  });
}

function isSystemd(pid: number): boolean {
  try {
    return basename(readlinkSync(`/proc/${pid}/exe`)) === 'systemd';
  } catch {
    return false;
  }
}

/**
 * The first line that a program of the guest's writes; '' where it writes none, or not within ANSWERS_WITHIN_MS. Who wrote it may
 * have left the pipe to others.
 */
async function ask(spec: ContainerSpec, record: EnterRecord, argv: readonly string[]): Promise<string> {
  const inside = runIn(record.place, { argv, env: containerEnv(spec) });
  // What is given up ends.
  const run = inCgroup(record.enter, { ...inside, argv: bound(inside.argv) });
  const child = Bun.spawn([...run.argv], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...run.env },
    timeout: ANSWERS_WITHIN_MS,
    killSignal: 'SIGKILL',
  });
  const reader = child.stdout.getReader();
  const { promise: end, resolve } = Promise.withResolvers<{ done: true; value: undefined }>();
  const timer = setTimeout(resolve, ANSWERS_WITHIN_MS, { done: true, value: undefined });
  let said = '';
  while (!said.includes('\n') && said.length < ANSWER_BYTES) {
    const { done, value } = await Promise.race([reader.read(), end]);
    if (done) break;
    said += Buffer.from(value).toString('latin1');
  }
  clearTimeout(timer);
  await reader.cancel();
  return said.split('\n')[0] as string;
}

/** What systemd-nspawn(1) asks of a root. */
function hasOsRelease({ layers, mounted }: Place): boolean {
  return OS_RELEASE.some((path) => resolveInRoot(layers, path, mounted)?.stat !== undefined);
}

/**
 * Returns once its systemd has started all that it is to start, whether that worked (`running`) or not (`degraded`); any other
 * init, once it is there. Throws HostError where it ended, or takes too long.
 */
export async function awaitBoot(context: Context, instance: string, spec: ContainerSpec): Promise<void> {
  const { name } = spec;
  const paths = containerPaths(context.roots, name);
  const { payload } = cgroupOf(instance, name);
  const end = performance.now() + BOOTS_WITHIN_MS;
  let state = 'not there';
  while (performance.now() < end) {
    // Looked at first: before its supervisor ends, it writes how the init did.
    const isLive = isRunning(instance, name);
    // One that a restart policy starts again has failed, too.
    const status = readRun(paths.exit)?.exitCode;
    const record = readEnterRecord(paths);
    if (status !== undefined || record === undefined || !isLive) {
      const how = status === undefined ? 'was stopped' : `ended with ${status}`;
      const lacks = status !== undefined && record !== undefined && !hasOsRelease(record.place);
      throw new HostError(`cannot boot ${name}: ${lacks ? 'its image has no /etc/os-release' : `its init ${how}`}`, {
        hint: lacks ? `minict rm ${name}, and an image with an init of its own` : `minict logs ${name}`,
      });
    }
    const leader = isEntered(record.place) ? leaderIn(payload) : undefined;
    if (leader !== undefined) {
      if (!isSystemd(leader)) return;
      state = (await ask(spec, record, ['systemctl', 'is-system-running'])) || state;
      if (state === 'running' || state === 'degraded') return;
    }
    await Bun.sleep(POLL_MS);
  }
  throw new HostError(`cannot wait for ${name} any longer: its init is ${JSON.stringify(state)}`, {
    hint: `minict logs ${name}; minict exec ${name} systemctl list-jobs`,
  });
}

/**
 * Asks the guest to shut down: systemd by its signal for that (systemd(1), SIGRTMIN+3), any other init by its own poweroff;
 * or, where the container has a signal of its own, by that. Does not wait for its end.
 */
export async function shutDown(context: Context, instance: string, spec: ContainerSpec): Promise<void> {
  const { payload } = cgroupOf(instance, spec.name);
  const paths = containerPaths(context.roots, spec.name);
  const leader = leaderIn(payload);
  if (leader === undefined) return;
  const { stopSignal = isSystemd(leader) ? 'RTMIN+3' : undefined } = spec;
  if (stopSignal !== undefined) {
    await endEntered(paths, payload, leader);
    signalProcesses([leader], [parseSignal(stopSignal)], () => new Set(processesIn(payload)));
    return;
  }
  const record = readEnterRecord(paths);
  if (record !== undefined && isEntered(record.place)) await ask(spec, record, ['poweroff']);
}

const TERM = 15;
const CONT = 18;
const KILL = 9;
const ENDS_WITHIN_MS = 500;

/**
 * Programs that came in by `exec`: their parents are outside, and systemd-shutdown, which waits for the end of all processes,
 * would hear of theirs by no SIGCHLD and wait to the end of its time. No others come in meanwhile.
 */
async function endEntered(paths: ContainerPaths, payload: string, leader: number): Promise<void> {
  forget(paths);
  const members = () => new Set(processesIn(payload));
  for (const signals of [[TERM, CONT], [KILL]]) {
    const end = performance.now() + ENDS_WITHIN_MS;
    let entered = enteredIn(payload, leader);
    signalProcesses(entered, signals, members);
    while (entered.length > 0 && performance.now() < end) {
      await Bun.sleep(5);
      entered = enteredIn(payload, leader);
    }
  }
}

function forget(paths: ContainerPaths): void {
  for (const path of guestFiles(paths).filter(isMountPoint)) {
    try {
      detachMounts([path]);
    } catch (error) {
      // The guest has just ended by itself.
      if (isMountPoint(path)) throw error;
    }
  }
}

/** PPid and NSpid of proc_pid_status(5), where it is in a PID namespace below this one. */
function readInner(pid: number): { parent: number } | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return /^NSpid:\t\d+\t/m.test(status) ? { parent: Number(/^PPid:\t(\d+)$/m.exec(status)?.[1]) } : undefined;
  } catch {
    return undefined; // It has ended meanwhile.
  }
}

function enteredIn(payload: string, leader: number): number[] {
  const inner = new Map(processesIn(payload).map((pid) => [pid, readInner(pid)]));
  return [...inner].flatMap(([pid, found]) =>
    found === undefined || pid === leader || inner.get(found.parent) !== undefined ? [] : [pid],
  );
}
