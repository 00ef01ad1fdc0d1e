/** minict snapshot create|ls|diff|rollback|rm */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { createSnapshot, removeSnapshot, rollBack } from '../lifecycle/snapshots.ts';
import { parseContainerName, parseSnapshotName } from '../spec/name.ts';
import { ensureState, getContainer } from '../state/store.ts';
import { printChanges } from './changes.ts';
import { print, requireFormat, table } from './output.ts';
import { eachName } from './report.ts';
import { parseGrace } from './stop.ts';
import type { Define } from './verbs.ts';

export const define: Define = (command, globals) => {
  const begin = (verb: string) => {
    requireRoot(`snapshot ${verb}`);
    const context = contextFrom(globals());
    return { context, instance: ensureState(context.roots) };
  };
  command
    .command('create <name> <snapshot>', { isDefault: true })
    .description('keep the files as they are; at once where the container is stopped, as a copy where it is up')
    .action(async (name: string, snapshot: string) => {
      const { context, instance } = begin('create');
      await createSnapshot(context, instance, parseContainerName(name), parseSnapshotName(snapshot));
      print(`${snapshot}\n`);
    });
  command
    .command('ls <name>')
    .alias('list')
    .description('list the snapshots of a container')
    .option('-q, --quiet', 'names only')
    .option('--format <format>', 'table or json', 'table')
    .action(async (name: string, { quiet, format }: { quiet?: boolean; format: string }) => {
      const { context } = begin('ls');
      requireFormat(format);
      const { snapshots = [] } = await getContainer(context.roots, parseContainerName(name));
      if (format === 'json') print(`${JSON.stringify(snapshots)}\n`);
      else if (quiet) print(snapshots.map((snapshot) => `${snapshot.name}\n`).join(''));
      else {
        const rows = snapshots.map(({ name: snapshot, createdAt, image = '' }) => {
          return [snapshot, createdAt.slice(0, 19).replace('T', ' '), image];
        });
        print(table([['NAME', 'CREATED', 'IMAGE'], ...rows]));
      }
    });
  command
    .command('diff <name> <snapshot> [to]')
    .description('what became of the files of then, until another snapshot or until now')
    .option('--format <format>', 'table or json', 'table')
    .action(async (name: string, snapshot: string, to: string | undefined, { format }: { format: string }) => {
      const { context } = begin('diff');
      requireFormat(format);
      const { diffSnapshot } = await import('../lifecycle/diff.ts');
      printChanges(await diffSnapshot(context, parseContainerName(name), snapshot, to), format);
    });
  command
    .command('rollback <name> <snapshot>')
    .alias('restore')
    .description('go back to the files of then; processes end and are started again, the namespaces stay')
    .option('-t, --time <seconds>', 'grace before KILL', '10')
    .action(async (name: string, snapshot: string, { time }: { time: string }) => {
      const { context, instance } = begin('rollback');
      await rollBack(context, instance, parseContainerName(name), snapshot, parseGrace(time));
      print(`${name}\n`);
    });
  command
    .command('rm <name> <snapshot...>')
    .description('forget snapshots; their files go with the last who has them')
    .action(async (name: string, snapshots: string[]) => {
      const { context } = begin('rm');
      await eachName(snapshots, async (snapshot) => {
        await removeSnapshot(context, parseContainerName(name), snapshot);
        return snapshot;
      });
    });
};
