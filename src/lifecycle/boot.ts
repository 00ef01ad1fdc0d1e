/** A container that boots: until its init is through, and its end in good order. */
import { readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { readCgroupHost } from '../cgroup/cgroup.ts';
import { isPopulated, processesIn } from '../cgroup/processes.ts';
import { HostError } from '../errors.ts';
import { openOutput } from '../host/lent.ts';
import { signalProcesses } from '../host/syscalls.ts';
import { isEntered } from '../process/become.ts';
import { containerEnv } from '../process/enter.ts';
import { inCgroup } from '../process/in-cgroup.ts';
import { runIn } from '../process/run-in.ts';
import { bound } from '../process/waiter.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { parseSignal } from '../spec/signal.ts';
import { type EnterRecord, readEnterRecord } from '../state/enter-record.ts';
import { containerPaths } from '../state/paths.ts';
import { readExitStatus } from '../state/run-record.ts';
import type { Context } from './context.ts';
import { cgroupOf } from './status.ts';

/** As long as systemd waits for a unit (DefaultTimeoutStartSec=), and a little more. */
const BOOTS_WITHIN_MS = 100_000;
const POLL_MS = 20;
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

/** Output of a program of the guest's; undefined where it failed. Not waited for after ANSWERS_WITHIN_MS. */
async function ask(spec: ContainerSpec, record: EnterRecord, argv: readonly string[]): Promise<string | undefined> {
  const inside = runIn(record.place, { argv, env: containerEnv(spec) });
  // What is given up ends.
  const run = inCgroup(record.enter, { ...inside, argv: bound(inside.argv) });
  const output = openOutput('minict-answer');
  try {
    const child = Bun.spawn([...run.argv], {
      stdio: ['ignore', output.descriptor, 'ignore'],
      env: { ...run.env },
      timeout: ANSWERS_WITHIN_MS,
      killSignal: 'SIGKILL',
    });
    await child.exited;
    return output.read(ANSWER_BYTES).toString().trim();
  } finally {
    output.close();
  }
}

/**
 * Returns once its systemd has started all that it is to start, whether that worked (`running`) or not (`degraded`); any other
 * init, once it is there. Throws HostError where it ended, or takes too long.
 */
export async function awaitBoot(context: Context, instance: string, spec: ContainerSpec): Promise<void> {
  const { name } = spec;
  const paths = containerPaths(context.roots, name);
  const { payload } = cgroupOf(instance, name);
  const host = readCgroupHost();
  const end = performance.now() + BOOTS_WITHIN_MS;
  let state = 'not there';
  while (performance.now() < end) {
    const status = readExitStatus(paths.exit);
    const record = readEnterRecord(paths);
    if (status !== undefined || record === undefined || !isPopulated(host, payload)) {
      const how = status === undefined ? 'was stopped' : `ended with ${status}`;
      throw new HostError(`cannot boot ${name}: its init ${how}`, { hint: `minict logs ${name}` });
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
 * or, where the container has a signal of its own, by that. Does not wait.
 */
export function shutDown(context: Context, instance: string, spec: ContainerSpec): void {
  const { payload } = cgroupOf(instance, spec.name);
  const leader = leaderIn(payload);
  if (leader === undefined) return;
  const { stopSignal = isSystemd(leader) ? 'RTMIN+3' : undefined } = spec;
  const record = readEnterRecord(containerPaths(context.roots, spec.name));
  if (stopSignal !== undefined) {
    signalProcesses([leader], [parseSignal(stopSignal)], () => new Set(processesIn(payload)));
  } else if (record !== undefined && isEntered(record.place)) {
    void ask(spec, record, ['poweroff']);
  }
}
