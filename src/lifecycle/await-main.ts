/** The end of a main command, for who did not start it. */
import { closeSync, openSync } from 'node:fs';
import { readCgroupHost } from '../cgroup/cgroup.ts';
import { isPopulated } from '../cgroup/processes.ts';
import { ConflictError } from '../errors.ts';
import { isLocked } from '../state/locks.ts';
import { containerPaths } from '../state/paths.ts';
import { type RunRecord, readExitStatus, readRun } from '../state/run-record.ts';
import { getContainer } from '../state/store.ts';
import type { Context } from './context.ts';
import { cgroupOf } from './status.ts';

const POLL_MS = 20;

export interface Patience {
  /** Whether an end before the last one, which a restart policy follows, will do. */
  readonly isEnough?: (run: RunRecord) => boolean;
  /** Whether nobody waits any more. */
  readonly isLeft?: () => boolean;
}

/** Its exit status; undefined where `isLeft` came true before. Throws NotFoundError, ConflictError where none ran or nobody can tell. */
export async function awaitMain(
  context: Context,
  instance: string,
  name: string,
  { isEnough = () => false, isLeft = () => false }: Patience = {},
): Promise<number | undefined> {
  await getContainer(context.roots, name);
  const host = readCgroupHost();
  const { supervisor } = cgroupOf(instance, name);
  const never = () => new ConflictError(`cannot wait for ${name}: no main command has run`);
  let fd: number;
  try {
    fd = openSync(containerPaths(context.roots, name).exit, 'r');
  } catch {
    throw never();
  }
  // By its descriptor: `run --rm` removes the file as soon as the program has ended.
  const path = `/proc/self/fd/${fd}`;
  try {
    const isLost = () => !isPopulated(host, supervisor) && readExitStatus(path) === undefined;
    // A start has forgotten the last end before its supervisor is there; it has the lock until then.
    const isGone = () => isLost() && !isLocked(context.roots, name) && isLost();
    while (!isLeft()) {
      const status = readExitStatus(path);
      if (status !== undefined) return status;
      if (isGone()) throw new ConflictError(`cannot tell how ${name} ended: its supervisor was killed`);
      const run = readRun(path);
      if (run !== undefined && isEnough(run)) {
        if (run.exitCode !== undefined) return run.exitCode;
        throw new ConflictError(`cannot tell how ${name} ended: it runs again`);
      }
      await Bun.sleep(POLL_MS);
    }
    return undefined;
  } finally {
    closeSync(fd);
  }
}
