/** minict attach: what the main command writes from now on, and its end. */
import { ConflictError } from '../errors.ts';
import { awaitMain } from '../lifecycle/await-main.ts';
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import { isOver, requireMain } from '../lifecycle/main-command.ts';
import { runningMain } from '../lifecycle/main-process.ts';
import { cgroupOf } from '../lifecycle/status.ts';
import { handOnSignals } from '../process/supervisor.ts';
import { parseContainerName } from '../spec/name.ts';
import { containerPaths } from '../state/paths.ts';
import { type RunRecord, readRun } from '../state/run-record.ts';
import { ensureState, getContainer } from '../state/store.ts';
import { print } from './output.ts';
import type { Define } from './verbs.ts';

/**
 * Follows the main command of one that runs, over the starts of a restart policy, unless a signal was handed on: then to its next
 * end, or nobody could leave it. Sets the exit status. Throws NotFoundError, ConflictError.
 */
export async function attachTo(context: Context, instance: string, name: string, handsOn: boolean): Promise<void> {
  requireMain(await getContainer(context.roots, name));
  if (isOver(context, instance, name)) {
    throw new ConflictError(`cannot attach to ${name}: its main command does not run`, {
      hint: `minict start -a ${name}`,
    });
  }
  await follow(context, instance, name, handsOn);
}

/** The same; where it is to be started first, `begin` does that, and its signals are its own. Throws what that throws, too. */
export async function follow(
  context: Context,
  instance: string,
  name: string,
  handsOn: boolean,
  begin?: () => Promise<void>,
): Promise<void> {
  const spec = await getContainer(context.roots, name);
  const { readLog } = await import('../lifecycle/read-log.ts');
  const paths = containerPaths(context.roots, name);
  let atSignal: RunRecord | undefined;
  const handOn = () =>
    handOnSignals(false, () => {
      atSignal ??= readRun(paths.exit);
      return runningMain(cgroupOf(instance, name));
    });
  const isEnough = ({ isRestarting, restarts }: RunRecord) =>
    atSignal !== undefined && (isRestarting === true || restarts > atSignal.restarts);
  if (handsOn && begin === undefined) handOn();
  let isEnded = false;
  let isLeft = false;
  const query = { tail: 0, isOver: () => isEnded };
  // Where who read it has gone (`| head`) nobody waits for the program's end.
  const reading = readLog(paths, spec.log?.timestamps === true, query, print).finally(() => {
    isLeft = !isEnded;
  });
  const end = async () => {
    try {
      await begin?.();
      if (handsOn && begin !== undefined) handOn();
      return await awaitMain(context, instance, name, { isEnough, isLeft: () => isLeft });
    } finally {
      isEnded = true;
    }
  };
  const [status = 0] = await Promise.all([end(), reading]);
  process.exitCode = status;
}

export const define: Define = (command, globals) => {
  command
    .argument('<name>')
    .choice(
      '--sig-proxy <whether>',
      'HUP, INT, QUIT and TERM are for the program; if false, Ctrl-C leaves it running',
      ['true', 'false'],
      'true',
    )
    .action(async (name: string, options: { sigProxy: 'true' | 'false' }) => {
      requireRoot('attach');
      const context = contextFrom(globals());
      const instance = ensureState(context.roots);
      await attachTo(context, instance, parseContainerName(name), options.sigProxy === 'true');
    });
};
