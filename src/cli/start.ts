/** minict start */
import { InvalidInputError } from '../errors.ts';
import { isTerminal } from '../host/exec-calls.ts';
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import { requireMain } from '../lifecycle/main-command.ts';
import { startContainer } from '../lifecycle/start.ts';
import { parseContainerName } from '../spec/name.ts';
import { containerPaths } from '../state/paths.ts';
import { readRun } from '../state/run-record.ts';
import { ensureState, findContainer, getContainer } from '../state/store.ts';
import { addDryRun, type DryRunOptions, dryRun, type Scripts } from './dry-run.ts';
import { eachName, reportNote } from './report.ts';
import type { Define } from './verbs.ts';

interface StartOptions extends DryRunOptions {
  readonly attach?: true;
  readonly interactive?: true;
  readonly boot?: true;
}

const startScripts = (main: 'attached' | 'detached'): Scripts => ({
  does: 'starts container',
  run: (lines, context, name) => lines.startLines(context, name, main),
  onFailure: 'stop',
  undoes: 'stops container',
  undo: (lines, context, name) => lines.unstartLines(context, name),
});

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

/** Throws InvalidInputError. */
function refuseSeveral(names: readonly string[], { boot }: StartOptions): void {
  const [what, hint] = boot
    ? ['at boot', 'leave out --boot']
    : [`with ${names.length} containers`, 'start them, then minict attach one of them'];
  if (boot || names.length > 1) throw new InvalidInputError(`cannot stay ${what}: -a is for one container`, { hint });
}

/** To the end of its main command, which may be running already. */
async function startAttached(context: Context, name: string, stdin: boolean): Promise<void> {
  const instance = ensureState(context.roots);
  const spec = await getContainer(context.roots, name);
  requireMain(spec);
  const terminal = isTerminal(0);
  const { follow } = await import('./attach.ts');
  // What is started again has no caller's terminal. Its log is looked at before, so that no first word is missed.
  if (spec.restart !== undefined) {
    await follow(context, instance, name, true, async () => {
      await startContainer(context, instance, name);
    });
    return;
  }
  const attend = await startContainer(context, instance, name, { attachment: { terminal, stdin: terminal || stdin } });
  if (attend !== undefined) process.exitCode = await attend();
  // One that ran a moment ago; it may have ended since.
  else await follow(context, instance, name, true);
}

export const define: Define = (command, globals) => {
  addDryRun(command.argument('<name...>'))
    .option('-a, --attach', 'stay with the main command, which has this terminal')
    .option('-i, --interactive', 'pass stdin on; -a too')
    .optionsGroup('For units of systemd:')
    .option('--boot', 'as at boot: what has --restart unless-stopped and was stopped by hand is left down')
    .action(async (rawNames: string[], options: StartOptions) => {
      requireRoot('start');
      const context = contextFrom(globals());
      const isAttached = options.attach || options.interactive;
      if (isAttached) refuseSeveral(rawNames, options);
      const names = options.boot ? await wantedAtBoot(context, rawNames) : rawNames;
      if (await dryRun(context, options, names, startScripts(isAttached ? 'attached' : 'detached'))) return;
      if (isAttached) return startAttached(context, parseContainerName(names[0] ?? ''), options.interactive === true);
      const instance = ensureState(context.roots);
      await eachName(names, async (name) => {
        await startContainer(context, instance, parseContainerName(name));
        return name;
      });
    });
};
