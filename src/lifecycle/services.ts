/** Services, and the commands that stop them: shell lines that run inside, one after the other. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { HostError } from '../errors.ts';
import { sayCommand } from '../host/verbose.ts';
import { containerEnv } from '../process/enter.ts';
import { inCgroup } from '../process/in-cgroup.ts';
import { runIn } from '../process/run-in.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { OCI_RUNTIMES } from '../spec/oci-runtime.ts';
import { readEnterRecord } from '../state/enter-record.ts';
import { type Lock, lockContainer } from '../state/locks.ts';
import { containerPaths } from '../state/paths.ts';
import type { Context } from './context.ts';
import { boundLog } from './open-log.ts';
import { placeOf } from './place.ts';
import { ServiceLog } from './service-log.ts';
import { cgroupOf } from './status.ts';

/** How much of what a failed one said is repeated. */
const REPEATED_BYTES = 4096;

/** How often a log takes over what a service has written. */
const POLL_MS = 5;

/** stdin, stdout, stderr, and a lock. */
type Spawned = ['ignore' | number, number, number, number];

interface Outcome {
  readonly status: number;
  readonly said: string;
}

/** Where it writes, and how the end of what it wrote is read. */
interface Output {
  readonly fd: number;
  /** Returns once it has ended. */
  readonly follow: (ended: Promise<unknown>) => Promise<Buffer>;
}

/**
 * A lock is held until the program is in its cgroup, no longer; the caller may let go of it once this has returned its promise.
 * None of the caller's descriptors is a daemon's.
 */
async function runInside(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  line: string,
  lock: Lock,
  output: Output,
): Promise<Outcome> {
  const paths = containerPaths(context.roots, spec.name);
  const given = containerEnv(spec);
  const place = placeOf(spec, paths);
  const isLeft = place.oci !== undefined && OCI_RUNTIMES[place.oci.runtime].copiesStdio;
  const left = isLeft ? (await import('../process/left-line.ts')).leftLine(place, line) : undefined;
  const program = runIn(left?.place ?? place, { argv: left?.argv ?? ['/bin/sh', '-c', line], env: given });
  const enter = readEnterRecord(paths)?.enter ?? [cgroupOf(instance, spec.name).enterPayload];
  const { argv, env } = inCgroup(enter, program);
  if (context.verbose) sayCommand(argv);
  const stdio: Spawned = [left?.writing ?? 'ignore', output.fd, output.fd, lock.fd];
  const child = Bun.spawn([...argv], { stdio, env: { ...env } });
  if (left !== undefined) closeSync(left.writing);
  const ended = left === undefined ? child.exited : left.status(child.exited);
  const said = await output.follow(ended);
  return { status: await ended, said: said.toString().trimEnd() };
}

function throughLog(log: ServiceLog): Output {
  const follow = async (ended: Promise<unknown>) => {
    let end: Buffer = Buffer.alloc(0);
    for (let hasEnded = false; ; ) {
      end = Buffer.concat([end, log.drain(REPEATED_BYTES)]).subarray(-REPEATED_BYTES);
      if (hasEnded) return end;
      hasEnded = await Promise.race([ended.then(() => true), Bun.sleep(POLL_MS).then(() => false)]);
    }
  };
  return { fd: log.fd, follow };
}

/**
 * In order, under the container's lock. Returns where they write, for the caller to close. Throws HostError at the first that
 * fails, with what it said.
 */
export async function runServices(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  lock: Lock,
): Promise<ServiceLog> {
  const { enterSupervisor } = cgroupOf(instance, spec.name);
  const log = new ServiceLog(containerPaths(context.roots, spec.name), spec.log, enterSupervisor);
  try {
    for (const line of spec.services) {
      const { status, said } = await runInside(context, instance, spec, line, lock, throughLog(log));
      if (status !== 0) {
        throw new HostError(`cannot start ${spec.name}: service '${line}' ended with ${status}`, { details: said });
      }
    }
    return log;
  } catch (error) {
    await log.close(false);
    throw error;
  }
}

/** A daemon of a stop command's has the file itself, for the moment until the stop. */
function intoFile(fd: number): Output {
  const before = fstatSync(fd).size;
  const follow = async (ended: Promise<unknown>) => {
    await ended;
    const after = fstatSync(fd).size;
    const end = Buffer.alloc(Math.min(after - before, REPEATED_BYTES));
    readSync(fd, end, 0, end.length, after - end.length);
    return end;
  };
  return { fd, follow };
}

/** In order, all of them; returns those that failed. */
export async function runStopCommands(context: Context, instance: string, spec: ContainerSpec): Promise<HostError[]> {
  const failures: HostError[] = [];
  const paths = containerPaths(context.roots, spec.name);
  for (const line of spec.stopCommands) {
    boundLog(paths, spec.log);
    const log = openSync(paths.log, 'a+', 0o600);
    try {
      const lock = lockContainer(context.roots, spec.name, 'shared');
      const running = runInside(context, instance, spec, line, lock, intoFile(log));
      lock.release();
      const { status, said } = await running;
      if (status !== 0) {
        failures.push(new HostError(`stop command '${line}' of ${spec.name} ended with ${status}`, { details: said }));
      }
    } finally {
      closeSync(log);
    }
  }
  return failures;
}
