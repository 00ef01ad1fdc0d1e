/** minict wait: blocks until the main command ends; prints its exit status. */
import { awaitMain } from '../lifecycle/await-main.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { parseContainerName } from '../spec/name.ts';
import { ensureState } from '../state/store.ts';
import { eachName } from './report.ts';
import type { Define } from './verbs.ts';

export const define: Define = (command, globals) => {
  command.argument('<name...>').action(async (names: string[]) => {
    requireRoot('wait');
    const context = contextFrom(globals());
    const instance = ensureState(context.roots);
    await eachName(names, async (name) => String(await awaitMain(context, instance, parseContainerName(name))));
  });
};
