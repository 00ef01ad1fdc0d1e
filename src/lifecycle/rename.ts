/**
 * rename: a container without processes under another name. What of it is in the kernel has the old name and goes first; `start`
 * makes it anew, which one that was up gets at once. The rename of its folder is the commit point: before it, a killed one left the old container, and an empty folder with
 * the new one's lease; after it, the new container, and the run dir of the old one. The next minict removes either.
 */
import { mkdirSync } from 'node:fs';
import { readCgroupHost } from '../cgroup/cgroup.ts';
import { killAll } from '../cgroup/processes.ts';
import { ConflictError, HostError, StateError } from '../errors.ts';
import { requireTools } from '../host/tool.ts';
import { Journal } from '../runner/journal.ts';
import { undoSteps } from '../runner/undo.ts';
import { type ContainerSpec, networksOf } from '../spec/container.ts';
import { hostLinkName } from '../spec/name.ts';
import { recordEvent } from '../state/events.ts';
import { lockContainer, lockNetworks, releaseContainer } from '../state/locks.ts';
import { readNetworks } from '../state/network.ts';
import { containerPaths, type Roots } from '../state/paths.ts';
import { findContainer, getContainer, listContainers, moveContainer } from '../state/store.ts';
import { removeEnterRecord } from '../state/write-enter-record.ts';
import { type Context, spawnContext } from './context.ts';
import { refuseForeign } from './create.ts';
import { lookBehind, removeHeldLinks, silenceHeldLinks } from './held-links.ts';
import { writeMember } from './nics.ts';
import { settle } from './own-layers.ts';
import { planLasting, recover, removeTraces } from './remove.ts';
import { startContainer } from './start.ts';
import { cgroupOf, isRunning } from './status.ts';
import { isDown } from './stop.ts';
import { settleCables } from './unfinished-cables.ts';

function renamed(spec: ContainerSpec, instance: string, name: string): ContainerSpec {
  return {
    ...spec,
    name,
    // One that was asked for stays.
    hostname: spec.hostname === spec.name ? name : spec.hostname,
    nics: spec.nics.map((nic) =>
      'hostLink' in nic ? { ...nic, hostLink: hostLinkName(instance, name, nic.name) } : nic,
    ),
  };
}

/** One that is damaged is left to its own verbs; of a cable to it, this container's end tells. */
async function readable(roots: Roots, name: string): Promise<ContainerSpec | undefined> {
  try {
    return await findContainer(roots, name);
  } catch (error) {
    if (error instanceof StateError) return undefined;
    throw error;
  }
}

/** Both ends of a cable have the other one's name. */
async function refuseCables({ roots }: Context, name: string): Promise<void> {
  for (const other of listContainers(roots)) {
    const nic = (await readable(roots, other))?.nics.find(
      (nic) => nic.kind === 'p2p' && (other === name || nic.peer === name),
    );
    if (nic === undefined) continue;
    throw new ConflictError(`cannot rename ${name}: a cable leads to ${other === name ? 'another' : other}`, {
      hint: `minict link rm ${other}:${nic.name}`,
    });
  }
}

/** As a reboot leaves it. `fromUp` hears of one that was up. */
async function takeAway(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  lockFd: number,
  fromUp: () => void,
): Promise<void> {
  const { name } = spec;
  const paths = containerPaths(context.roots, name);
  const journal = new Journal(paths.journal);
  const state = journal.read();
  if (isRunning(instance, name)) {
    throw new ConflictError(`cannot rename ${name}: processes run in it`, { hint: `minict stop ${name}` });
  }
  const isUp = state?.phase !== undefined && !isDown(state);
  if (isUp) {
    fromUp();
    // Nobody enters it any more.
    removeEnterRecord(paths);
    await killAll(readCgroupHost(), cgroupOf(instance, name).init);
  }
  planLasting(context, instance, spec);
  const { steps = [], identities = new Map() } = journal.read() ?? {};
  const undone = steps.filter(({ id }) => id !== 'folder');
  const undoing = { steps: undone, identities };
  const behind = lookBehind(undoing);
  const spawning = spawnContext(context, lockFd);
  const failures = await undoSteps(undoing, spawning);
  if (failures.length > 0) throw new HostError(`cannot rename ${name}: ${failures.join('; ')}`);
  await removeHeldLinks(silenceHeldLinks([behind], spawning), spawning);
  if (state !== undefined) journal.undone(undone.map(({ id }) => id));
  if (isUp) journal.phase('stopped');
}

/** Says whether it is up, as it was. Throws NotFoundError, ConflictError, HostError; then it has its old name. */
export async function renameContainer(context: Context, instance: string, from: string, to: string): Promise<boolean> {
  let wasUp = false;
  let name = from;
  try {
    await renameDown(context, instance, from, to, () => {
      wasUp = true;
    });
    name = to;
  } finally {
    if (wasUp) await startContainer(context, instance, name, { idle: true });
  }
  return wasUp;
}

async function renameDown(
  context: Context,
  instance: string,
  from: string,
  to: string,
  fromUp: () => void,
): Promise<void> {
  requireTools();
  await settleCables(context, instance, from);
  const { roots } = context;
  await getContainer(roots, from);
  if (from === to) throw new ConflictError(`cannot rename ${from}: that is its name`);
  const inOrder = [from, to].sort();
  const locks = inOrder.map((name) => lockContainer(roots, name, 'exclusive'));
  const lockFds = locks.map(({ fd }) => fd);
  const paths = containerPaths(roots, to);
  try {
    for (const [index, name] of inOrder.entries()) await recover(context, instance, name, lockFds[index] as number);
    const spec = settle(context, await getContainer(roots, from));
    if ((await findContainer(roots, to)) !== undefined) {
      throw new ConflictError(`cannot rename ${from}: a container ${to} is there`, { hint: `minict rm ${to}` });
    }
    refuseForeign(paths, to, `rename ${from}`);
    await refuseCables(context, from);
    await takeAway(context, instance, spec, lockFds[inOrder.indexOf(from)] as number, fromUp);
    const after = renamed(spec, instance, to);
    // By it the next command finds the lease of one that was killed.
    mkdirSync(paths.dir, { mode: 0o755 });
    try {
      await lease(context, after);
      moveContainer(roots, from, after);
    } catch (error) {
      if ((await findContainer(roots, from)) !== undefined) await removeTraces(context, [to], lockFds);
      throw error;
    }
    recordEvent(roots, { type: 'container', action: 'rename', name: to, oldName: from });
    await removeTraces(context, [from], lockFds);
  } finally {
    for (const [index, lock] of locks.entries()) releaseContainer(roots, inOrder[index] as string, lock);
  }
}

/** Its addresses are its old name's, too, until that goes. */
async function lease(context: Context, after: ContainerSpec): Promise<void> {
  const lock = lockNetworks(context.roots);
  try {
    await writeMember(context, after, await readNetworks(context.roots, networksOf(after.nics)));
  } finally {
    lock.release();
  }
}
