/** minict diff NAME */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { parseContainerName } from '../spec/name.ts';
import { printChanges } from './changes.ts';
import { requireFormat } from './output.ts';
import type { Define } from './verbs.ts';

export const define: Define = (command, globals) => {
  command
    .argument('<name>')
    .option('--format <format>', 'table or json', 'table')
    .action(async (rawName: string, { format }: { format: string }) => {
      requireRoot('diff');
      requireFormat(format);
      const { diffContainer } = await import('../lifecycle/diff.ts');
      printChanges(await diffContainer(contextFrom(globals()), parseContainerName(rawName)), format);
    });
};
