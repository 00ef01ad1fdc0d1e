/**
 * A network's interface on the host: whose it is, made at first use, put back when it is gone, removed when nothing is in
 * it. It is known by its journal, and by its alias where that is lost. The caller holds the networks' lock.
 */
import { existsSync, rmSync } from 'node:fs';
import { ConflictError, HostError } from '../errors.ts';
import { type HostLink, readLinks } from '../host/links.ts';
import { interfaceIndex } from '../host/syscalls.ts';
import { networkDriver } from '../network/driver.ts';
import { aliasWord } from '../network/parts.ts';
import { applySteps } from '../runner/apply.ts';
import { identitiesOf, identityOf } from '../runner/identity.ts';
import { Journal, type JournalState } from '../runner/journal.ts';
import { undoSteps } from '../runner/undo.ts';
import { parseSubnet } from '../spec/address.ts';
import { type NetworkRecord, removeNetwork, writeNetwork } from '../state/network.ts';
import { networkPaths } from '../state/paths.ts';
import type { Step } from '../step.ts';
import { type Context, spawnContext } from './context.ts';
import { refuseOverlap } from './subnet.ts';
import { ensureTaps } from './tap-links.ts';

export function planNetwork(record: NetworkRecord, instance: string): Step[] {
  return networkDriver(record).planNetwork(record, aliasWord(instance, record.name));
}

function journalOf(context: Context, record: NetworkRecord): Journal {
  return new Journal(networkPaths(context.roots, record.name).journal);
}

/**
 * `unrecorded`: whole, but its journal is lost; `half-made`: whoever made it was killed; `partial`: something that was made
 * beside it is gone.
 */
export type LinkState = 'up' | 'unrecorded' | 'half-made' | 'partial' | 'missing' | 'foreign';

export async function linkState(context: Context, instance: string, record: NetworkRecord): Promise<LinkState> {
  const { readOwner } = networkDriver(record);
  const alias = aliasWord(instance, record.name);
  const index = interfaceIndex(record.link);
  const state = journalOf(context, record).salvage();
  if (readOwner !== undefined) {
    const owner = await readOwner(record);
    if (owner === undefined) return index === 0 ? 'missing' : 'foreign';
    if (owner !== alias) return 'foreign';
    return index !== 0 && state?.identities.get('up')?.[record.link] === String(index) ? 'up' : 'half-made';
  }
  if (index === 0) return 'missing';
  if (record.foreign) return 'up';
  const recorded = state?.identities.get('link')?.[record.link];
  if (state !== undefined && recorded === String(index) && isFinished(state)) {
    return lostSteps(record, instance, state).length > 0 ? 'partial' : 'up';
  }
  const link = readLinks().get(record.link);
  // Up comes last when it is made.
  if (link?.alias === alias) return link.isUp ? 'unrecorded' : 'half-made';
  const wasUnderWay = recorded === undefined && state?.steps.some((step) => step.id === 'link') === true;
  return wasUnderWay && link?.alias === undefined ? 'half-made' : 'foreign';
}

/** Whether the last of its steps was done, where that has a claim: what has none was made by one process. */
function isFinished({ steps, identities }: JournalState): boolean {
  const last = steps.find(({ id }) => id === 'up');
  return last?.claims === undefined || identities.has(last.id);
}

/** Steps by which something came into being that is no more, and those that went with it. */
function lostSteps(record: NetworkRecord, instance: string, { identities }: JournalState): Step[] {
  const steps = planNetwork(record, instance);
  const isLost = ({ id, run, claims = [] }: Step) =>
    run.kind === 'run' &&
    run.exclusive &&
    claims.some((claim) => identities.get(id)?.[claim.name] !== identityOf(claim));
  const lost = new Set(steps.filter(isLost).map(({ id }) => id));
  return steps.filter(({ id, endsWith }) => lost.has(id) || (endsWith !== undefined && lost.has(endsWith)));
}

/** Whether there is one that is minict's, or a record of one in the run dir. */
export async function isThere(context: Context, instance: string, record: NetworkRecord): Promise<boolean> {
  const state = await linkState(context, instance, record);
  return (state !== 'missing' && state !== 'foreign') || existsSync(journalOf(context, record).path);
}

