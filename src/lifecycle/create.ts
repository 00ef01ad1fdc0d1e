/** create: from a spec to a container that `exec` works in; all of it or nothing. */
import { statSync } from 'node:fs';
import { readCgroupHost } from '../cgroup/cgroup.ts';
import { ConflictError } from '../errors.ts';
import { isMountPoint } from '../host/exec-calls.ts';
import { readMountPoints } from '../host/facts.ts';
import type { ForeignDrop } from '../host/firewall/drops.ts';
import { interfaceIndex } from '../host/syscalls.ts';
import {
  type ContainerFacts,
  enterFiles,
  planFolder,
  planHost,
  planInside,
  planNetns,
  planOwnFiles,
  type TreeOrigin,
} from '../plan/container.ts';
import { containerEnv } from '../process/enter.ts';
import { applySteps } from '../runner/apply.ts';
import { doInProcess } from '../runner/in-process.ts';
import { Journal } from '../runner/journal.ts';
import { loadRuntime } from '../runtime/runtime.ts';
import { type ContainerSpec, hasOwnHosts, type NicSpec } from '../spec/container.ts';
import { recordEvent } from '../state/events.ts';
import { requireHostGateway } from '../state/hosts.ts';
import { together } from '../state/json-file.ts';
import { lockHost } from '../state/locks.ts';
import {
  type ContainerPaths,
  containerPaths,
  hostJournalPath,
  ISOLATION_FOLDERS,
  NAMESPACE_FOLDERS,
  namespaceFiles,
  skeletonPath,
} from '../state/paths.ts';
import { stageContainer } from '../state/store.ts';
import { writeEnterRecord } from '../state/write-enter-record.ts';
import type { Step } from '../step.ts';
import { driverOf } from '../storage/driver.ts';
import { planSkeleton } from '../storage/rootfs.ts';
import { mountedOf } from './attachments.ts';
import { readFacts } from './container-facts.ts';
import { type Context, spawnContext } from './context.ts';
import { findDrops } from './foreign-drops.ts';
import { ensureImageTree, imageTreeOf } from './image-trees.ts';
import { placeOf } from './place.ts';
import { removeTraces } from './remove.ts';
import type { Reservation } from './reservation.ts';

/** Refuses namespaces of that name that this minict did not make; `doing` as in `cannot <doing>: …`. Throws ConflictError. */
export function refuseForeign(paths: ContainerPaths, name: string, doing = `create ${name}`): void {
  for (const path of namespaceFiles(paths)) {
    if (statSync(path, { throwIfNoEntry: false })) {
      throw new ConflictError(`cannot ${doing}: ${path} is there, and minict did not make it`, {
        hint: `take another name, or remove it (ip netns del ${name})`,
      });
    }
  }
}

/** Once a boot: the folders of persisted namespaces; again where another root's prune, or somebody, unmounted them. */
export async function prepareHost(context: Context, spec: ContainerSpec): Promise<void> {
  const journal = new Journal(hostJournalPath(context.roots));
  const folders = namespaceFoldersFor(spec);
  const isReady = () => journal.lastPhase() === 'up' && folders.every(isMountPoint);
  if (isReady()) return;
  const lock = lockHost(context.roots);
  try {
    if (isReady()) return;
    // Of what it has read it knows whether it is to be written anew.
    journal.salvage();
    const steps = planHost(readMountPoints(), folders);
    await applySteps('prepare the host', steps, journal, spawnContext(context, lock.fd));
    journal.phase('up');
  } finally {
    lock.release();
  }
}

/** The folders that a container's namespaces are persisted in. */
export function namespaceFoldersFor(spec: ContainerSpec | undefined): string[] {
  return spec?.isolated === undefined ? NAMESPACE_FOLDERS : [...NAMESPACE_FOLDERS, ...ISOLATION_FOLDERS];
}

/** The plan of a create as `--dry-run` prints it. */
export function planCreate(context: Context, spec: ContainerSpec, facts: ContainerFacts): Step[] {
  const paths = containerPaths(context.roots, spec.name);
  const netns = planNetns(spec, paths, facts.instance);
  return [...planFolder(paths, spec.storage), ...netns, ...planFiles(context, spec, facts)];
}

/** Of it what has to know the image. */
function planFiles(
  context: Context,
  spec: ContainerSpec,
  facts: ContainerFacts,
  origin: TreeOrigin | undefined = imageTreeOf(context.roots, spec),
): Step[] {
  const paths = containerPaths(context.roots, spec.name);
  return [...planOwnFiles(spec, paths, origin), ...planInside(spec, paths, facts)];
}

