/** minict start */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { startContainer } from '../lifecycle/start.ts';
import { parseContainerName } from '../spec/name.ts';
import { ensureState } from '../state/store.ts';
import type { Define } from './main.ts';
import { eachName } from './report.ts';

export const define: Define = (command, globals) => {
  command.argument('<name...>').action(async (names: string[]) => {
    requireRoot('start');
    const context = contextFrom(globals());
    const instance = ensureState(context.roots);
    await eachName(names, async (name) => void (await startContainer(context, instance, parseContainerName(name))));
  });
};
