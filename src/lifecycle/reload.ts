/**
 * network reload: puts back what a firewall's reload or somebody's hand took of networks: bridges with their addresses, ports of
 * bridges, NAT and published ports, switches. No interface of a container is made anew, so what was set inside stays; one that is
 * gone comes back with `start`.
 */
import type { HostLink } from '../host/links.ts';
import type { Owner } from '../network/driver.ts';
import { attaches } from '../network/parts.ts';
import { planNics } from '../plan/container.ts';
import { applySteps } from '../runner/apply.ts';
import { identityOf } from '../runner/identity.ts';
import { Journal, type JournalState } from '../runner/journal.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { lockContainer, lockNetworks, releaseContainer } from '../state/locks.ts';
import { listNetworks, type NetworkRecord, readNetworks } from '../state/network.ts';
import { containerPaths, networkPaths } from '../state/paths.ts';
import { findContainer, listContainers } from '../state/store.ts';
import type { Step } from '../step.ts';
import { type Context, spawnContext } from './context.ts';
import { ensureGateway, planMissing } from './gateway.ts';
import { ensureLink, linkState, planNetwork } from './network-link.ts';

type Links = ReadonlyMap<string, HostLink>;

/** Loaded where it is wanted, with its schema library. */
async function readLinks(): Promise<Links> {
  return (await import('../host/links.ts')).readLinks();
}

/** Of a bridge that is there: its addresses, its uplink, its being up. */
async function planMending(record: NetworkRecord, instance: string, links: Links): Promise<Step[]> {
  const { readInterface } = await import('../host/interfaces.ts');
  const { addresses, isUp } = await readInterface(record.link);
  const there = addresses.map((address) => address.split('/')[0]);
  const isMissing = ({ id }: Step): boolean => {
    if (id.startsWith('address ')) return !there.includes(id.slice('address '.length));
    if (id === 'uplink') return links.get(record.uplink?.link ?? '')?.master !== record.link;
    if (id === 'uplink up') return links.get(record.uplink?.link ?? '')?.isUp === false;
    return id === 'up' && !isUp;
  };
  return planNetwork(record, instance).filter(isMissing);
}

async function reloadNetwork(
  context: Context,
  instance: string,
  record: NetworkRecord,
  lockFd: number,
): Promise<string[]> {
  if (record.foreign) return [];
  if ((await linkState(context, instance, record)) !== 'up') {
    await ensureLink(context, instance, record, lockFd);
    return [`network ${record.name}: ${record.link}`];
  }
  const steps = await planMending(record, instance, await readLinks());
  if (steps.length === 0) return [];
  const journal = new Journal(networkPaths(context.roots, record.name).journal);
  await applySteps(`reload network ${record.name}`, steps, journal, spawnContext(context, lockFd));
  return steps.map(({ id, why }) => `network ${record.name}: ${why} (${id})`);
}

function ownerOf({ roots }: Context, instance: string, container: string): Owner {
  return { container, instance, runDir: containerPaths(roots, container).runDir };
}

/** Host ends that are there and not in their bridge, or down and not stopped; and published ports that lead nowhere. */
function planContainerMending(spec: ContainerSpec, state: JournalState, owner: Owner, links: Links): Step[] {
  const isSame = ({ id, claims = [] }: Step) =>
    claims.every((claim) => identityOf(claim) === state.identities.get(id)?.[claim.name]);
  const isUp = state.phase !== 'stopped';
  const loose = spec.nics.filter((nic) => {
    if (nic.kind !== 'veth' || nic.down) return false;
    const link = links.get(nic.hostLink);
    const own = state.steps.find(({ claims }) => claims?.some(({ name }) => name === nic.hostLink));
    return (
      link !== undefined && own !== undefined && isSame(own) && (link.master !== nic.bridge || (isUp && !link.isUp))
    );
  });
  return [
    ...planNics(spec, owner).filter(
      (step) => loose.some((nic) => attaches(step, nic)) && (isUp || step.undo === undefined),
    ),
    ...state.steps.filter((step) => step.part === 'ports' && !isSame(step)),
  ];
}

async function reloadContainer(context: Context, instance: string, name: string): Promise<string[]> {
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    const spec = await findContainer(context.roots, name);
    const journal = new Journal(containerPaths(context.roots, name).journal);
    const state = journal.read();
    if (spec === undefined || state?.phase === undefined) return [];
    const steps = planContainerMending(spec, state, ownerOf(context, instance, name), await readLinks());
    if (steps.length === 0) return [];
    await applySteps(`reload ${name}`, steps, journal, spawnContext(context, lock.fd));
    journal.phase(state.phase);
    return steps.map(({ why }) => `${name}: ${why}`);
  } finally {
    releaseContainer(context.roots, name, lock);
  }
}

/** All that is missing, for a script; writes nothing. */
export async function planReload(context: Context, instance: string): Promise<Step[]> {
  const links = await readLinks();
  const steps: Step[] = [];
  for (const record of await readNetworks(context.roots, listNetworks(context.roots))) {
    if (record.foreign) continue;
    const isUp = (await linkState(context, instance, record)) === 'up';
    steps.push(...(isUp ? await planMending(record, instance, links) : planNetwork(record, instance)));
  }
  steps.push(...(await planMissing(context, instance)));
  for (const name of listContainers(context.roots)) {
    const spec = await findContainer(context.roots, name);
    const state = new Journal(containerPaths(context.roots, name).journal).read();
    if (spec === undefined || state?.phase === undefined) continue;
    steps.push(...planContainerMending(spec, state, ownerOf(context, instance, name), links));
  }
  return steps;
}

/** What was put back, a line each, as it is; what cannot be goes to `onError`, and the rest goes on. */
export async function* reload(
  context: Context,
  instance: string,
  onError: (error: unknown) => void,
): AsyncGenerator<string> {
  const attempt = async (action: () => Promise<string[]>): Promise<string[]> => {
    try {
      return await action();
    } catch (error) {
      onError(error);
      return [];
    }
  };
  const lock = lockNetworks(context.roots);
  try {
    const records = await readNetworks(context.roots, listNetworks(context.roots));
    for (const record of records) yield* await attempt(() => reloadNetwork(context, instance, record, lock.fd));
    yield* await attempt(() => ensureGateway(context, instance, lock.fd, { anew: true }));
  } finally {
    lock.release();
  }
  for (const name of listContainers(context.roots))
    yield* await attempt(() => reloadContainer(context, instance, name));
}
