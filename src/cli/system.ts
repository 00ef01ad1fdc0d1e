/** minict system prune */
import { recover } from '../lifecycle/bring-up.ts';
import { contextFrom, requireRoot, useState } from '../lifecycle/context.ts';
import { DEFAULT_NETWORK, pruneNetwork } from '../lifecycle/network.ts';
import { containerPaths } from '../state/paths.ts';
import { containerFolders, listContainers, lockContainer } from '../state/store.ts';
import type { Define } from './main.ts';

export const define: Define = (command, globals) => {
  command
    .command('prune')
    .description("remove minict's own leftovers, and the default network where no container is in it")
    .option('--dry-run', 'only list them')
    .action(async (options: { dryRun?: boolean }) => {
      requireRoot('system prune');
      const context = contextFrom(globals());
      useState(context);
      const whole = new Set(listContainers(context.roots));
      for (const name of containerFolders(context.roots).filter((folder) => !whole.has(folder))) {
        if (!options.dryRun) {
          const lock = lockContainer(context.roots, name, 'exclusive');
          await recover(context, name, lock.fd);
          lock.release();
        }
        process.stdout.write(`container ${name} (${containerPaths(context.roots, name).dir})\n`);
      }
      if (await pruneNetwork(context, options.dryRun ?? false)) process.stdout.write(`network ${DEFAULT_NETWORK}\n`);
    });
};
