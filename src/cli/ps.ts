/** minict ps */
import { InvalidInputError } from '../errors.ts';
import { readLinks } from '../host/links.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { readStatus } from '../lifecycle/status.ts';
import { getContainer, listContainers, readInstance } from '../state/store.ts';
import type { Define } from './main.ts';
import { print, table } from './output.ts';
import { reportError } from './report.ts';

export const define: Define = (command, globals) => {
  command
    .option('-a, --all', 'stopped ones too')
    .option('-q, --quiet', 'names only')
    .option('--format <format>', 'table or json', 'table')
    .action(async (options: { all?: boolean; quiet?: boolean; format: string }) => {
      requireRoot('ps');
      if (!['table', 'json'].includes(options.format)) {
        throw new InvalidInputError(`cannot use --format ${options.format}: table or json`);
      }
      const context = contextFrom(globals());
      const instance = readInstance(context.roots) ?? '';
      const names = listContainers(context.roots);
      const links = names.length === 0 ? new Map() : await readLinks();
      const results = await Promise.allSettled(
        names.map(async (name) => {
          const spec = await getContainer(context.roots, name);
          const { state, missing, exitCode } = await readStatus(context, instance, spec, links);
          const image = spec.image ?? spec.inPlace ?? '';
          return { name, state, missing, exitCode, image, address: spec.nic?.address ?? '' };
        }),
      );
      const rows = results.flatMap((result) => {
        if (result.status === 'fulfilled') return [result.value];
        process.exitCode = reportError(result.reason);
        return [];
      });
      const shown = rows.filter((row) => options.all || row.state !== 'stopped');
      if (options.format === 'json') print(`${JSON.stringify(shown)}\n`);
      else if (options.quiet) print(shown.map((row) => `${row.name}\n`).join(''));
      else {
        const body = shown.map((row) => [
          row.name,
          row.missing.length > 0 ? `${row.state} (missing: ${row.missing.join(', ')})` : row.state,
          row.image,
          row.address,
        ]);
        print(table([['NAME', 'STATUS', 'IMAGE', 'ADDRESS'], ...body]));
      }
    });
};
