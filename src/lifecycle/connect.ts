/**
 * connect and disconnect: an interface more, or one less, of a container, whether it is up or not. What is wanted is written
 * down before the kernel is changed: a `start` finishes what a killed one left.
 */
import { rmSync } from 'node:fs';
import { ConflictError, NotFoundError } from '../errors.ts';
import { requireTool } from '../host/tool.ts';
import type { Owner } from '../network/driver.ts';
import { nicPart, portPart } from '../network/parts.ts';
import { planNics } from '../plan/container.ts';
import { applySteps } from '../runner/apply.ts';
import { Journal, type JournalState } from '../runner/journal.ts';
import { BegunIp } from '../runner/spawn.ts';
import { type ContainerSpec, hasOwnHosts, type NicSpec, networkOf, networksOf } from '../spec/container.ts';
import type { NicRequest } from '../spec/nic.ts';
import { recordEvent } from '../state/events.ts';
import { ensureHosts } from '../state/hosts.ts';
import { together } from '../state/json-file.ts';
import { lockContainer, lockNetworks, releaseContainer } from '../state/locks.ts';
import { plainAddress } from '../state/network.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer, stageContainer, writeContainer } from '../state/store.ts';
import type { Step } from '../step.ts';
import { type Context, spawnContext } from './context.ts';
import { waitForHostLinks } from './create.ts';
import { inheritGateways, leave, repairNetworks } from './nics.ts';
import { recover } from './remove.ts';
import { repair } from './repair.ts';
import { reserveNics } from './reservation.ts';
import { undoParts } from './stop.ts';
import { settleCables } from './unfinished-cables.ts';

/** Of the steps those that belong to one interface. */
export function stepsOfNic(steps: readonly Step[], nic: NicSpec): Step[] {
  const parts: readonly (string | undefined)[] = [nicPart(nic), portPart(nic)];
  return steps.filter(({ part }) => parts.includes(part));
}

/** Who gets a hosts file of its own while it is up has it mounted over its network's. */
export function planOwnHosts(context: Context, before: ContainerSpec, state: JournalState): Step[] {
  const mount = state.steps.find(({ id }) => id === 'mount /etc/hosts');
  if (mount?.run.kind !== 'mount' || hasOwnHosts(before)) return [];
  const { target, mntns } = mount.run;
  const undo: Step['undo'] = mount.undo ?? {
    kind: 'umount',
    targets: [target],
    lazy: true,
    ...(mntns === undefined ? {} : { mntns }),
  };
  const source = containerPaths(context.roots, before.name).hosts;
  return [
    {
      ...mount,
      id: 'mount own /etc/hosts',
      why: 'a hosts file of its own, for several networks',
      chain: 'hosts',
      part: 'mounts',
      run: { ...mount.run, source },
      undo,
    },
  ];
}

/** With an interface more: in several networks it has, from then on, a hosts file of its own. */
export function withNic(before: ContainerSpec, nic: NicSpec): ContainerSpec {
  const nics = [...before.nics, nic];
  return {
    ...before,
    nics,
    ...(hasOwnHosts(before) || networksOf(nics).length > 1 ? { ownHosts: true as const } : {}),
  };
}

/** Without it; its default routes are another one's, where there is one that can have them. */
export async function withoutNic(context: Context, before: ContainerSpec, nic: NicSpec): Promise<ContainerSpec> {
  const others = before.nics.filter((each) => each !== nic);
  const nics = await inheritGateways(context, others, nic);
  return { ...before, nics, ...(hasOwnHosts(before) || nics.length === 0 ? { ownHosts: true as const } : {}) };
}

/** Its steps while the namespaces are there; what a stop took away comes with the next start. */
export function planConnection(owner: Owner, spec: ContainerSpec, nic: NicSpec, state: JournalState): Step[] {
  const isUp = state.phase !== 'stopped';
  return stepsOfNic(planNics(spec, owner), nic).filter(({ part }) => isUp || part === nicPart(nic));
}

/** Steps of interfaces that have become other ones, where they are new. */
export function planInherited(owner: Owner, before: ContainerSpec, after: ContainerSpec, state: JournalState): Step[] {
  const known = new Set(state.steps.map(({ id }) => id));
  const changed = after.nics.filter((nic) => !before.nics.includes(nic));
  return changed.flatMap((nic) => planConnection(owner, after, nic, state)).filter(({ id }) => !known.has(id));
}

/** Finishes, or takes back, what a killed connect, disconnect or link left. Returns what is so then. */
export async function settleNics(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  journal: Journal,
  lockFd: number,
): Promise<JournalState | undefined> {
  const state = journal.read();
  if (state?.phase === undefined || state.interrupted.size === 0) return state;
  if (state.phase === 'stopped') {
    const begun = state.steps.filter(({ id, part = '' }) => state.interrupted.has(id) && /^(nic|port) /.test(part));
    await undoParts(context, spec.name, state, begun, journal, lockFd);
  } else {
    await repairNetworks(context, instance, spec);
    await repair(context, instance, spec, journal, lockFd);
  }
  journal.phase(state.phase);
  return journal.read();
}

/** Of an interface in a network. */
function tell({ roots }: Context, action: 'connect' | 'disconnect', container: string, nic: NicSpec): void {
  const network = networkOf(nic);
  if (network !== undefined) recordEvent(roots, { type: 'network', action, name: network, container });
}

/**
 * Gives `name` an interface, of which `first` hears before anything is changed. Returns it. Throws NotFoundError, ConflictError,
 * InvalidInputError, StepError.
 */
