/**
 * network reload: puts back what a firewall's reload or somebody's hand took of networks: bridges with their addresses, ports of
 * bridges, NAT and published ports, switches. No interface of a container is made anew, so what was set inside stays; one that is
 * gone comes back with `start`.
 */
import { HostError, InterruptedError, NotFoundError } from '../errors.ts';
import { type HostLink, readLinks } from '../host/links.ts';
import { nicDriver, type Owner } from '../network/driver.ts';
import { aliasWord, attaches } from '../network/parts.ts';
import { planNics } from '../plan/container.ts';
import { applySteps } from '../runner/apply.ts';
import { identityOf } from '../runner/identity.ts';
import { Journal, type JournalState } from '../runner/journal.ts';
import type { ContainerSpec, NicSpec } from '../spec/container.ts';
import { lockContainer, lockNetworks, releaseContainer } from '../state/locks.ts';
import { listNetworks, type NetworkRecord, readNetworks } from '../state/network.ts';
import { containerPaths, networkPaths } from '../state/paths.ts';
import { findContainer, listContainers } from '../state/store.ts';
import type { Step } from '../step.ts';
import { type Context, spawnContext } from './context.ts';
import { ensureGateway, planMissing } from './gateway.ts';
import { linkState } from './link-state.ts';
import { type Interfaces, isForeignDown, lostTaps, missingSteps } from './network-damage.ts';
import { ensureOwnLink, planLinkAgain } from './network-link.ts';
import { ensureTap, planTap } from './tap-links.ts';

type Links = ReadonlyMap<string, HostLink>;
/** Passes the lines on; an error is told, and ends no more than them. */
type Attempt = (lines: AsyncIterable<string>) => AsyncGenerator<string>;

/** Loaded where it is wanted, with its schema library. */
async function readInterfaces(): Promise<Interfaces> {
  return (await import('../host/interfaces.ts')).readInterfaces();
}

async function* reloadNetwork(
  context: Context,
  instance: string,
  record: NetworkRecord,
  lockFd: number,
  attempt: Attempt,
): AsyncGenerator<string> {
  const { name, link, foreign, uplink } = record;
  let interfaces = await readInterfaces();
  const isUsed = Object.keys(record.members).length > 0 || record.taps !== undefined;
  if (foreign && !interfaces.has(link)) {
    if (!isUsed) return;
    throw gone(name, link);
  }
  const state = foreign ? 'up' : await linkState(context, instance, record);
  if (state !== 'up') await ensureOwnLink(context, instance, record, lockFd);
  // What a printed script made is only not known yet.
  if (state !== 'up' && state !== 'unrecorded') {
    yield `network ${name}: ${link}`;
    interfaces = await readInterfaces();
  }
  const steps = missingSteps(record, instance, interfaces).filter(isPossible(record, interfaces));
  if (steps.length > 0) {
    const journal = new Journal(networkPaths(context.roots, name).journal);
    await applySteps(`reload network ${name}`, steps, journal, spawnContext(context, lockFd));
    yield* steps.map(({ id, why }) => `network ${name}: ${why} (${id})`);
  }
  async function* mend(tap: string): AsyncGenerator<string> {
    await ensureTap(context, instance, record, lockFd, { name: tap, isLoose: true });
    yield `network ${name}: tap ${tap}`;
  }
  for (const tap of await lostTaps(record, instance, interfaces)) yield* attempt(mend(tap));
  if (uplink !== undefined && !interfaces.has(uplink.link)) throw gone(name, uplink.link);
  if (isUsed && isForeignDown(record, interfaces)) {
    throw new HostError(`cannot reload network ${name}: the host's interface ${link} is down`, {
      hint: `ip link set dev ${link} up`,
    });
  }
}

/** Of a network whose uplink is gone all but that can be mended. */
function isPossible({ uplink }: NetworkRecord, interfaces: Interfaces): (step: Step) => boolean {
  const isGone = uplink !== undefined && !interfaces.has(uplink.link);
  return ({ id }) => !(isGone && id.startsWith('uplink'));
}

/** What is the host's own cannot be made for it. */
function gone(network: string, link: string): NotFoundError {
  return new NotFoundError(`cannot reload network ${network}: the host's interface ${link} is gone`, {
    hint: `bring ${link} back, then minict network reload`,
  });
}

function ownerOf({ roots }: Context, instance: string, container: string): Owner {
  return { container, instance, runDir: containerPaths(roots, container).runDir };
}

/**
 * Host ends that are there and not in their bridge, or down and not stopped; and published ports that lead nowhere. `bridges` are
 * those that are there by then.
 */
