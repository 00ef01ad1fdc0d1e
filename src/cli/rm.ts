/** minict rm */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { removeContainers } from '../lifecycle/remove.ts';
import { parseContainerName } from '../spec/name.ts';
import { ensureState } from '../state/store.ts';
import { addDryRun, type DryRunOptions, dryRun, type Scripts } from './dry-run.ts';
import { print } from './output.ts';
import { reportError } from './report.ts';
import type { Define } from './verbs.ts';

function removal(force: boolean): Scripts {
  return {
    does: 'removes container',
    run: (lines, context, name) => lines.removeLines(context, name, force),
    onFailure: 'go on',
    undoes: 'makes container (its files are gone)',
    undo: (lines, context, name) => lines.recreateLines(context, name),
  };
}

export const define: Define = (command, globals) => {
  addDryRun(command)
    .argument('<name...>')
    .option('-f, --force', 'end its processes first')
    .action(async (rawNames: string[], options: DryRunOptions & { force?: boolean }) => {
      requireRoot('rm');
      const context = contextFrom(globals());
      if (await dryRun(context, options, rawNames, removal(options.force ?? false))) return;
      const instance = ensureState(context.roots);
      const names = rawNames.map(parseContainerName);
      const { removed, errors } = await removeContainers(context, instance, names, options.force ?? false);
      for (const name of removed) print(`${name}\n`);
      for (const error of errors) process.exitCode = reportError(error);
    });
};
