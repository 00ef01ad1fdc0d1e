/** minict diff NAME */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { parseContainerName } from '../spec/name.ts';
import { print, requireFormat } from './output.ts';
import type { Define } from './program.ts';
import { oneLine } from './report.ts';

export const define: Define = (command, globals) => {
  command
    .argument('<name>')
    .option('--format <format>', 'table or json', 'table')
    .action(async (rawName: string, { format }: { format: string }) => {
      requireRoot('diff');
      requireFormat(format);
      const { diffContainer } = await import('../lifecycle/diff.ts');
      const changes = (await diffContainer(contextFrom(globals()), parseContainerName(rawName))).map((change) => ({
        kind: change.kind,
        path: Buffer.from(change.path, 'latin1').toString(),
      }));
      if (format === 'json') print(`${JSON.stringify(changes)}\n`);
      else print(changes.map(({ kind, path }) => `${kind} ${oneLine(path)}\n`).join(''));
    });
};
