/** minict wait: blocks until the main command ends; prints its exit status. */
import { closeSync, openSync } from 'node:fs';
import { readCgroupHost } from '../cgroup/cgroup.ts';
import { isPopulated } from '../cgroup/processes.ts';
import { ConflictError } from '../errors.ts';
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import { cgroupOf } from '../lifecycle/status.ts';
import { parseContainerName } from '../spec/name.ts';
import { readExitStatus } from '../state/exit-status.ts';
import { containerPaths } from '../state/paths.ts';
import { ensureState, getContainer } from '../state/store.ts';
import type { Define } from './program.ts';
import { eachName } from './report.ts';

const POLL_MS = 20;

async function waitForMain(context: Context, instance: string, name: string): Promise<string> {
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
    while (isPopulated(host, supervisor) && readExitStatus(path) === undefined) await Bun.sleep(POLL_MS);
    const status = readExitStatus(path);
    if (status === undefined) throw new ConflictError(`cannot tell how ${name} ended: its supervisor was killed`);
    return String(status);
  } finally {
    closeSync(fd);
  }
}

export const define: Define = (command, globals) => {
  command.argument('<name...>').action(async (names: string[]) => {
    requireRoot('wait');
    const context = contextFrom(globals());
    const instance = ensureState(context.roots);
    await eachName(names, (name) => waitForMain(context, instance, parseContainerName(name)));
  });
};
