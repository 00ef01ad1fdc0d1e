/** minict stop */
import { letGo } from '../cgroup/freeze.ts';
import { InvalidInputError } from '../errors.ts';
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import { runStopCommands } from '../lifecycle/services.ts';
import { cgroupOf, isRunning } from '../lifecycle/status.ts';
import { type StopOptions, stopContainer } from '../lifecycle/stop.ts';
import { parseContainerName } from '../spec/name.ts';
import { ensureState, getContainer } from '../state/store.ts';
import { addDryRun, type DryRunOptions, dryRun, type Scripts } from './dry-run.ts';
import { eachName, reportFailure } from './report.ts';
import type { Define } from './verbs.ts';

export function parseGrace(text: string): number {
  const seconds = Number(text);
  if (!Number.isFinite(seconds) || seconds < 0 || text.trim() === '') {
    throw new InvalidInputError(`cannot use -t '${text}': not a number of seconds`);
  }
  return seconds * 1000;
}

export async function stopByName(
  context: Context,
  instance: string,
  rawName: string,
  graceMs: number,
  options: StopOptions = {},
): Promise<void> {
  const name = parseContainerName(rawName);
  const spec = await getContainer(context.roots, name);
  if (spec.stopCommands.length > 0 && isRunning(instance, name)) {
    letGo(cgroupOf(instance, name).payload);
    for (const failure of await runStopCommands(context, instance, spec)) reportFailure(failure);
  }
  await stopContainer(context, instance, name, graceMs, options);
  if (!spec.autoRemove || options.keep) return;
  const { removeOnceEnded } = await import('../lifecycle/once-ended.ts');
  const { errors } = await removeOnceEnded(context, instance, name, spec.createdAt);
  if (errors.length > 0) throw errors[0];
}

function stopping(graceMs: number): Scripts {
  return {
    does: 'stops container',
    run: (lines, context, name) => lines.stopLines(context, name, graceMs),
    onFailure: 'go on',
    undoes: 'starts container',
    undo: (lines, context, name) => lines.unstopLines(context, name),
  };
}

export const define: Define = (command, globals) => {
  addDryRun(command)
    .argument('<name...>')
    .option('-t, --time <seconds>', 'grace before KILL', '10')
    .optionsGroup('For units of systemd:')
    .option('--shutdown', 'as at the end of the host: with --restart unless-stopped it comes back at boot')
    .action(async (names: string[], options: DryRunOptions & { time: string; shutdown?: true }) => {
      requireRoot('stop');
      const context = contextFrom(globals());
      const graceMs = parseGrace(options.time);
      if (await dryRun(context, options, names, stopping(graceMs))) return;
      const instance = ensureState(context.roots);
      await eachName(names, async (name) => {
        await stopByName(context, instance, name, graceMs, { byHand: !options.shutdown });
        return name;
      });
    });
};
