/** minict create */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { addContainerOptions, type ContainerOptions, makeContainer } from './container-options.ts';
import { addDryRun, creation, type DryRunOptions, dryRun } from './dry-run.ts';
import { print } from './output.ts';
import type { Define } from './verbs.ts';

export const define: Define = (command, globals) => {
  addDryRun(addContainerOptions(command))
    .argument('<name>')
    .endOptionsAtCommand()
    .argument('[cmd...]', 'main command, with its options')
    .action(async (name: string, cmd: string[], options: ContainerOptions & DryRunOptions) => {
      requireRoot('create');
      const context = contextFrom(globals());
      if (await dryRun(context, options, [name], creation(options, { words: cmd, fallback: [] }, undefined))) return;
      await makeContainer(context, name, options, { words: cmd, fallback: [] }, ({ spec }) => print(`${spec.name}\n`));
    });
};
