/** minict pause|unpause */
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import { pauseContainer, unpauseContainer } from '../lifecycle/pause.ts';
import { parseContainerName } from '../spec/name.ts';
import { ensureState } from '../state/store.ts';
import { eachName } from './report.ts';
import type { Define } from './verbs.ts';

type Verb = (context: Context, instance: string, name: string) => Promise<void>;

function definition(word: string, verb: Verb): Define {
  return (command, globals) => {
    command.argument('<name...>').action(async (names: string[]) => {
      requireRoot(word);
      const context = contextFrom(globals());
      const instance = ensureState(context.roots);
      await eachName(names, async (name) => {
        await verb(context, instance, parseContainerName(name));
        return name;
      });
    });
  };
}

export const pause = { define: definition('pause', pauseContainer) };
export const unpause = { define: definition('unpause', unpauseContainer) };
