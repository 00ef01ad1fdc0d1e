/** minict rename */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { renameContainer } from '../lifecycle/rename.ts';
import { parseContainerName, parseNewContainerName } from '../spec/name.ts';
import { ensureState } from '../state/store.ts';
import { print } from './output.ts';
import type { Define } from './program.ts';

export const define: Define = (command, globals) => {
  command
    .argument('<name>')
    .argument('<new>')
    .action(async (rawName: string, rawNew: string) => {
      requireRoot('rename');
      const [name, to] = [parseContainerName(rawName), parseNewContainerName(rawNew)];
      const context = contextFrom(globals());
      await renameContainer(context, ensureState(context.roots), name, to);
      print(`${to}\n`);
    });
};
