/** minict logs: what services and the main command wrote; becomes the host's own tail. */
import { existsSync } from 'node:fs';
import { processesIn } from '../cgroup/processes.ts';
import { InvalidInputError } from '../errors.ts';
import { restoreForExec } from '../host/syscalls.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { cgroupOf } from '../lifecycle/status.ts';
import { becomeProgram } from '../process/become.ts';
import { parseContainerName } from '../spec/name.ts';
import { containerPaths } from '../state/paths.ts';
import { ensureState, getContainer } from '../state/store.ts';
import type { Define } from './program.ts';

export const define: Define = (command, globals) => {
  command
    .argument('<name>')
    .option('-f, --follow', 'go on as it grows, until the main command ends')
    .option('-n, --tail <lines>', 'only the last lines', 'all')
    .action(async (rawName: string, options: { follow?: boolean; tail: string }) => {
      requireRoot('logs');
      const context = contextFrom(globals());
      const name = parseContainerName(rawName);
      await getContainer(context.roots, name);
      if (options.tail !== 'all' && !/^\d+$/.test(options.tail)) {
        throw new InvalidInputError(`cannot use --tail '${options.tail}': not a number of lines`);
      }
      const { log } = containerPaths(context.roots, name);
      if (!existsSync(log)) return;
      const [supervisor] = processesIn(cgroupOf(ensureState(context.roots), name).supervisor);
      const follow = options.follow && supervisor !== undefined ? ['-f', '-s', '0.2', `--pid=${supervisor}`] : [];
      const from = options.tail === 'all' ? '+1' : options.tail;
      const env = Object.fromEntries(Object.entries(process.env).filter(([, value]) => value !== undefined));
      becomeProgram(['tail', '-n', from, ...follow, '--', log], env as Record<string, string>, [0], restoreForExec);
    });
};
