/** Services, and the commands that stop them: shell lines that run inside, one after the other. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { HostError } from '../errors.ts';
import { sayCommand } from '../host/verbose.ts';
import { containerEnv } from '../process/enter.ts';
import { inCgroup } from '../process/in-cgroup.ts';
import { runIn } from '../process/run-in.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { readEnterRecord } from '../state/enter-record.ts';
import { type Lock, lockContainer } from '../state/locks.ts';
import { containerPaths } from '../state/paths.ts';
import type { Context } from './context.ts';
import { boundLog } from './open-log.ts';
import { placeOf } from './place.ts';
import { cgroupOf } from './status.ts';

/** How much of what a failed one said is repeated. */
const REPEATED_BYTES = 4096;

interface Outcome {
  readonly status: number;
  readonly said: string;
}

/**
 * Its output goes to the log: a daemon may keep that open, but none of the caller's descriptors. A lock is held until the
 * program is in its cgroup, no longer; the caller may let go of it once this has returned its promise.
 */
async function runInside(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  line: string,
  lock: Lock,
): Promise<Outcome> {
  const paths = containerPaths(context.roots, spec.name);
  const given = containerEnv(spec);
  const program = runIn(placeOf(spec, paths), { argv: ['/bin/sh', '-c', line], env: given });
  const enter = readEnterRecord(paths)?.enter ?? [cgroupOf(instance, spec.name).enterPayload];
  const { argv, env } = inCgroup(enter, program);
  if (context.verbose) sayCommand(argv);
  const log = openSync(paths.log, 'a+', 0o600);
  try {
    const before = fstatSync(log).size;
    const child = Bun.spawn([...argv], { stdio: ['ignore', log, log, lock.fd], env: { ...env } });
    const status = await child.exited;
    const after = fstatSync(log).size;
    const end = Buffer.alloc(Math.min(after - before, REPEATED_BYTES));
    readSync(log, end, 0, end.length, after - end.length);
    return { status, said: end.toString().trimEnd() };
  } finally {
    closeSync(log);
  }
}

/** In order, under the container's lock. Throws HostError at the first that fails, with what it said. */
export async function runServices(context: Context, instance: string, spec: ContainerSpec, lock: Lock): Promise<void> {
  boundLog(containerPaths(context.roots, spec.name), spec.log);
  for (const line of spec.services) {
    const { status, said } = await runInside(context, instance, spec, line, lock);
    if (status !== 0) {
      throw new HostError(`cannot start ${spec.name}: service '${line}' ended with ${status}`, { details: said });
    }
  }
}

/** In order, all of them; returns those that failed. */
export async function runStopCommands(context: Context, instance: string, spec: ContainerSpec): Promise<HostError[]> {
  const failures: HostError[] = [];
  for (const line of spec.stopCommands) {
    const lock = lockContainer(context.roots, spec.name, 'shared');
    const running = runInside(context, instance, spec, line, lock);
    lock.release();
    const { status, said } = await running;
    if (status !== 0) {
      failures.push(new HostError(`stop command '${line}' of ${spec.name} ended with ${status}`, { details: said }));
    }
  }
  return failures;
}
