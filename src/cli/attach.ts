/** minict attach: what the main command writes from now on, and its end. */
import { ConflictError } from '../errors.ts';
import { awaitMain } from '../lifecycle/await-main.ts';
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import { hasEnded, requireMain } from '../lifecycle/main-command.ts';
import { runningMain } from '../lifecycle/main-process.ts';
import { cgroupOf } from '../lifecycle/status.ts';
import { handOnSignals } from '../process/supervisor.ts';
import { parseContainerName } from '../spec/name.ts';
import { containerPaths } from '../state/paths.ts';
import { type RunRecord, readRun } from '../state/run-record.ts';
import { ensureState, getContainer } from '../state/store.ts';
import { print } from './output.ts';
import type { Define } from './verbs.ts';

interface Following {
  /** Signals to this process are for the program. */
  readonly handsOn: boolean;
  /** Starts it, when its output is followed already: a short one may have ended by then. */
  readonly start?: () => Promise<unknown>;
}

/**
 * Follows the main command of one that runs, over the starts of a restart policy, unless a signal was handed on: then to its next
 * end, or nobody could leave it. Sets the exit status. Throws NotFoundError, ConflictError.
 */
export async function attachTo(
  context: Context,
  instance: string,
  name: string,
  { handsOn, start }: Following,
): Promise<void> {
  const spec = await getContainer(context.roots, name);
  requireMain(spec);
  if (start === undefined && hasEnded(context, instance, name)) {
    throw new ConflictError(`cannot attach to ${name}: its main command does not run`, {
      hint: `minict start -a ${name}`,
    });
  }
  const { readLog } = await import('../lifecycle/read-log.ts');
  let isRead = true;
  let isEnded = false;
  const query = { tail: 0, isOver: () => !isRead || isEnded };
  const follow = readLog(containerPaths(context.roots, name), spec.log?.timestamps === true, query, (bytes) => {
    isRead &&= print(bytes);
  });
  const end = (async () => {
    await start?.();
    return await endOf(context, instance, name, handsOn);
  })().finally(() => {
    isEnded = true;
  });
  const [status] = await Promise.all([end, follow]);
  process.exitCode = status;
}

/** The exit status. */
function endOf(context: Context, instance: string, name: string, handsOn: boolean): Promise<number> {
  const record = containerPaths(context.roots, name).exit;
  let atSignal: RunRecord | undefined;
  if (handsOn) {
    handOnSignals(false, () => {
      atSignal ??= readRun(record);
      return runningMain(cgroupOf(instance, name));
    });
  }
  const isEnough = ({ isRestarting, restarts }: RunRecord) =>
    atSignal !== undefined && (isRestarting === true || restarts > atSignal.restarts);
  return awaitMain(context, instance, name, isEnough);
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
      await attachTo(context, instance, parseContainerName(name), { handsOn: options.sigProxy === 'true' });
    });
};
