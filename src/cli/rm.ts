/** minict rm */
import { contextFrom, requireRoot, useState } from '../lifecycle/context.ts';
import { removeContainers } from '../lifecycle/stop.ts';
import { parseContainerName } from '../spec/name.ts';
import { listContainers } from '../state/store.ts';
import type { Define } from './main.ts';
import { reportError } from './report.ts';

export const define: Define = (command, globals) => {
  command
    .argument('<name...>')
    .option('-f, --force', 'end its processes first')
    .action(async (rawNames: string[], options: { force?: boolean }) => {
      requireRoot('rm');
      const context = contextFrom(globals());
      const instance = useState(context);
      const names = rawNames.map(parseContainerName);
      const before = new Set(listContainers(context.roots));
      const errors = await removeContainers(context, instance, names, options.force ?? false);
      const after = new Set(listContainers(context.roots));
      for (const name of names) if (before.has(name) && !after.has(name)) process.stdout.write(`${name}\n`);
      for (const error of errors) process.exitCode = reportError(error);
    });
};