/** With its taps. Throws ConflictError where an interface is another's, or a route of the host's is in its way. */
export async function ensureLink(
  context: Context,
  instance: string,
  record: NetworkRecord,
  lockFd: number,
): Promise<void> {
  await ensureOwnLink(context, instance, record, lockFd);
  if (record.taps !== undefined) await ensureTaps(context, instance, record, lockFd);
}

async function ensureOwnLink(context: Context, instance: string, record: NetworkRecord, lockFd: number): Promise<void> {
  const state = await linkState(context, instance, record);
  if (state === 'up') return;
  if (state === 'unrecorded') {
    adopt(context, instance, record);
    return;
  }
  if (state === 'foreign') {
    throw new ConflictError(
      `cannot make network ${record.name}: an interface ${record.link} is there, not this minict's`,
      {
        hint: record.isDefault
          ? `ip -d link show ${record.link}; --network with one of your own (minict network create lan), or --no-network`
          : `ip -d link show ${record.link}; a bridge can be used as it is: --bridge ${record.link}`,
      },
    );
  }
  const driver = networkDriver(record);
  const isOver = state === 'half-made' && driver.readOwner !== undefined;
  // Of what is missing something beside it may be left.
  if (state === 'missing' || (state === 'half-made' && !isOver)) await removeLink(context, instance, record, lockFd);
  await driver.validate(record);
  const journal = journalOf(context, record);
  if (state === 'partial') {
    const lost = lostSteps(record, instance, journal.read() as JournalState);
    await applySteps(`mend network ${record.name}`, lost, journal, spawnContext(context, lockFd));
    return;
  }
  for (const { subnet, gateway } of record.internal || isOver ? [] : record.subnets) {
    if (gateway === undefined) continue;
    await refuseOverlap(
      parseSubnet(subnet),
      'remove that route; or the containers, then minict system prune, for another subnet',
    );
  }
  journal.remove();
  const isNew = record.isDefault && Object.keys(record.members).length === 0;
  // Before the interface: so a killed minict's is found by its record.
  if (isNew) await writeNetwork(context.roots, record);
  try {
    const steps = planNetwork(record, instance);
    await applySteps(`make network ${record.name}`, steps, journal, spawnContext(context, lockFd));
  } catch (error) {
    if (interfaceIndex(record.link) === 0) {
      journal.remove();
      if (isNew) removeNetwork(context.roots, record.name);
    }
    throw error;
  }
}

function adopt(context: Context, instance: string, record: NetworkRecord): void {
  const journal = journalOf(context, record);
  journal.remove();
  const steps = planNetwork(record, instance);
  journal.plan(steps);
  for (const { id, claims } of steps) if (claims !== undefined) journal.done(id, identitiesOf(claims));
}

/** Takes away what of it is there and minict's. Throws HostError. */
export async function removeLink(
  context: Context,
  instance: string,
  record: NetworkRecord,
  lockFd: number,
): Promise<void> {
  const state = await linkState(context, instance, record);
  if (state === 'unrecorded' || state === 'half-made') adopt(context, instance, record);
  const journal = journalOf(context, record);
  const known = journal.salvage();
  const left = known === undefined ? [] : await undoSteps(known, spawnContext(context, lockFd));
  if (left.length > 0) throw new HostError(`cannot remove network ${record.name}: ${left.join('; ')}`);
  rmSync(journal.path, { force: true });
}

/** Whether something is in it: containers of printed scripts, machines of others. */
export async function linkInUse(context: Context, instance: string, record: NetworkRecord): Promise<boolean> {
  const state = await linkState(context, instance, record);
  if (record.foreign || state === 'missing' || state === 'foreign') return false;
  const own = [record.uplink?.link, record.vxlan?.link];
  const isPort = (name: string, { master }: HostLink) => master === record.link && !own.includes(name);
  const { readPorts } = networkDriver(record);
  // A deleted namespace's veth lives on for some milliseconds.
  const end = performance.now() + 1000;
  for (;;) {
    const ports = readPorts
      ? await readPorts(record, instance)
      : [...readLinks()].filter(([name, link]) => isPort(name, link));
    if (ports.length === 0) return false;
    if (performance.now() > end) return true;
    await Bun.sleep(20);
  }
}
