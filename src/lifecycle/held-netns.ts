/**
 * A network namespace whose file was removed by hand, and that processes are in: their end would be that of a network card in
 * it, before anybody could take it out. It gets its file back first.
 */
import { closeSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { processesIn } from '../cgroup/processes.ts';
import { identityOf } from '../runner/identity.ts';
import { Journal } from '../runner/journal.ts';
import { runTool } from '../runner/spawn.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { containerPaths } from '../state/paths.ts';
import { type Context, spawnContext } from './context.ts';
import { cgroupOf } from './status.ts';

/** Nothing there, or the empty file that an unmount leaves. */
function isBare(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined || (stat.isFile() && stat.size === 0 && stat.dev === statSync(dirname(path)).dev);
}

export async function keepNetns(context: Context, instance: string, { name, nics }: ContainerSpec): Promise<void> {
  if (!nics.some(({ kind }) => kind === 'phys')) return;
  const { netns, journal } = containerPaths(context.roots, name);
  const recorded = new Journal(journal).salvage()?.identities.get('netns')?.[netns];
  if (recorded === undefined || !isBare(netns)) return;
  const isIn = (pid: number) => identityOf({ kind: 'nsfile', name: `/proc/${pid}/ns/net` }) === recorded;
  const pid = processesIn(cgroupOf(instance, name).payload).find(isIn);
  if (pid === undefined) return;
  closeSync(openSync(netns, 'a', 0o444));
  await runTool(['mount', '--bind', `/proc/${pid}/ns/net`, netns], spawnContext(context));
}
