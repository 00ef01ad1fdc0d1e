/** rm, and what a killed create or rm left: everything of a container that no longer exists (no container.json). */
import { existsSync, rmSync, unlinkSync } from 'node:fs';
import { readCgroupHost } from '../cgroup/cgroup.ts';
import { isPopulated, killAll } from '../cgroup/processes.ts';
import { ConflictError, DamagedError, HostError, MinictError } from '../errors.ts';
import { requireTools } from '../host/tool.ts';
import { nicDriver } from '../network/driver.ts';
import { planBringUp } from '../plan/container.ts';
import { planFolder } from '../plan/files.ts';
import { Journal, type JournalState } from '../runner/journal.ts';
import { type Undoing, undoAll } from '../runner/undo.ts';
import { loadRuntime } from '../runtime/runtime.ts';
import { type ContainerSpec, networksOf } from '../spec/container.ts';
import { recordEvent } from '../state/events.ts';
import { type Lock, lockContainer, releaseContainer, tryLockContainer } from '../state/locks.ts';
import { listNetworks, readNetworks } from '../state/network.ts';
import { type ContainerPaths, containerPaths, namespaceFiles } from '../state/paths.ts';
import { getContainer } from '../state/store.ts';
import type { Step } from '../step.ts';
import { readFacts } from './container-facts.ts';
import { type Context, spawnContext } from './context.ts';
import { type Behind, lookBehind, removeHeldLinks, silenceHeldLinks } from './held-links.ts';
import { keepNetns } from './held-netns.ts';
import { removeLostGroups } from './lost-groups.ts';
import { leaveNetworks } from './network.ts';
import { ownLayersOf } from './own-layers.ts';
import { cgroupOf, isRunning } from './status.ts';
import { settleCables } from './unfinished-cables.ts';

/**
 * Removes what a killed create or rm left of `name`; the caller holds its exclusive lock. Says whether there was something.
 * Throws HostError for what could not be removed.
 */
export async function recover(context: Context, instance: string, name: string, lockFd: number): Promise<boolean> {
  if (!isLeftover(containerPaths(context.roots, name))) return false;
  await endProcesses(instance, name);
  const failure = (await removeTraces(context, [name], [lockFd])).get(name);
  if (failure !== undefined) throw new HostError(`cannot remove what is left of ${name}: ${failure}`);
  return true;
}

/** Whether a killed create or rm left something of a container that is not. */
export function isLeftover(paths: ContainerPaths): boolean {
  if (existsSync(paths.json) || !(existsSync(paths.runDir) || existsSync(paths.dir))) return false;
  // A folder without a journal, but with namespaces: made by a printed script, and perhaps in use.
  return existsSync(paths.journal) || !namespaceFiles(paths).some((path) => existsSync(path));
}

async function endProcesses(instance: string, name: string): Promise<void> {
  const { payload, supervisor, init } = cgroupOf(instance, name);
  const host = readCgroupHost();
  // Each has its KILL when this returns: a program on its way in must not find its namespaces gone.
  await Promise.all([killAll(host, supervisor), killAll(host, payload), killAll(host, init)]);
  // What a supervisor was just starting.
  if (isPopulated(host, payload)) await killAll(host, payload);
}

/** The steps that an `rm` undoes: the container's folder, which outlasts a reboot, and what its journal has. */
export function stepsInEffect(
  paths: ContainerPaths,
  state: JournalState | undefined,
  storage?: ContainerSpec['storage'],
): Step[] {
  return [...planFolder(paths, storage), ...(state?.steps ?? []).filter((step) => step.id !== 'folder')];
}

export interface Known {
  /** Whose processes are about to end. */
  readonly ending?: ReadonlyMap<string, Promise<string | undefined>>;
  /** Those that they can be in; all, where it is not known. */
  readonly networks?: readonly string[];
  /** Made a moment ago by this very process: nobody else has their namespaces, and the kernel is about to remove the NICs. */
  readonly isNew?: boolean;
}

