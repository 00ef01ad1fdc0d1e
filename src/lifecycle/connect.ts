/**
 * connect and disconnect: an interface more, or one less, of a container, whether it is up or not. What is wanted is written
 * down before the kernel is changed: a `start` finishes what a killed one left.
 */
import { ConflictError, NotFoundError } from '../errors.ts';
import { requireTools } from '../host/tool.ts';
import { nicPart } from '../network/parts.ts';
import { planNics } from '../plan/container.ts';
import { applySteps } from '../runner/apply.ts';
import { Journal, type JournalState } from '../runner/journal.ts';
import { type ContainerSpec, type NicSpec, networksOf } from '../spec/container.ts';
import type { NicRequest } from '../spec/nic.ts';
import { ensureHosts } from '../state/hosts.ts';
import { lockContainer, lockNetworks, releaseContainer } from '../state/locks.ts';
import { plainAddress } from '../state/network.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer, writeContainer } from '../state/store.ts';
import type { Step } from '../step.ts';
import { hostsFileOf } from './container-facts.ts';
import { type Context, spawnContext } from './context.ts';
import { waitForHostLinks } from './create.ts';
import { leave, reserveNics } from './nics.ts';
import { recover } from './remove.ts';
import { undoParts } from './stop.ts';

/** Of the steps those that belong to one interface. */
export function stepsOfNic(steps: readonly Step[], nic: NicSpec): Step[] {
  const parts: readonly (string | undefined)[] = [nicPart(nic), `port ${nic.name}`];
  return steps.filter(({ part }) => parts.includes(part));
}

/** /etc/hosts is another file for who is in several networks: mounted in its place while the container is up. */
export function planHostsChange(context: Context, spec: ContainerSpec, state: JournalState): Step[] {
  const source = hostsFileOf(context, spec);
  const mount = state.steps.find(({ id }) => id === 'mount /etc/hosts');
  if (mount?.run.kind !== 'mount' || source === mount.run.source) return [];
  const { target, mntns } = mount.run;
  const where = mntns === undefined ? {} : { mntns };
  return [
    {
      id: 'umount /etc/hosts',
      why: 'the hosts file is that of other networks',
      chain: 'hosts',
      part: 'mounts',
      // Somebody may be reading it.
      run: { kind: 'umount', targets: [target], lazy: true, ...where },
    },
    { ...mount, chain: 'hosts', part: 'mounts', run: { ...mount.run, source } },
  ];
}

/** Its steps while the namespaces are there; what a stop took away comes with the next start. */
export function planConnection(instance: string, spec: ContainerSpec, nic: NicSpec, state: JournalState): Step[] {
  const isUp = state.phase !== 'stopped';
  return stepsOfNic(planNics(spec, instance), nic).filter(({ part }) => isUp || part === nicPart(nic));
}

/** Gives `name` an interface in a network. Returns it. Throws NotFoundError, ConflictError, InvalidInputError, StepError. */
export async function connect(context: Context, instance: string, name: string, request: NicRequest): Promise<NicSpec> {
  requireTools();
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    await recover(context, instance, name, lock.fd);
    const before = await getContainer(context.roots, name);
    const paths = containerPaths(context.roots, name);
    const journal = new Journal(paths.journal);
    const state = journal.read();
    const reservation = await reserveNics(context, instance, before, [request]);
    try {
      const [nic] = reservation.nics as [NicSpec];
      const after = { ...before, nics: [...before.nics, nic] };
      if (networksOf(after.nics).length > 1) ensureHosts(paths.hosts);
      await waitForHostLinks(after, [nic]);
      await reservation.commit();
      writeContainer(context.roots, after);
      if (state?.phase === undefined) return nic;
      const apply = (steps: readonly Step[]) =>
        applySteps(`connect ${name}`, steps, journal, spawnContext(context, lock.fd));
      try {
        await apply([...planConnection(instance, after, nic, state), ...planHostsChange(context, after, state)]);
      } catch (error) {
        writeContainer(context.roots, before);
        await leaveNetwork(context, before, nic);
        await apply(planHostsChange(context, before, journal.read() ?? state));
        journal.phase(state.phase);
        throw error;
      }
      journal.phase(state.phase);
      return nic;
    } finally {
      reservation.release();
    }
  } finally {
    releaseContainer(context.roots, name, lock);
  }
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
  const here = spec.nics.filter((nic) => nic.network === network && (nicName === undefined || nic.name === nicName));
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
function refusePublishing({ name, ports = [] }: ContainerSpec, nic: NicSpec): void {
  const led = ports.filter(({ address }) => nic.addresses.some((each) => plainAddress(each) === address));
  if (led.length === 0) return;
  throw new ConflictError(`cannot disconnect ${name}: ${nic.name} has its published ports`, {
    hint: `minict port ${name}`,
  });
}

/** Takes an interface away, and gives its addresses up. Throws NotFoundError, ConflictError, HostError. */
export async function disconnect(
  context: Context,
  instance: string,
  name: string,
  network: string,
  nicName: string | undefined,
): Promise<void> {
  requireTools();
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    await recover(context, instance, name, lock.fd);
    const before = await getContainer(context.roots, name);
    const nic = findNic(before, network, nicName);
    refusePublishing(before, nic);
    const after = { ...before, nics: before.nics.filter((each) => each !== nic) };
    const paths = containerPaths(context.roots, name);
    const journal = new Journal(paths.journal);
    const state = journal.read();
    if (networksOf(after.nics).length !== 1) ensureHosts(paths.hosts);
    writeContainer(context.roots, after);
    if (state !== undefined) {
      await undoParts(context, name, state, stepsOfNic(state.steps, nic), journal, lock.fd);
      const steps = state.phase === 'stopped' ? [] : planHostsChange(context, after, state);
      if (steps.length > 0) await applySteps(`disconnect ${name}`, steps, journal, spawnContext(context, lock.fd));
      if (state.phase !== undefined) journal.phase(state.phase);
    }
    await leaveNetwork(context, after, nic);
  } finally {
    releaseContainer(context.roots, name, lock);
  }
}
