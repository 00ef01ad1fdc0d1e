/** minict ps */
import { InvalidInputError } from '../errors.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { readStatus } from '../lifecycle/status.ts';
import { getContainer, listContainers, readInstance } from '../state/store.ts';
import type { Define } from './main.ts';
import { reportError, table } from './report.ts';

export const define: Define = (command, globals) => {
  command
    .option('-a, --all', 'stopped ones too')
    .option('-q, --quiet', 'names only')
    .option('--format <format>', 'table or json', 'table')
    .action((options: { all?: boolean; quiet?: boolean; format: string }) => {
      requireRoot('ps');
      if (!['table', 'json'].includes(options.format)) {
        throw new InvalidInputError(`cannot use --format ${options.format}: table or json`);
      }
      const context = contextFrom(globals());
      const instance = readInstance(context.roots) ?? '';
      const rows = listContainers(context.roots).flatMap((name) => {
        try {
          const spec = getContainer(context.roots, name);
          const { state, missing, exitCode } = readStatus(context, instance, spec);
          const image = spec.image ?? spec.inPlace ?? '';
          return [{ name, state, missing, exitCode, image, address: spec.nic?.address ?? '' }];
        } catch (error) {
          process.exitCode = reportError(error);
          return [];
        }
      });
      const shown = rows.filter((row) => options.all || row.state !== 'stopped');
      if (options.format === 'json') process.stdout.write(`${JSON.stringify(shown)}\n`);
      else if (options.quiet) process.stdout.write(shown.map((row) => `${row.name}\n`).join(''));
      else {
        const body = shown.map((row) => [
          row.name,
          row.missing.length > 0 ? `${row.state} (missing: ${row.missing.join(', ')})` : row.state,
          row.image,
          row.address,
        ]);
        process.stdout.write(table([['NAME', 'STATUS', 'IMAGE', 'ADDRESS'], ...body]));
      }
    });
};
