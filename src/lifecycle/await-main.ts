/** The end of a main command, for who did not start it. */
import { closeSync, openSync } from 'node:fs';
import { readCgroupHost } from '../cgroup/cgroup.ts';
import { isPopulated } from '../cgroup/processes.ts';
import { ConflictError } from '../errors.ts';
import { containerPaths } from '../state/paths.ts';
import { type RunRecord, readExitStatus, readRun } from '../state/run-record.ts';
import { getContainer } from '../state/store.ts';
import type { Context } from './context.ts';
import { cgroupOf } from './status.ts';

const POLL_MS = 20;

/**
 * Its exit status; that of an end before the last one, which a restart policy follows, where `isEnough` says so. Throws
 * NotFoundError, ConflictError where none ran or nobody can tell.
 */
export async function awaitMain(
  context: Context,
  instance: string,
  name: string,
  isEnough: (run: RunRecord) => boolean = () => false,
): Promise<number> {
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
    while (isPopulated(host, supervisor) && readExitStatus(path) === undefined) {
      const run = readRun(path);
      if (run !== undefined && isEnough(run)) {
        if (run.exitCode !== undefined) return run.exitCode;
        throw new ConflictError(`cannot tell how ${name} ended: it runs again`);
      }
      await Bun.sleep(POLL_MS);
    }
    const status = readExitStatus(path);
    if (status === undefined) throw new ConflictError(`cannot tell how ${name} ended: its supervisor was killed`);
    return status;
  } finally {
    closeSync(fd);
  }
}
