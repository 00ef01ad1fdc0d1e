/** minict start */
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import { startContainer } from '../lifecycle/start.ts';
import { parseContainerName } from '../spec/name.ts';
import { containerPaths } from '../state/paths.ts';
import { readRun } from '../state/run-record.ts';
import { ensureState, findContainer } from '../state/store.ts';
import { addDryRun, type DryRunOptions, dryRun, type Scripts } from './dry-run.ts';
import { eachName, reportNote } from './report.ts';
import type { Define } from './verbs.ts';

const START: Scripts = {
  does: 'starts container',
  run: (lines, context, name) => lines.startLines(context, name),
  onFailure: 'stop',
  undoes: 'stops container',
  undo: (lines, context, name) => lines.unstartLines(context, name),
};

/** Without those that are to stay down, which are told; one that is not there is left to the start. */
async function wantedAtBoot({ roots }: Context, names: readonly string[]): Promise<string[]> {
  const wanted: string[] = [];
  for (const name of names) {
    const spec = await findContainer(roots, parseContainerName(name));
    const isStopped =
      spec?.restart?.policy === 'unless-stopped' && readRun(containerPaths(roots, name).exit)?.isStopped;
    if (isStopped) reportNote(`${name} was stopped by hand, and is left down`);
    else wanted.push(name);
  }
  return wanted;
}

export const define: Define = (command, globals) => {
  addDryRun(command.argument('<name...>'))
    .option('--boot', 'as at boot: what has --restart unless-stopped and was stopped by hand is left down')
    .action(async (rawNames: string[], options: DryRunOptions & { boot?: true }) => {
      requireRoot('start');
      const context = contextFrom(globals());
      const names = options.boot ? await wantedAtBoot(context, rawNames) : rawNames;
      if (await dryRun(context, options, names, START)) return;
      const instance = ensureState(context.roots);
      await eachName(names, async (name) => {
        await startContainer(context, instance, parseContainerName(name));
        return name;
      });
    });
};
