/** minict rebase */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { rebaseContainer } from '../lifecycle/rebase.ts';
import { parseContainerName } from '../spec/name.ts';
import { ensureState } from '../state/store.ts';
import { print, printError } from './output.ts';
import { parseGrace } from './stop.ts';
import type { Define } from './verbs.ts';

export const define: Define = (command, globals) => {
  command
    .argument('<name>')
    .argument('<image>')
    .option('--keep-changes', 'what the container wrote lies on top of the new image')
    .option('-t, --time <seconds>', 'grace before KILL', '10')
    .action(async (rawName: string, image: string, options: { keepChanges?: boolean; time: string }) => {
      requireRoot('rebase');
      const context = contextFrom(globals());
      const name = parseContainerName(rawName);
      const snapshot = await rebaseContainer(context, ensureState(context.roots), name, {
        image,
        keepChanges: options.keepChanges ?? false,
        graceMs: parseGrace(options.time),
      });
      print(`${name}\n`);
      printError(`minict: the files of before are snapshot ${snapshot}\n`);
    });
};
