/** minict kill */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { killContainer } from '../lifecycle/kill.ts';
import { parseContainerName } from '../spec/name.ts';
import { parseSignal } from '../spec/signal.ts';
import { ensureState } from '../state/store.ts';
import { eachName } from './report.ts';
import type { Define } from './verbs.ts';

export const define: Define = (command, globals) => {
  command
    .argument('<name...>')
    .option('-s, --signal <signal>', 'name or number', 'KILL')
    .addHelpText('after', '\nIt goes to the main command alone; where none runs, to all processes of the container.')
    .action(async (names: string[], options: { signal: string }) => {
      requireRoot('kill');
      const signal = parseSignal(options.signal);
      const context = contextFrom(globals());
      const instance = ensureState(context.roots);
      await eachName(names, async (name) => {
        await killContainer(context, instance, parseContainerName(name), signal);
        return name;
      });
    });
};
