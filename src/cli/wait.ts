/** minict wait: blocks until the main command ends; prints its exit status. */
import { existsSync, readFileSync } from 'node:fs';
import { isPopulated, readCgroupHost } from '../cgroup/cgroup.ts';
import { ConflictError } from '../errors.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { cgroupOf } from '../lifecycle/status.ts';
import { parseContainerName } from '../spec/name.ts';
import { containerPaths } from '../state/paths.ts';
import { ensureState, getContainer } from '../state/store.ts';
import type { Define } from './main.ts';
import { print } from './output.ts';

const POLL_MS = 20;

export const define: Define = (command, globals) => {
  command.argument('<name>').action(async (rawName: string) => {
    requireRoot('wait');
    const context = contextFrom(globals());
    const instance = ensureState(context.roots);
    const name = parseContainerName(rawName);
    await getContainer(context.roots, name);
    const { exit } = containerPaths(context.roots, name);
    const { supervisor } = cgroupOf(instance, name);
    while (isPopulated(readCgroupHost(), supervisor)) await Bun.sleep(POLL_MS);
    if (!existsSync(exit)) throw new ConflictError(`cannot wait for ${name}: no main command has run`);
    print(`${readFileSync(exit, 'utf8').split(' ')[0]}\n`);
  });
};
