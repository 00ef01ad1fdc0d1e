/** minict update: other limits, live. */
import { InvalidInputError } from '../errors.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { updateContainer } from '../lifecycle/update.ts';
import { type LimitOptions, parseLimits } from '../spec/limits.ts';
import { parseContainerName } from '../spec/name.ts';
import { ensureState } from '../state/store.ts';
import { addLimitOptions, hasLimits } from './limit-options.ts';
import type { Define } from './program.ts';
import { eachName } from './report.ts';

export const define: Define = (command, globals) => {
  addLimitOptions(command)
    .argument('<name...>')
    .addHelpText('after', '\n0, -1 or max lifts a limit.')
    .action(async (names: string[], options: LimitOptions) => {
      requireRoot('update');
      if (!hasLimits(options)) {
        throw new InvalidInputError('cannot update: no limit is named', { hint: 'minict update --help' });
      }
      const changes = parseLimits(options);
      const context = contextFrom(globals());
      const instance = ensureState(context.roots);
      await eachName(names, async (name) => {
        await updateContainer(context, instance, parseContainerName(name), changes);
        return name;
      });
    });
};
