/** minict network reload */
import { reload } from '../lifecycle/reload.ts';
import type { DefineNetworkVerb } from './network-scripts.ts';
import { print } from './output.ts';
import { reportError } from './report.ts';

export const define: DefineNetworkVerb = (command, { begin, look }) => {
  command
    .option('--dry-run', 'print what it would do as a shell script, and change nothing')
    .action(async (options: { dryRun?: boolean }) => {
      if (options.dryRun) {
        const { reloadScript } = await import('../lifecycle/dry-run-network.ts');
        print(await reloadScript(look('reload')));
        return;
      }
      const begun = await begin('reload');
      if (begun === undefined) return;
      const lines = reload(begun.context, begun.instance, (error) => {
        process.exitCode = reportError(error);
      });
      for await (const line of lines) print(`${line}\n`);
    });
};
