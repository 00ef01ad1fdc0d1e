/** system prune: finds what killed commands left, and only what is minict's own; without containers the network too. */
import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { limitHosts } from '../cgroup/controllers.ts';
import { initHosts } from '../cgroup/init-groups.ts';
import { limitGroup } from '../cgroup/limits.ts';
import { isUnused } from '../cgroup/processes.ts';
import { HostError } from '../errors.ts';
import { readMountPoints } from '../host/facts.ts';
import { removeStaleLocks } from '../image/build-cache.ts';
import { bindId } from '../plan/container.ts';
import { Journal } from '../runner/journal.ts';
import { runTool } from '../runner/spawn.ts';
import { takeUnfinished } from '../state/cables.ts';
import { isLocked, lockContainer, lockHost, releaseContainer } from '../state/locks.ts';
import {
  containerPaths,
  hostJournalPath,
  ISOLATION_FOLDERS,
  imagePaths,
  LOCK_PREFIX,
  NAMESPACE_FOLDERS,
  type Roots,
  volumesDir,
} from '../state/paths.ts';
import { removeStaleFolders } from '../state/staging.ts';
import { containerFolders, listContainers } from '../state/store.ts';
import { removeTree, trashedFolders } from '../state/trash.ts';
import { type Context, spawnContext } from './context.ts';
import { listUsedImages, removeUnused } from './images.ts';
import { DEFAULT_NETWORK, pruneDefault, pruneStray } from './network.ts';
import { isLeftover, recover } from './remove.ts';
import { cgroupOf } from './status.ts';
import { settleAllCables } from './unfinished-cables.ts';

export interface Pruned {
  /** One line each. */
  readonly found: readonly string[];
  readonly errors: readonly unknown[];
}

/** Removes leftovers, or with `dryRun` only names them. What cannot be removed does not keep the rest. */
export async function prune(context: Context, instance: string, dryRun: boolean): Promise<Pruned> {
  const found: string[] = [];
  const errors: unknown[] = [];
  const attempt = async (action: () => Promise<readonly string[]>) => {
    try {
      found.push(...(await action()));
    } catch (error) {
      errors.push(error);
    }
  };
  for (const name of unfinishedNames(context)) await attempt(() => pruneContainer(context, instance, name, dryRun));
  await attempt(async () => (await pruneCables(context, instance, dryRun)).map((name) => `cable ${name}`));
  const stale = (dir: string) => removeStaleFolders(dir, dryRun);
  await attempt(async () => stale(imagePaths(context.roots).dir).map((path) => `image folder ${path}`));
  await attempt(async () => removeStaleLocks(context.roots, dryRun).map((path) => `image file ${path}`));
  await attempt(async () => stale(volumesDir(context.roots)).map((path) => `volume folder ${path}`));
  await attempt(async () => {
    if (!dryRun) await listUsedImages(context);
    return (await removeUnused(context, dryRun)).map((path) => `image file ${path}`);
  });
  await attempt(async () => emptyTrash(context.roots, dryRun));
  await attempt(async () => ((await pruneDefault(context, instance, dryRun)) ? [`network ${DEFAULT_NETWORK}`] : []));
  await attempt(async () => pruneStray(context, dryRun).map((path) => `network file ${path}`));
  await attempt(() => pruneHost(context, instance, dryRun));
  return { found, errors };
}

/** Names that something is there of, but no container. */
function unfinishedNames(context: Context): string[] {
  const { runDir } = context.roots;
  const inRunDir = existsSync(runDir) ? readdirSync(runDir, { withFileTypes: true }) : [];
  const names = inRunDir.flatMap((entry) => {
    if (entry.name.startsWith(LOCK_PREFIX)) return [entry.name.slice(LOCK_PREFIX.length)];
    return entry.isDirectory() && !entry.name.startsWith('.') ? [entry.name] : [];
  });
  const whole = new Set(listContainers(context.roots));
  return [...new Set([...containerFolders(context.roots), ...names])].filter((name) => !whole.has(name)).sort();
}

async function pruneContainer(context: Context, instance: string, name: string, dryRun: boolean): Promise<string[]> {
  // A create that is under way.
  if (isLocked(context.roots, name)) return [];
  const line = `container ${name}`;
  if (dryRun) return isLeftover(containerPaths(context.roots, name)) ? [line] : [];
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    return (await recover(context, instance, name, lock.fd)) ? [line] : [];
  } finally {
    releaseContainer(context.roots, name, lock);
  }
}

async function pruneCables(context: Context, instance: string, dryRun: boolean): Promise<string[]> {
  if (!dryRun) return settleAllCables(context, instance);
  const left = takeUnfinished(context.roots);
  for (const work of left) work.release();
  return left.map(({ cable }) => cable);
}

function emptyTrash(roots: Roots, dryRun: boolean): string[] {
  const paths = trashedFolders(roots);
  if (!dryRun) for (const path of paths) removeTree(path);
  return paths.map((path) => `trash ${path}`);
}

/** Without containers: their cgroup, and the folders of namespaces where they are empty and minict bound them. */
async function pruneHost(context: Context, instance: string, dryRun: boolean): Promise<string[]> {
  const lock = dryRun ? undefined : lockHost(context.roots);
  try {
    const isInUse = () => listContainers(context.roots).length > 0 || unfinishedNames(context).some(isBusy(context));
    if (isInUse()) return [];
    const journal = new Journal(hostJournalPath(context.roots));
    const bound = new Set(journal.salvage()?.steps.map((step) => step.id));
    const mounted = new Set(readMountPoints().map((mount) => mount.target));
    const own = [...NAMESPACE_FOLDERS, ...ISOLATION_FOLDERS]
      .reverse()
      .filter((dir) => bound.has(bindId(dir)) && mounted.has(dir));
    const empty = own.filter((dir) => readdirSync(dir).length === 0);
    const tops = [...limitHosts(), ...initHosts()].map((host) => limitGroup(host, instance, '').top);
    const groups = [...new Set([cgroupOf(instance, '').instance, ...tops])].filter(isUnused);
    if (lock !== undefined) {
      // From here on a create waits for this lock; one that was quicker has its own by now.
      journal.phase('stopped');
      if (isInUse()) return [];
      for (const path of groups) rmdirSync(path);
      await unmount(context, empty, lock.fd);
      // One with something of another's in it stays, and goes with a later prune.
      if (empty.length < own.length) journal.undone(empty.map(bindId));
      else rmSync(journal.path, { force: true });
    }
    return [...groups.map((path) => `cgroup ${path}`), ...empty.map((dir) => `mount ${dir}`)];
  } finally {
    lock?.release();
  }
}

function isBusy(context: Context): (name: string) => boolean {
  return (name) => isLocked(context.roots, name);
}

async function unmount(context: Context, targets: readonly string[], lockFd: number): Promise<void> {
  if (targets.length === 0) return;
  const { exitCode, stderr } = await runTool(['umount', '--', ...targets], spawnContext(context, lockFd));
  if (exitCode !== 0) throw new HostError(`cannot unmount ${targets.join(' ')}: ${stderr.trim()}`);
}
