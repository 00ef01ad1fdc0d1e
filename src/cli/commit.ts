/** minict commit */
import { CHANGES, parseChanges } from '../image/change.ts';
import { commitContainer } from '../lifecycle/commit.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { parseContainerName } from '../spec/name.ts';
import { ensureState } from '../state/store.ts';
import { print } from './output.ts';
import type { Define } from './verbs.ts';

interface CommitFlags {
  readonly change: readonly string[];
  readonly message?: string;
  readonly pause: boolean;
}

export const define: Define = (command, globals) => {
  command
    .argument('<name>')
    .argument('<image>')
    .repeatable('-c, --change <line>', `setting of the image, as a Dockerfile has it: ${CHANGES}`)
    .option('-m, --message <text>', "for the image's history")
    .option('--no-pause', 'let its processes go on meanwhile')
    .action(async (rawName: string, image: string, { change, message, pause }: CommitFlags) => {
      requireRoot('commit');
      const context = contextFrom(globals());
      const settings = parseChanges(change);
      const name = parseContainerName(rawName);
      const options = { pause, message, settings };
      print(`${await commitContainer(context, ensureState(context.roots), name, image, options)}\n`);
    });
};
