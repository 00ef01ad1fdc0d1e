/** minict system doctor|prune, and systemd's units */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { prune } from '../lifecycle/prune.ts';
import { ensureState, readInstance } from '../state/store.ts';
import { print } from './output.ts';
import { reportError } from './report.ts';
import { defineUnits } from './units.ts';
import type { Define } from './verbs.ts';

export const define: Define = (command, globals) => {
  defineUnits(command, globals);
  command
    .command('doctor')
    .description('check the host, with the command that mends what is wrong')
    .option('--format <format>', 'table or json', 'table')
    .action(async (options: { format: string }) => (await import('./doctor.ts')).doctor(globals(), options.format));
  command
    .command('prune')
    .description("remove minict's own leftovers, and the default network where no container is in it")
    .option('--dry-run', 'only list them')
    .option('-f, --force', 'for scripts that docker would ask; minict never does')
    .action(async (options: { dryRun?: boolean }) => {
      requireRoot('system prune');
      const context = contextFrom(globals());
      const dryRun = options.dryRun ?? false;
      // A dry run makes no state folder; without an instance there is nothing that could be its own.
      const instance = dryRun ? readInstance(context.roots) : ensureState(context.roots, { takeOver: true });
      if (instance === undefined) return;
      const { found, errors } = await prune(context, instance, dryRun);
      print(found.map((line) => `${line}\n`).join(''));
      for (const error of errors) process.exitCode = reportError(error);
    });
};
