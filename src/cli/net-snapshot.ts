/** minict net snapshot create|ls|diff|rollback|rm, with the words of `minict snapshot`; diff and rollback under `net`, too. */

import { isTerminal } from '../host/exec-calls.ts';
import { contextFrom, type GlobalOptions, requireRoot } from '../lifecycle/context.ts';
import { rollBackNet, rollBackNetSteps } from '../lifecycle/net-rollback.ts';
import { createNetSnapshot, diffNet, forgetNetSnapshot } from '../lifecycle/net-snapshots.ts';
import { runLines, script } from '../plan/shell.ts';
import { parseContainerName, parseSnapshotName } from '../spec/name.ts';
import { listNetSnapshots } from '../state/net-snapshots.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer } from '../state/store.ts';
import { print, requireFormat, table } from './output.ts';
import { eachName } from './report.ts';
import type { VerbCommand } from './verb-command.ts';

function defineDiff(group: VerbCommand, globals: () => GlobalOptions): void {
  group
    .command('diff <name> <snapshot> [to]')
    .description('what became of the network of then, until another snapshot or until now; status 1 where it differs')
    .action(async (name: string, snapshot: string, to: string | undefined) => {
      requireRoot('net diff');
      const colour = isTerminal(1) && !process.env.NO_COLOR;
      const names = [snapshot, ...(to === undefined ? [] : [to])].map(parseSnapshotName);
      const [from = '', until] = names;
      const diff = await diffNet(contextFrom(globals()), parseContainerName(name), from, until, colour);
      print(diff);
      if (diff !== '') process.exitCode = 1;
    });
}

function defineRollback(group: VerbCommand, globals: () => GlobalOptions): void {
  group
    .command('rollback <name> <snapshot>')
    .alias('restore')
    .description('go back to the network of then; what is the same stays as it is')
    .option('--dry-run', 'print what it would do at first as a shell script, and change nothing')
    .action(async (rawName: string, rawSnapshot: string, { dryRun }: { dryRun?: boolean }) => {
      requireRoot('net rollback');
      const context = contextFrom(globals());
      const [name, snapshot] = [parseContainerName(rawName), parseSnapshotName(rawSnapshot)];
      if (dryRun) {
        const lines = runLines(await rollBackNetSteps(context, name, snapshot));
        print(script(`rolls the network of ${name} back to ${snapshot}, as minict would`, 'go on', lines));
        return;
      }
      await rollBackNet(context, name, snapshot);
      print(`${name}\n`);
    });
}

function defineGroup(group: VerbCommand, globals: () => GlobalOptions): void {
  group
    .command('create <name> <snapshot>', { isDefault: true })
    .description('keep the network as it is: links, addresses, routes, rules, nft, tc, sysctls, … as text files')
    .action(async (name: string, snapshot: string) => {
      requireRoot('net snapshot create');
      await createNetSnapshot(contextFrom(globals()), parseContainerName(name), parseSnapshotName(snapshot));
      print(`${snapshot}\n`);
    });
  group
    .command('ls <name>')
    .alias('list')
    .description('list the network snapshots of a container')
    .option('-q, --quiet', 'names only')
    .option('--format <format>', 'table or json', 'table')
    .action(async (rawName: string, { quiet, format }: { quiet?: boolean; format: string }) => {
      requireRoot('net snapshot ls');
      requireFormat(format);
      const { roots } = contextFrom(globals());
      const name = parseContainerName(rawName);
      await getContainer(roots, name);
      const snapshots = listNetSnapshots(containerPaths(roots, name));
      if (format === 'json') print(`${JSON.stringify(snapshots)}\n`);
      else if (quiet) print(snapshots.map((snapshot) => `${snapshot.name}\n`).join(''));
      else {
        const rows = snapshots.map(({ name, createdAt }) => [name, createdAt.slice(0, 19).replace('T', ' ')]);
        print(table([['NAME', 'CREATED'], ...rows]));
      }
    });
  group
    .command('rm <name> <snapshot...>')
    .description('forget network snapshots')
    .action(async (name: string, snapshots: string[]) => {
      requireRoot('net snapshot rm');
      const context = contextFrom(globals());
      const container = parseContainerName(name);
      await eachName(snapshots, async (snapshot) => {
        await forgetNetSnapshot(context, container, parseSnapshotName(snapshot));
        return snapshot;
      });
    });
  defineDiff(group, globals);
  defineRollback(group, globals);
}

export function defineNetSnapshot(net: VerbCommand, globals: () => GlobalOptions): void {
  defineDiff(net, globals);
  defineRollback(net, globals);
  const group = net
    .command('snapshot')
    .description("a container's network at some time: create, ls, diff, rollback, rm");
  defineGroup(group, globals);
}
