/** minict restart */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { startContainer } from '../lifecycle/start.ts';
import { ensureState } from '../state/store.ts';
import type { Define } from './program.ts';
import { eachName } from './report.ts';
import { parseGrace, stopByName } from './stop.ts';

export const define: Define = (command, globals) => {
  command
    .argument('<name...>')
    .option('-t, --time <seconds>', 'grace before KILL', '10')
    .action(async (names: string[], options: { time: string }) => {
      requireRoot('restart');
      const context = contextFrom(globals());
      const instance = ensureState(context.roots);
      const graceMs = parseGrace(options.time);
      await eachName(names, async (name) => {
        await stopByName(context, instance, name, graceMs);
        await startContainer(context, instance, name);
        return name;
      });
    });
};
