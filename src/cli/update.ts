/** minict update: other limits, live. */
import { InvalidInputError } from '../errors.ts';
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import { updateContainer } from '../lifecycle/update.ts';
import { type LimitChanges, type LimitOptions, parseLimits } from '../spec/limits.ts';
import { parseContainerName } from '../spec/name.ts';
import { ensureState } from '../state/store.ts';
import { addDryRun, type DryRunOptions, dryRun, type Scripts } from './dry-run.ts';
import { addLimitOptions, hasLimits } from './limit-options.ts';
import { eachName } from './report.ts';
import type { Define } from './verbs.ts';

/** A script changes what is up; what is recorded stays as it is, for a start. */
function updating(changes: LimitChanges): Scripts {
  const plan = (wanted: 'run' | 'undo') => async (_: unknown, context: Context, name: string) =>
    (await (await import('../lifecycle/dry-run-update.ts')).updateLines(context, name, changes))[wanted];
  return {
    does: 'changes the limits of',
    run: plan('run'),
    onFailure: 'stop',
    undoes: 'changes back the limits of',
    undo: plan('undo'),
  };
}

export const define: Define = (command, globals) => {
  addDryRun(addLimitOptions(command))
    .argument('<name...>')
    .addHelpText('after', '\n0, -1 or max lifts a limit.')
    .action(async (names: string[], options: LimitOptions & DryRunOptions) => {
      requireRoot('update');
      if (!hasLimits(options)) {
        throw new InvalidInputError('cannot update: no limit is named', { hint: 'minict update --help' });
      }
      const changes = parseLimits(options);
      const context = contextFrom(globals());
      if (await dryRun(context, options, names, updating(changes))) return;
      const instance = ensureState(context.roots);
      await eachName(names, async (name) => {
        await updateContainer(context, instance, parseContainerName(name), changes);
        return name;
      });
    });
};
