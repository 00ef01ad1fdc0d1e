/** create and start: from a spec to a container that `exec` works in. */
import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { cgroupPaths, readCgroupHost } from '../cgroup/cgroup.ts';
import { ConflictError } from '../errors.ts';
import { readMountPoints, readResolvConf } from '../host/facts.ts';
import { type ContainerFacts, planBringUp, planFolder, planHost } from '../plan/container.ts';
import { applySteps } from '../runner/apply.ts';
import { Journal } from '../runner/journal.ts';
import { undoSteps } from '../runner/undo.ts';
import { type ContainerSpec, rootfsOf } from '../spec/container.ts';
import type { NetworkRecord } from '../state/network.ts';
import { type ContainerPaths, containerPaths, networkPaths } from '../state/paths.ts';
import { publishContainer } from '../state/store.ts';
import type { Step } from '../step.ts';
import { checkUpper, ensureSkeleton, readRootfsFacts } from '../storage/rootfs.ts';
import { type Context, spawnContext } from './context.ts';
import { leaveNetwork } from './network.ts';

export function readFacts(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  network: NetworkRecord | undefined,
): ContainerFacts {
  const paths = containerPaths(context.roots, spec.name);
  const skeleton = join(context.roots.root, 'skeleton');
  const layers =
    spec.lower === undefined ? [rootfsOf(spec, paths.rootfs)] : [paths.upper, spec.lower, skeleton].filter(existsSync);
  return {
    instance,
    cgroup: cgroupPaths(readCgroupHost(), instance, spec.name),
    rootfs: readRootfsFacts(layers, spec.inPlace ?? `image ${spec.image}`),
    skeleton,
    bridge: network?.bridge,
    hostsFile: network === undefined ? paths.hosts : networkPaths(context.roots, network.name).hosts,
    resolvConf: readResolvConf(),
  };
}

/** Refuses namespaces of that name that this minict did not make. */
export function refuseForeign(paths: ContainerPaths, name: string): void {
  for (const path of [paths.netns, paths.utsns, paths.mntns]) {
    if (statSync(path, { throwIfNoEntry: false })) {
      throw new ConflictError(`cannot create ${name}: ${path} is there, and minict did not make it`, {
        hint: `take another name, or remove it (ip netns del ${name})`,
      });
    }
  }
}

export async function prepareHost(context: Context): Promise<void> {
  const marker = join(context.roots.runDir, '.host');
  if (existsSync(marker)) return;
  const journal = new Journal(marker);
  await applySteps('prepare the host', planHost(readMountPoints()), journal, spawnContext(context, undefined));
  journal.phase('up');
}

/** The plan of a create as `--dry-run` prints it. */
export function planCreate(context: Context, spec: ContainerSpec, facts: ContainerFacts): Step[] {
  const paths = containerPaths(context.roots, spec.name);
  return [...planFolder(spec, paths, facts), ...planBringUp(spec, paths, facts)];
}

/** Makes a container whose address is already reserved; the caller holds its lock. On failure nothing is left. */
export async function createContainer(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  network: NetworkRecord | undefined,
  lockFd: number,
): Promise<void> {
  const paths = containerPaths(context.roots, spec.name);
  ensureSkeleton(join(context.roots.root, 'skeleton'));
  if (spec.lower !== undefined) checkUpper(context.roots.root);
  await prepareHost(context);
  await hostLinkFree(spec);
  const facts = readFacts(context, instance, spec, network);
  const journal = new Journal(paths.journal);
  try {
    await applySteps(`create ${spec.name}`, planCreate(context, spec, facts), journal, spawnContext(context, lockFd));
    publishContainer(context.roots, spec);
    journal.phase('up');
  } catch (error) {
    const state = journal.read();
    if (state !== undefined) await undoSteps(state.steps, state.identities, spawnContext(context, lockFd));
    rmSync(paths.runDir, { recursive: true, force: true });
    throw error;
  }
}

