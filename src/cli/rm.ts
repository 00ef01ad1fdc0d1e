/** minict rm */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { removeContainers } from '../lifecycle/remove.ts';
import { parseContainerName } from '../spec/name.ts';
import { ensureState } from '../state/store.ts';
import type { Define } from './main.ts';
import { print } from './output.ts';
import { reportError } from './report.ts';

export const define: Define = (command, globals) => {
  command
    .argument('<name...>')
    .option('-f, --force', 'end its processes first')
    .action(async (rawNames: string[], options: { force?: boolean }) => {
      requireRoot('rm');
      const context = contextFrom(globals());
      const instance = ensureState(context.roots);
      const names = rawNames.map(parseContainerName);
      const { removed, errors } = await removeContainers(context, instance, names, options.force ?? false);
      for (const name of removed) print(`${name}\n`);
      for (const error of errors) process.exitCode = reportError(error);
    });
};