async function planContainerMending(
  spec: ContainerSpec,
  state: JournalState,
  owner: Owner,
  links: Links,
  bridges: ReadonlySet<string>,
): Promise<Step[]> {
  const isSame = ({ id, claims = [] }: Step) =>
    claims.every((claim) => identityOf(claim) === state.identities.get(id)?.[claim.name]);
  const isUp = state.phase !== 'stopped';
  const isLoose = async (nic: NicSpec) => {
    if ((nic.kind !== 'veth' && nic.kind !== 'ovs') || nic.down || !bridges.has(nic.bridge)) return false;
    const own = state.steps.find(({ claims }) => claims?.some(({ name }) => name === nic.hostLink));
    if (!links.has(nic.hostLink) || own === undefined || !isSame(own)) return false;
    const { loose, port } = await nicDriver(nic).findDamage(nic, spec.name, links);
    return loose !== undefined || (isUp && port !== undefined);
  };
  const isEachLoose = await Promise.all(spec.nics.map(isLoose));
  const loose = spec.nics.filter((_, index) => isEachLoose[index]);
  return [
    ...planNics(spec, owner).filter(
      (step) => loose.some((nic) => attaches(step, nic)) && (isUp || step.undo === undefined),
    ),
    ...state.steps.filter((step) => step.part === 'ports' && !isSame(step)),
  ];
}

/** Interfaces that have a network's name, and are somebody else's: nothing becomes a port of them. */
async function othersLinks(
  context: Context,
  instance: string,
  records: readonly NetworkRecord[],
): Promise<ReadonlySet<string>> {
  const links = new Set<string>();
  for (const record of records) {
    try {
      if ((await linkState(context, instance, record)) === 'foreign') links.add(record.link);
    } catch (error) {
      // What makes it does not run: that was told.
      if (!(error instanceof HostError)) throw error;
    }
  }
  return links;
}

async function* reloadContainer(
  context: Context,
  instance: string,
  name: string,
  others: ReadonlySet<string>,
): AsyncGenerator<string> {
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    const spec = await findContainer(context.roots, name);
    const journal = new Journal(containerPaths(context.roots, name).journal);
    const state = journal.read();
    if (spec === undefined || state?.phase === undefined) return;
    const links = readLinks();
    const bridges = new Set([...links.keys()].filter((link) => !others.has(link)));
    const steps = await planContainerMending(spec, state, ownerOf(context, instance, name), links, bridges);
    if (steps.length === 0) return;
    await applySteps(`reload ${name}`, steps, journal, spawnContext(context, lock.fd));
    journal.settled(steps.map(({ id }) => id));
    yield* steps.map(({ why }) => `${name}: ${why}`);
  } finally {
    releaseContainer(context.roots, name, lock);
  }
}

/** All that is missing, for a script; writes nothing. */
export async function planReload(context: Context, instance: string): Promise<Step[]> {
  const links = readLinks();
  const interfaces = await readInterfaces();
  const bridges = new Set(links.keys());
  const steps: Step[] = [];
  for (const record of await readNetworks(context.roots, listNetworks(context.roots))) {
    if (record.foreign && !links.has(record.link)) continue;
    const again = await planLinkAgain(context, instance, record);
    if (again === undefined) {
      bridges.delete(record.link);
      continue;
    }
    bridges.add(record.link);
    const ids = new Set(again.map(({ id }) => id));
    const missing = missingSteps(record, instance, interfaces).filter(({ id }) => !ids.has(id));
    steps.push(...again, ...missing.filter(isPossible(record, interfaces)));
    const taps = await lostTaps(record, instance, interfaces);
    for (const name of taps) {
      const [tap, ...rest] = planTap(record, instance, name) as [Step, ...Step[]];
      // One that is in no bridge is not made again; another's of that name ends the script there.
      const isThere = links.get(name)?.alias === aliasWord(instance, record.name, name);
      steps.push(...(isThere ? rest : [tap, ...rest]));
    }
  }
  steps.push(...(await planMissing(context, instance)));
  for (const name of listContainers(context.roots)) {
    const spec = await findContainer(context.roots, name);
    const state = new Journal(containerPaths(context.roots, name).journal).read();
    if (spec === undefined || state?.phase === undefined) continue;
    steps.push(...(await planContainerMending(spec, state, ownerOf(context, instance, name), links, bridges)));
  }
  return steps;
}

/** What was put back, a line each, as it is; what cannot be goes to `onError`, and the rest goes on. */
export async function* reload(
  context: Context,
  instance: string,
  onError: (error: unknown) => void,
): AsyncGenerator<string> {
  const attempt: Attempt = async function* (lines) {
    try {
      yield* lines;
    } catch (error) {
      if (error instanceof InterruptedError) throw error;
      onError(error);
    }
  };
  async function* reloadGateway(lockFd: number): AsyncGenerator<string> {
    yield* await ensureGateway(context, instance, lockFd, { anew: true });
  }
  let others: ReadonlySet<string>;
  const lock = lockNetworks(context.roots);
  try {
    const records = await readNetworks(context.roots, listNetworks(context.roots));
    for (const record of records) yield* attempt(reloadNetwork(context, instance, record, lock.fd, attempt));
    yield* attempt(reloadGateway(lock.fd));
    others = await othersLinks(context, instance, records);
  } finally {
    lock.release();
  }
  for (const name of listContainers(context.roots)) {
    yield* attempt(reloadContainer(context, instance, name, others));
  }
}
