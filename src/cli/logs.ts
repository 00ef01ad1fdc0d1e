/** minict logs: what the main command wrote, by the host's own tail. */
import { existsSync } from 'node:fs';
import { InvalidInputError } from '../errors.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { parseContainerName } from '../spec/name.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer } from '../state/store.ts';
import type { Define } from './main.ts';

export const define: Define = (command, globals) => {
  command
    .argument('<name>')
    .option('-f, --follow', 'go on as it grows')
    .option('--tail <lines>', 'only the last lines')
    .action(async (rawName: string, options: { follow?: boolean; tail?: string }) => {
      requireRoot('logs');
      const context = contextFrom(globals());
      const name = parseContainerName(rawName);
      await getContainer(context.roots, name);
      if (options.tail !== undefined && !/^\d+$/.test(options.tail)) {
        throw new InvalidInputError(`cannot use --tail '${options.tail}': not a number of lines`);
      }
      const { log } = containerPaths(context.roots, name);
      if (!existsSync(log)) return;
      const from = options.tail === undefined ? '+1' : options.tail;
      const argv = ['tail', '-n', from, ...(options.follow ? ['-f'] : []), '--', log];
      process.exitCode = await Bun.spawn(argv, { stdio: ['ignore', 'inherit', 'inherit'] }).exited;
    });
};