/** A deleted namespace's veth lives on for some milliseconds; wait only where its name is in the way. */
async function hostLinkFree(spec: ContainerSpec): Promise<void> {
  if (spec.nic === undefined) return;
  const name = `${spec.nic.hostLink}:`;
  const inTheWay = () =>
    readFileSync('/proc/net/dev', 'utf8')
      .split('\n')
      .some((line) => line.trimStart().startsWith(name));
  const end = performance.now() + 2000;
  while (inTheWay() && performance.now() < end) await Bun.sleep(2);
  if (inTheWay()) {
    throw new ConflictError(`cannot create ${spec.name}: an interface ${spec.nic.hostLink} is there already`, {
      hint: `ip link show ${spec.nic.hostLink}`,
    });
  }
}

/** Brings back whatever is missing: all of it where the kernel has forgotten (reboot), else the broken part. */
export async function repairContainer(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  network: NetworkRecord | undefined,
  lockFd: number,
): Promise<void> {
  const paths = containerPaths(context.roots, spec.name);
  const journal = new Journal(paths.journal);
  const state = journal.read();
  if (state !== undefined) {
    await undoKernel(context, state, journal, lockFd);
  } else refuseForeign(paths, spec.name);
  await prepareHost(context);
  await hostLinkFree(spec);
  if (spec.lower !== undefined) mkdirSync(paths.rootfs, { recursive: true });
  const facts = readFacts(context, instance, spec, network);
  await applySteps(`start ${spec.name}`, planBringUp(spec, paths, facts), journal, spawnContext(context, lockFd));
  journal.phase('up');
}

async function undoKernel(
  context: Context,
  state: NonNullable<ReturnType<Journal['read']>>,
  journal: Journal,
  lockFd: number,
): Promise<void> {
  const kernel = state.steps.filter((step) => step.undo?.kind !== 'rmtree');
  await undoSteps(kernel, state.identities, spawnContext(context, lockFd));
  journal.undone(kernel.map((step) => step.id));
}

/** Removes what a killed create or rm left of `name`; the caller holds its exclusive lock. */
export async function recover(context: Context, name: string, lockFd: number): Promise<void> {
  const paths = containerPaths(context.roots, name);
  if (existsSync(paths.json)) return;
  const journal = new Journal(paths.journal);
  const state = journal.read();
  if (state === undefined && !existsSync(paths.dir)) return;
  if (state === undefined && [paths.netns, paths.utsns, paths.mntns].some((path) => existsSync(path))) return;
  await removeTraces(context, [name], lockFd);
}

/** Undoes everything of containers that no longer exist (no container.json), many in one go. */
export async function removeTraces(context: Context, names: readonly string[], lockFd: number): Promise<string[]> {
  const steps: Step[] = [];
  const identities = new Map<string, Readonly<Record<string, string>>>();
  for (const name of names) {
    const paths = containerPaths(context.roots, name);
    const state = new Journal(paths.journal).read();
    // Steps of several containers go into one undo: their ids must differ.
    const own = (id: string) => `${name}/${id}`;
    steps.push({
      id: own('folder'),
      why: "the container's folder",
      run: { kind: 'mkdir', path: paths.dir, mode: 0o755 },
      undo: { kind: 'rmtree', path: paths.dir },
    });
    for (const step of state?.steps ?? []) {
      if (step.id === 'folder') continue;
      steps.push({ ...step, id: own(step.id), ...(step.endsWith ? { endsWith: own(step.endsWith) } : {}) });
    }
    for (const [id, value] of state?.identities ?? []) identities.set(own(id), value);
  }
  const failures = await undoSteps(steps, identities, spawnContext(context, lockFd));
  if (failures.length === 0) {
    leaveNetwork(context, names);
    for (const name of names) rmSync(containerPaths(context.roots, name).runDir, { recursive: true, force: true });
  }
  return failures;
}