/** Undoes everything of containers that no longer exist, many in one go. What could not be undone, by container. */
export async function removeTraces(
  context: Context,
  names: readonly string[],
  lockFds: readonly number[],
  { ending = new Map(), networks = listNetworks(context.roots), isNew = false }: Known = {},
): Promise<Map<string, string>> {
  const objects = names.map((name): Undoing => {
    const paths = containerPaths(context.roots, name);
    const state = new Journal(paths.journal).salvage();
    const ends = ending.get(name);
    return {
      steps: stepsInEffect(paths, state),
      identities: state?.identities ?? new Map(),
      ...(ends === undefined ? {} : { ending: ends }),
    };
  });
  const behind = objects.map(lookBehind);
  let held: readonly Behind[] = [];
  const leave = async (undone: readonly number[]) => {
    held = silenceHeldLinks(
      undone.map((index) => behind[index] as Behind),
      spawnContext(context, ...lockFds),
    );
    await leaveNetworks(
      context,
      undone.map((index) => names[index] as string),
      networks,
    );
  };
  const failures = await undoAll(objects, spawnContext(context, ...lockFds), leave);
  if (!isNew) await removeHeldLinks(held, spawnContext(context, ...lockFds));
  const left = new Map<string, string>();
  for (const [index, name] of names.entries()) {
    const causes = failures[index] ?? [];
    if (causes.length > 0) left.set(name, causes.join('; '));
    else rmSync(containerPaths(context.roots, name).runDir, { recursive: true, force: true });
  }
  return left;
}

function refuseRunning(instance: string, spec: ContainerSpec): void {
  if (isRunning(instance, spec.name)) {
    throw new ConflictError(`cannot remove ${spec.name}: processes run in it`, { hint: `minict rm -f ${spec.name}` });
  }
}

export interface Removal {
  readonly removed: readonly string[];
  readonly errors: readonly unknown[];
}

export interface RemovalOptions {
  /** Made a moment ago by this very process. */
  readonly isNew?: boolean;
  /** Looked at under the lock, for which nothing is ended: what is not wanted stays as it is. */
  readonly onlyIf?: () => Promise<boolean>;
}

/** A start has the lock until its services end: with `force` they end now. */
async function lockToRemove(context: Context, instance: string, name: string, force: boolean): Promise<Lock> {
  const free = force ? tryLockContainer(context.roots, name) : undefined;
  if (free !== undefined) return free;
  if (force) await endProcesses(instance, name);
  return lockContainer(context.roots, name, 'exclusive');
}

/** Removes every trace. A container ceases to exist with its container.json, first; the rest can be redone. */
export async function removeContainers(
  context: Context,
  instance: string,
  names: readonly string[],
  force: boolean,
  { isNew = false, onlyIf }: RemovalOptions = {},
): Promise<Removal> {
  requireTools();
  const errors: unknown[] = [];
  const removed: string[] = [];
  const sorted = [...new Set(names)].sort();
  const locks: Lock[] = [];
  for (const name of sorted) locks.push(await lockToRemove(context, instance, name, force && onlyIf === undefined));
  const lockFds = locks.map((lock) => lock.fd);
  try {
    const ceased = new Map<string, Promise<string | undefined>>();
    const networks = new Set<string>();
    let hadOwnLayers = false;
    for (const [index, name] of sorted.entries()) {
      try {
        if (onlyIf !== undefined && !(await onlyIf())) continue;
        // What an interrupted rm left is removed by the next one.
        if (await recover(context, instance, name, lockFds[index] as number)) removed.push(name);
        else {
          const spec = await cease(context, instance, name, force);
          for (const network of spec === undefined ? listNetworks(context.roots) : networksOf(spec.nics)) {
            networks.add(network);
          }
          hadOwnLayers ||= spec !== undefined && ownLayersOf(context.roots, spec).length > 0;
          ceased.set(name, endingOf(instance, name));
        }
      } catch (error) {
        errors.push(error);
      }
    }
    if (ceased.size > 0) {
      const names = [...ceased.keys()];
      const left = await removeTraces(context, names, lockFds, { ending: ceased, networks: [...networks], isNew });
      for (const [name, cause] of left) {
        errors.push(new HostError(`cannot remove ${name}: ${cause}`, { hint: `minict rm ${name} removes the rest` }));
      }
      for (const name of names.filter((name) => !left.has(name))) {
        removed.push(name);
        removeLostGroups(instance, name);
        recordEvent(context.roots, { type: 'container', action: 'rm', name });
        errors.push(...foreignNamespaces(containerPaths(context.roots, name)));
      }
      // Others may have them, too.
      if (hadOwnLayers) await (await import('./images.ts')).removeUnused(context);
    }
  } finally {
    for (const [index, lock] of locks.entries()) releaseContainer(context.roots, sorted[index] as string, lock);
  }
  // Its own end is gone: the other one would wait for nobody.
  for (const name of removed) await settleCables(context, instance, name);
  return { removed, errors };
}

