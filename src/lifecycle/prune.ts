/** system prune: finds what killed commands left, and only what is minict's own; without containers the network too. */
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readMountPoints } from '../host/facts.ts';
import { removeStaleImages } from '../image/store.ts';
import { runTool } from '../runner/spawn.ts';
import { lockContainer, releaseContainer } from '../state/locks.ts';
import { containerPaths, MNTNS_DIR, NETNS_DIR, UTSNS_DIR } from '../state/paths.ts';
import { containerFolders, listContainers } from '../state/store.ts';
import { type Context, spawnContext } from './context.ts';
import { DEFAULT_NETWORK, pruneNetwork } from './network.ts';
import { recover } from './remove.ts';
import { cgroupOf } from './status.ts';

const HIDDEN = /^\./;

/** Half-made or half-removed containers: a folder or a journal without a container.json. */
function leftovers(context: Context): string[] {
  const { runDir } = context.roots;
  const whole = new Set(listContainers(context.roots));
  const journals = existsSync(runDir)
    ? readdirSync(runDir, { withFileTypes: true }).filter((entry) => entry.isDirectory() && !HIDDEN.test(entry.name))
    : [];
  const names = new Set([...containerFolders(context.roots), ...journals.map((entry) => entry.name)]);
  return [...names].filter((name) => !whole.has(name)).sort();
}

/** Removes leftovers, or with `dryRun` only names them; one line each. */
export async function prune(context: Context, instance: string, dryRun: boolean): Promise<string[]> {
  const found: string[] = [];
  for (const name of leftovers(context)) {
    const paths = containerPaths(context.roots, name);
    if (!dryRun) {
      const lock = lockContainer(context.roots, name, 'exclusive');
      await recover(context, instance, name, lock.fd);
      releaseContainer(context.roots, name, lock);
    }
    // What a printed script made is not minict's to remove.
    if (dryRun || !existsSync(paths.dir)) found.push(`container ${name}`);
  }
  for (const path of removeStaleImages(context.roots, dryRun)) found.push(`image folder ${path}`);
  if (await pruneNetwork(context, dryRun)) found.push(`network ${DEFAULT_NETWORK}`);
  if (listContainers(context.roots).length === 0) found.push(...(await pruneHost(context, instance, dryRun)));
  return found;
}

/** The last container's cgroup, and the folders of namespaces where they are empty and minict bound them. */
async function pruneHost(context: Context, instance: string, dryRun: boolean): Promise<string[]> {
  const found: string[] = [];
  const group = cgroupOf(instance, '').instance;
  if (existsSync(group)) {
    found.push(`cgroup ${group}`);
    if (!dryRun) rmdirSync(group);
  }
  const marker = join(context.roots.runDir, '.host');
  if (!existsSync(marker)) return found;
  const bound = readFileSync(marker, 'utf8');
  const mounted = readMountPoints();
  const empty = [MNTNS_DIR, UTSNS_DIR, NETNS_DIR].filter(
    (dir) => bound.includes(`"bind ${dir}"`) && mounted.includes(dir) && readdirSync(dir).length === 0,
  );
  if (empty.length > 0) {
    found.push(...empty.map((dir) => `mount ${dir}`));
    if (!dryRun) await runTool(['umount', '--', ...empty], spawnContext(context));
  }
  if (!dryRun) rmSync(marker);
  return found;
}
