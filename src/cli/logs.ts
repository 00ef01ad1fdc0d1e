/** minict logs: what services and the main command wrote. */

import { ConflictError, InvalidInputError } from '../errors.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { isOver } from '../lifecycle/main-command.ts';
import { isRunning } from '../lifecycle/status.ts';
import { parseContainerName } from '../spec/name.ts';
import { containerPaths } from '../state/paths.ts';
import { ensureState, getContainer } from '../state/store.ts';
import type { Define } from './verbs.ts';

interface LogsOptions {
  readonly follow?: boolean;
  readonly tail: string;
  readonly since?: string;
  readonly until?: string;
  readonly timestamps?: boolean;
}

export const define: Define = (command, globals) => {
  command
    .argument('<name>')
    .option('-f, --follow', 'go on as it grows, until the main command, or the last program, ends')
    .option('-n, --tail <lines>', 'only the last lines', 'all')
    .option('--since <time>', 'lines of the last 5m, or since 2026-01-31T12:00:00Z')
    .option('--until <time>', 'lines until then')
    .option('-t, --timestamps', 'with the time of each line')
    .action(async (rawName: string, options: LogsOptions) => {
      requireRoot('logs');
      const context = contextFrom(globals());
      const name = parseContainerName(rawName);
      const { tail, follow, since, until, timestamps } = options;
      if (tail !== 'all' && !/^\d+$/.test(tail)) {
        throw new InvalidInputError(`cannot use --tail '${tail}': not a number of lines`);
      }
      const { parseTimeMs } = await import('../spec/time.ts');
      const timeOf = (text: string | undefined, option: string) =>
        text === undefined ? undefined : parseTimeMs(text, option, Date.now());
      const [sinceMs, untilMs] = [timeOf(since, '--since'), timeOf(until, '--until')];
      const spec = await getContainer(context.roots, name);
      const isStamped = spec.log?.timestamps === true;
      const [option] = Object.entries({ since, until, timestamps }).find(([, value]) => value !== undefined) ?? [];
      if (option !== undefined && !isStamped) {
        throw new ConflictError(`cannot use --${option}: the log of ${name} has no times`, {
          hint: 'make the container with --log-timestamps',
        });
      }
      const instance = ensureState(context.roots);
      const { readLog } = await import('../lifecycle/read-log.ts');
      const { print } = await import('./output.ts');
      // Without a main command services may write.
      const isNoMore = () => (spec.command.length > 0 ? isOver(context, instance, name) : !isRunning(instance, name));
      const query = {
        ...{ tail: tail === 'all' ? undefined : Number(tail), sinceMs, untilMs, timestamps },
        ...(follow ? { isOver: isNoMore } : {}),
      };
      await readLog(containerPaths(context.roots, name), isStamped, query, print);
    });
};
