/** minict restart */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { startContainer } from '../lifecycle/start.ts';
import { ensureState } from '../state/store.ts';
import { addDryRun, type DryRunOptions, dryRun, type Scripts } from './dry-run.ts';
import { eachName } from './report.ts';
import { parseGrace, stopByName } from './stop.ts';
import type { Define } from './verbs.ts';

function restarting(graceMs: number): Scripts {
  return {
    does: 'restarts container',
    run: (lines, context, name) => lines.restartLines(context, name, graceMs),
    onFailure: 'stop',
    undoes: 'stops container',
    undo: (lines, context, name) => lines.unstartLines(context, name),
  };
}

export const define: Define = (command, globals) => {
  addDryRun(command)
    .argument('<name...>')
    .option('-t, --time <seconds>', 'grace before KILL', '10')
    .action(async (names: string[], options: DryRunOptions & { time: string }) => {
      requireRoot('restart');
      const context = contextFrom(globals());
      const graceMs = parseGrace(options.time);
      if (await dryRun(context, options, names, restarting(graceMs))) return;
      const instance = ensureState(context.roots);
      await eachName(names, async (name) => {
        await stopByName(context, instance, name, graceMs, { keep: true });
        await startContainer(context, instance, name);
        return name;
      });
    });
};
