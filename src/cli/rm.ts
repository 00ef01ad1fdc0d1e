/** minict rm */
import { NotFoundError } from '../errors.ts';
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import { type Removal, removeContainers } from '../lifecycle/remove.ts';
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

interface RmOptions extends DryRunOptions {
  readonly force?: boolean;
  readonly onceEnded?: string;
}

async function remove(
  context: Context,
  instance: string,
  names: readonly string[],
  { force = false, onceEnded }: RmOptions,
): Promise<Removal> {
  if (onceEnded === undefined) return removeContainers(context, instance, names, force);
  const { removeOnceEnded } = await import('../lifecycle/once-ended.ts');
  const removals: Removal[] = [];
  for (const name of names) removals.push(await removeOnceEnded(context, instance, name, onceEnded));
  return { removed: removals.flatMap(({ removed }) => removed), errors: removals.flatMap(({ errors }) => errors) };
}

export const define: Define = (command, globals) => {
  addDryRun(command)
    .argument('<name...>')
    .option('-f, --force', 'end its processes first; one that is not there is no error')
    .optionsGroup('For run -d --rm:')
    .option('--once-ended <created>', 'only if it was made then, and its main command has ended')
    .action(async (rawNames: string[], options: RmOptions) => {
      requireRoot('rm');
      const context = contextFrom(globals());
      if (await dryRun(context, options, rawNames, removal(options.force ?? false))) return;
      const instance = ensureState(context.roots);
      const names = rawNames.map(parseContainerName);
      const { removed, errors } = await remove(context, instance, names, options);
      for (const name of removed) print(`${name}\n`);
      // As with docker and rm(1).
      const isGone = (error: unknown) => options.force === true && error instanceof NotFoundError;
      for (const error of errors) if (!isGone(error)) process.exitCode = reportError(error);
    });
};