export async function connect(
  context: Context,
  instance: string,
  name: string,
  request: NicRequest,
  first: (nic: NicSpec) => void = () => {},
): Promise<NicSpec> {
  requireTool('ip');
  await settleCables(context, instance, name);
  const lock = lockContainer(context.roots, name, 'exclusive');
  let begun: BegunIp | undefined;
  try {
    begun = new BegunIp({ lockFds: [lock.fd] });
    await recover(context, instance, name, lock.fd);
    const before = await getContainer(context.roots, name);
    const paths = containerPaths(context.roots, name);
    const journal = new Journal(paths.journal);
    const state = await settleNics(context, instance, before, journal, lock.fd);
    const reservation = await reserveNics(context, instance, before, [request]);
    try {
      const [nic] = reservation.nics as [NicSpec];
      const after = withNic(before, nic);
      await waitForHostLinks(`connect ${name}`, [nic]);
      first(nic);
      const makeHosts = () => {
        if (hasOwnHosts(after)) ensureHosts(paths.hosts);
      };
      // The container first: a start makes a member of it, and rm knows what to give up.
      const record = async () => {
        const [publish, join] = await together(stageContainer(context.roots, after), reservation.stage());
        publish();
        join();
      };
      if (state?.phase === undefined) {
        makeHosts();
        await record();
        tell(context, 'connect', name, nic);
        return nic;
      }
      const steps = planConnection({ container: name, instance, runDir: paths.runDir }, after, nic, state);
      // While ip is at work, which takes longest.
      const rest = () => {
        makeHosts();
        return hasOwnHosts(after) ? planOwnHosts(context, before, state) : [];
      };
      try {
        const spawning = { ...spawnContext(context, lock.fd), begun };
        await applySteps(`connect ${name}`, steps, journal, spawning, { rest, meanwhile: [record] });
      } catch (error) {
        writeContainer(context.roots, before);
        reservation.release();
        await leaveNetwork(context, before, nic);
        dropHosts(context, before);
        journal.phase(state.phase);
        throw error;
      }
      journal.phase(state.phase);
      tell(context, 'connect', name, nic);
      return nic;
    } finally {
      reservation.release();
    }
  } finally {
    begun?.end();
    releaseContainer(context.roots, name, lock);
  }
}

/** A hosts file of its own that it does not have any more. */
function dropHosts(context: Context, spec: ContainerSpec): void {
  const { hosts } = containerPaths(context.roots, spec.name);
  if (!hasOwnHosts(spec)) rmSync(hosts, { force: true });
}

async function leaveNetwork(context: Context, member: ContainerSpec, nic: NicSpec): Promise<void> {
  const lock = lockNetworks(context.roots);
  try {
    await leave(context, member, nic);
  } finally {
    lock.release();
  }
}

/** The one that `network` and `nicName` mean. Throws NotFoundError, ConflictError where that are several. */
export function findNic(spec: ContainerSpec, network: string, nicName: string | undefined): NicSpec {
  const here = spec.nics.filter((nic) => networkOf(nic) === network && (nicName === undefined || nic.name === nicName));
  const [nic, ...others] = here;
  const names = here.map((each) => each.name).join(', ');
  if (nic === undefined) {
    const what = nicName === undefined ? 'no interface' : `no interface ${nicName}`;
    throw new NotFoundError(`cannot disconnect ${spec.name}: it has ${what} in network ${network}`, {
      hint: `minict inspect ${spec.name}`,
    });
  }
  if (others.length === 0) return nic;
  throw new ConflictError(`cannot disconnect ${spec.name}: it has several interfaces in network ${network}: ${names}`, {
    hint: `--name ${nic.name}`,
  });
}

/** Throws ConflictError where its published ports lead through that interface. */
export function refusePublishing({ name, ports = [] }: ContainerSpec, nic: NicSpec): void {
  const led = ports.filter(({ address }) => nic.addresses.some((each) => plainAddress(each) === address));
  if (led.length === 0) return;
  throw new ConflictError(`cannot disconnect ${name}: ${nic.name} has its published ports`, {
    hint: `minict port ${name}`,
  });
}

/**
 * Takes the interface that `find` means away, and gives its addresses up. Throws what that throws, NotFoundError, ConflictError,
 * HostError.
 */
export async function disconnect(
  context: Context,
  instance: string,
  name: string,
  find: (spec: ContainerSpec) => NicSpec,
): Promise<void> {
  requireTool('ip');
  await settleCables(context, instance, name);
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    await recover(context, instance, name, lock.fd);
    const before = await getContainer(context.roots, name);
    const nic = find(before);
    refusePublishing(before, nic);
    const after = await withoutNic(context, before, nic);
    const paths = containerPaths(context.roots, name);
    const journal = new Journal(paths.journal);
    const state = await settleNics(context, instance, before, journal, lock.fd);
    if (hasOwnHosts(after)) ensureHosts(paths.hosts);
    writeContainer(context.roots, after);
    if (state !== undefined) {
      await undoParts(context, name, state, stepsOfNic(state.steps, nic), journal, lock.fd);
      const owner = { container: name, instance, runDir: paths.runDir };
      const hosts = hasOwnHosts(after) ? planOwnHosts(context, before, state) : [];
      const steps = [...planInherited(owner, before, after, state), ...hosts];
      if (steps.length > 0) await applySteps(`disconnect ${name}`, steps, journal, spawnContext(context, lock.fd));
      if (state.phase !== undefined) journal.phase(state.phase);
    }
    await leaveNetwork(context, after, nic);
    tell(context, 'disconnect', name, nic);
  } finally {
    releaseContainer(context.roots, name, lock);
  }
}