/** What has the container's name, but was not made by minict, or not for it: it stays, and its owner is told. */
function foreignNamespaces(paths: ContainerPaths): ConflictError[] {
  return namespaceFiles(paths)
    .filter((path) => existsSync(path))
    .map(
      (path) => new ConflictError(`cannot remove ${path}: not made by minict`, { hint: `umount ${path}; rm ${path}` }),
    );
}

/**
 * From here on there is no container of that name. Undefined where, with `force`, its record was damaged: then its journal is what
 * is known of it.
 */
async function cease(
  context: Context,
  instance: string,
  name: string,
  force: boolean,
): Promise<ContainerSpec | undefined> {
  const { json } = containerPaths(context.roots, name);
  let spec: ContainerSpec;
  try {
    spec = await getContainer(context.roots, name);
  } catch (error) {
    if (!(force && error instanceof DamagedError)) throw error;
    unlinkSync(json);
    return undefined;
  }
  if (force) {
    await mendJournal(context, instance, spec);
    await keepNetns(context, instance, spec);
  } else {
    new Journal(containerPaths(context.roots, name).journal).read();
    refuseRunning(instance, spec);
  }
  // Its addresses have to be given up: a damaged record is a reason to refuse, not one to stop halfway.
  await readNetworks(context.roots, networksOf(spec.nics));
  planLasting(context, instance, spec);
  unlinkSync(json);
  return spec;
}

/** A reboot ends a journal, but not all that a driver made: what an rm has to undo of that is put into a new one. */
export function planLasting(context: Context, instance: string, { name, nics }: ContainerSpec): void {
  const paths = containerPaths(context.roots, name);
  const owner = { container: name, instance, runDir: paths.runDir };
  const lasting = nics.flatMap((nic) => nicDriver(nic).lasting?.(nic, owner) ?? []);
  const journal = new Journal(paths.journal);
  if (lasting.length > 0 && journal.salvage() === undefined) journal.plan(lasting);
}

/** Its processes get their KILL at once; why they did not end, if so, comes later. */
function endingOf(instance: string, name: string): Promise<string | undefined> {
  return endProcesses(instance, name).then(
    () => undefined,
    (error: unknown) => (error as Error).message,
  );
}

/** In place of a damaged journal: what it still says, and what else a container of that spec is made of. */
async function mendJournal(context: Context, instance: string, spec: ContainerSpec): Promise<void> {
  const paths = containerPaths(context.roots, spec.name);
  const journal = new Journal(paths.journal);
  const state = journal.salvage();
  if (!state?.damaged) return;
  const whole = await planAgain(context, instance, spec);
  const ids = new Set(whole.map((step) => step.id));
  journal.replace([...state.steps.filter((step) => !ids.has(step.id)), ...whole], state.identities);
}

async function planAgain(context: Context, instance: string, spec: ContainerSpec): Promise<Step[]> {
  try {
    const networks = await readNetworks(context.roots, networksOf(spec.nics));
    const facts = readFacts(context, instance, spec, networks, { runtime: await loadRuntime(spec) });
    return planBringUp(spec, containerPaths(context.roots, spec.name), facts);
  } catch (error) {
    // Without its image nobody can say what it is made of.
    if (error instanceof MinictError) return [];
    throw error;
  }
}
