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
import { ensureState, getContainer } from '../state/store.ts';
import { print } from './output.ts';
import type { Define } from './verbs.ts';

/** Follows the main command of one that runs; sets the exit status. Throws NotFoundError, ConflictError. */
export async function attachTo(context: Context, instance: string, name: string, handsOn: boolean): Promise<void> {
  const spec = await getContainer(context.roots, name);
  requireMain(spec);
  if (hasEnded(context, instance, name)) {
    throw new ConflictError(`cannot attach to ${name}: its main command does not run`, {
      hint: `minict start -a ${name}`,
    });
  }
  if (handsOn) handOnSignals(false, () => runningMain(cgroupOf(instance, name)));
  const { readLog } = await import('../lifecycle/read-log.ts');
  let isRead = true;
  const query = { tail: 0, isOver: () => !isRead || hasEnded(context, instance, name) };
  const follow = readLog(containerPaths(context.roots, name), spec.log?.timestamps === true, query, (bytes) => {
    isRead &&= print(bytes);
  });
  const [status] = await Promise.all([awaitMain(context, instance, name), follow]);
  process.exitCode = status;
}

export const define: Define = (command, globals) => {
  command
    .argument('<name>')
    .choice('--sig-proxy <whether>', 'HUP, INT, QUIT and TERM are for the program', ['true', 'false'], 'true')
    .action(async (name: string, options: { sigProxy: 'true' | 'false' }) => {
      requireRoot('attach');
      const context = contextFrom(globals());
      const instance = ensureState(context.roots);
      await attachTo(context, instance, parseContainerName(name), options.sigProxy === 'true');
    });
};
