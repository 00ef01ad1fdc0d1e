/** minict start */
import { contextFrom, requireRoot, useState } from '../lifecycle/context.ts';
import { startContainer } from '../lifecycle/start.ts';
import { parseContainerName } from '../spec/name.ts';
import type { Define } from './main.ts';
import { eachName } from './report.ts';

export const define: Define = (command, globals) => {
  command.argument('<name...>').action(async (names: string[]) => {
    requireRoot('start');
    const context = contextFrom(globals());
    const instance = useState(context);
    await eachName(names, async (name) => void (await startContainer(context, instance, parseContainerName(name))));
  });
};
