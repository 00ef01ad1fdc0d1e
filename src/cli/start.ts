/** minict start */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { startContainer } from '../lifecycle/start.ts';
import { parseContainerName } from '../spec/name.ts';
import { ensureState } from '../state/store.ts';
import { addDryRun, type DryRunOptions, dryRun, type Scripts } from './dry-run.ts';
import type { Define } from './program.ts';
import { eachName } from './report.ts';

const START: Scripts = {
  does: 'starts container',
  run: (lines, context, name) => lines.startLines(context, name),
  onFailure: 'stop',
  undoes: 'stops container',
  undo: (lines, context, name) => lines.unstartLines(context, name),
};

export const define: Define = (command, globals) => {
  addDryRun(command.argument('<name...>')).action(async (names: string[], options: DryRunOptions) => {
    requireRoot('start');
    const context = contextFrom(globals());
    if (await dryRun(context, options, names, START)) return;
    const instance = ensureState(context.roots);
    await eachName(names, async (name) => {
      await startContainer(context, instance, parseContainerName(name));
      return name;
    });
  });
};
