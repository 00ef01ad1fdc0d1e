/** minict volume ls|create|rm|inspect|prune, with docker's words. */
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import { createVolume, pruneVolumes, removeVolume, volumeUsers } from '../lifecycle/volumes.ts';
import { parseVolumeName } from '../spec/volume.ts';
import { ensureState } from '../state/store.ts';
import { findVolume, getVolume, type Volume, volumeNames } from '../storage/volume.ts';
import { BOOLEANS, type Filters, matching, oneOf, parseFilters } from './filter.ts';
import { print, requireFormat, table } from './output.ts';
import { eachName, reportError } from './report.ts';
import type { Define } from './verbs.ts';

interface Row {
  readonly name: string;
  readonly mountpoint: string;
  readonly createdAt: string;
  readonly usedBy: readonly string[];
}

interface LsOptions {
  readonly quiet?: boolean;
  readonly format: string;
  readonly filter: readonly string[];
}

const FILTERS: Filters<Row> = {
  name: matching((row) => row.name),
  dangling: oneOf(BOOLEANS, (row) => String(row.usedBy.length === 0)),
};

function rowOf({ name, data, createdAt }: Volume, users: ReadonlyMap<string, readonly string[]>): Row {
  return { name, mountpoint: data, createdAt, usedBy: users.get(name) ?? [] };
}

async function list(context: Context, options: LsOptions): Promise<void> {
  requireFormat(options.format);
  const matches = parseFilters(options.filter, FILTERS);
  const users = await volumeUsers(context);
  const rows: Row[] = [];
  for (const name of volumeNames(context.roots)) {
    try {
      const volume = await findVolume(context.roots, name);
      if (volume !== undefined) rows.push(rowOf(volume, users));
    } catch (error) {
      process.exitCode = reportError(error);
    }
  }
  const shown = rows.filter(matches);
  if (options.format === 'json') print(`${JSON.stringify(shown)}\n`);
  else if (options.quiet) print(shown.map(({ name }) => `${name}\n`).join(''));
  else print(table([['NAME', 'USED BY'], ...shown.map(({ name, usedBy }) => [name, usedBy.join(', ')])]));
}

async function inspect(context: Context, names: readonly string[]): Promise<void> {
  const users = await volumeUsers(context);
  const found: Row[] = [];
  for (const name of names) {
    try {
      found.push(rowOf(await getVolume(context.roots, parseVolumeName(name)), users));
    } catch (error) {
      process.exitCode = reportError(error);
    }
  }
  print(`${JSON.stringify(found, null, 2)}\n`);
}

export const define: Define = (command, globals) => {
  command
    .command('ls')
    .alias('list')
    .description('list named volumes')
    .option('-q, --quiet', 'names only')
    .option('--format <format>', 'table or json', 'table')
    .repeatable('-f, --filter <K=V>', 'those of that name, or dangling=true|false: that no container uses')
    .action(async (options: LsOptions) => {
      requireRoot('volume ls');
      await list(contextFrom(globals()), options);
    });
  command
    .command('create <name>')
    .description('make an empty volume; one that is there stays as it is')
    .action(async (name: string) => {
      requireRoot('volume create');
      const context = contextFrom(globals());
      const valid = parseVolumeName(name);
      ensureState(context.roots);
      await createVolume(context, valid);
      print(`${valid}\n`);
    });
  command
    .command('rm <name...>')
    .description('remove volumes that no container uses, with their files')
    .action(async (names: string[]) => {
      requireRoot('volume rm');
      const context = contextFrom(globals());
      ensureState(context.roots);
      await eachName(names, async (name) => {
        await removeVolume(context, parseVolumeName(name));
        return name;
      });
    });
  command
    .command('inspect <name...>')
    .description('all that is known of volumes, as JSON')
    .action(async (names: string[]) => {
      requireRoot('volume inspect');
      await inspect(contextFrom(globals()), names);
    });
  command
    .command('prune')
    .description('remove all volumes that no container uses, with their files')
    .option('--dry-run', 'only list them')
    .option('-f, --force', 'for scripts that docker would ask; minict never does')
    .action(async (options: { dryRun?: boolean }) => {
      requireRoot('volume prune');
      const context = contextFrom(globals());
      ensureState(context.roots);
      const { names, errors } = await pruneVolumes(context, options.dryRun ?? false);
      print(names.map((name) => `${name}\n`).join(''));
      for (const error of errors) process.exitCode = reportError(error);
    });
};