/** What may take its time, and is no container's: before an address is reserved. Throws InvalidInputError, HostError. */
export async function prepareFiles(context: Context, spec: ContainerSpec, origin: TreeOrigin | undefined) {
  if (spec.lower !== undefined) driverOf(spec).validate(spec.lower, context.roots.root);
  if (origin === undefined) await ensureImageTree(context, spec);
}

/**
 * Makes a container whose address is already reserved; the caller holds its lock. Its files are the image's, or `origin`'s. On
 * failure nothing is left. Returns
 * the host's firewall rules that will stop its traffic.
 */
export async function createContainer(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  reservation: Reservation | undefined,
  lockFd: number,
  origin?: TreeOrigin,
): Promise<readonly ForeignDrop[]> {
  const paths = containerPaths(context.roots, spec.name);
  if (spec.extraHosts !== undefined) requireHostGateway(spec.extraHosts, reservation?.networks ?? []);
  for (const { run } of planSkeleton(skeletonPath(context.roots))) doInProcess(run);
  await prepareHost(context, spec);
  await waitForHostLinks(`create ${spec.name}`, spec.nics);
  // Throws where there is none: before anything is made.
  readCgroupHost();
  const journal = new Journal(paths.journal);
  const steps = planNetns(spec, paths, instance);
  // What makes its namespaces is needed while another process is at work.
  const [runtime] = await Promise.all([loadRuntime(spec), spec.isolated && import('../runner/init.ts')]);
  let up = () => {};
  const planRest = () => {
    const facts = readFacts(context, instance, spec, reservation?.networks ?? [], { runtime });
    up = () => markUp(context, spec, facts, journal);
    return [...planFolder(paths, spec.storage), ...planFiles(context, spec, facts, origin)];
  };
  // An image of the store can be used, as a rule: its facts are read while the network is being made. A directory, or what
  // is to be mounted, may well be refused: before anything is made.
  const isSure = spec.imageId !== undefined && spec.volumes === undefined;
  const planned = isSure ? undefined : planRest();
  const rest = () => planned ?? planRest();
  let publish = () => {};
  let joinLast: (() => void) | undefined;
  let drops: Promise<readonly ForeignDrop[]> | undefined;
  const meanwhile = [
    // First: where there are rules, who prints them takes as long as ip.
    () => {
      drops = reservation && findDrops(context.roots, reservation.networks, reservation.ports);
    },
    async () => {
      const [staged, join] = await together(stageContainer(context.roots, spec), reservation?.stage());
      publish = staged;
      joinLast = join;
      // Who has a hosts file of its own has it from its plan: what others write into it comes later.
      if (!hasOwnHosts(spec)) join?.();
    },
  ];
  try {
    await applySteps(`create ${spec.name}`, steps, journal, spawnContext(context, lockFd), { rest, meanwhile });
    if (hasOwnHosts(spec)) joinLast?.();
    up();
    publish();
    recordEvent(context.roots, { type: 'container', action: 'create', name: spec.name });
  } catch (error) {
    reservation?.release();
    // What cannot be removed now stays in the journal, for the next command.
    await removeTraces(context, [spec.name], [lockFd]);
    throw error;
  }
  return (await drops) ?? [];
}

/** From here on `exec` finds the container. */
export function markUp(context: Context, spec: ContainerSpec, facts: ContainerFacts, journal: Journal): void {
  const paths = containerPaths(context.roots, spec.name);
  const { volumes } = facts.rootfs;
  writeEnterRecord(paths, {
    version: 1,
    place: { ...placeOf(spec, paths), ...(volumes.length === 0 ? {} : { mounted: mountedOf(volumes) }) },
    env: containerEnv(spec),
    ...(spec.user === undefined ? {} : { user: spec.user }),
    ...(spec.workdir === undefined ? {} : { workdir: spec.workdir }),
    enter: enterFiles(spec.name, facts),
  });
  journal.phase('up');
}

/** A deleted namespace's veth lives on for some milliseconds; wait only where its name is in the way. */
export async function waitForHostLinks(verb: string, nics: readonly NicSpec[]): Promise<void> {
  const links = nics.flatMap((nic) => ('hostLink' in nic ? [nic.hostLink] : []));
  const inTheWay = () => links.find((link) => interfaceIndex(link) !== 0);
  if (inTheWay() === undefined) return;
  const end = performance.now() + 2000;
  while (inTheWay() !== undefined && performance.now() < end) await Bun.sleep(2);
  const link = inTheWay();
  if (link === undefined) return;
  throw new ConflictError(`cannot ${verb}: an interface ${link} is there already`, {
    hint: `ip link show ${link}`,
  });
}
