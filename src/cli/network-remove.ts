/** minict network rm|prune */
import { unusedNetworks } from '../lifecycle/network-view.ts';
import { deleteNetwork } from '../lifecycle/networks.ts';
import { parseNetworkName } from '../spec/name.ts';
import { addDryRun, type DryRunOptions } from './dry-run.ts';
import { type DefineNetworkVerb, scripts } from './network-scripts.ts';
import { eachName } from './report.ts';

export const rm: DefineNetworkVerb = (command, { begin }) => {
  addDryRun(command).action(async (names: string[], options: DryRunOptions) => {
    const printed = scripts(
      'removes network',
      'makes network',
      (lines, context, name) => lines.removeNetworkLines(context, parseNetworkName(name)),
      (lines, context, name) => lines.recreateNetworkLines(context, parseNetworkName(name)),
      'go on',
    );
    const begun = await begin('rm', options, names, printed);
    if (begun === undefined) return;
    await eachName(names, async (name) => {
      await deleteNetwork(begun.context, begun.instance, parseNetworkName(name));
      return name;
    });
  });
};

export const prune: DefineNetworkVerb = (command, { begin }) => {
  command
    .option('--dry-run', 'only list them')
    .option('-f, --force', 'for scripts that docker would ask; minict never does')
    .action(async (options: { dryRun?: boolean }) => {
      const begun = await begin('prune');
      if (begun === undefined) return;
      await eachName(await unusedNetworks(begun.context), async (name) => {
        if (!options.dryRun) await deleteNetwork(begun.context, begun.instance, name);
        return name;
      });
    });
};
