/**
 * A network's interface on the host: whose it is, made at first use, put back when it is gone, removed when nothing is in
 * it. It is known by its journal, and by its alias where that is lost. The caller holds the networks' lock.
 */
import { existsSync, rmSync } from 'node:fs';
import { ConflictError, HostError } from '../errors.ts';
import type { HostLink } from '../host/links.ts';
import { interfaceIndex } from '../host/syscalls.ts';
import { networkDriver } from '../network/driver.ts';
import { aliasWord } from '../network/parts.ts';
import { applySteps } from '../runner/apply.ts';
import { identitiesOf } from '../runner/identity.ts';
import { Journal } from '../runner/journal.ts';
import { undoSteps } from '../runner/undo.ts';
import { parseSubnet } from '../spec/address.ts';
import { type NetworkRecord, removeNetwork, writeNetwork } from '../state/network.ts';
import { networkPaths } from '../state/paths.ts';
import type { Step } from '../step.ts';
import { type Context, spawnContext } from './context.ts';
import { refuseOverlap } from './subnet.ts';

export function planNetwork(record: NetworkRecord, instance: string): Step[] {
  return networkDriver(record).planNetwork(record, aliasWord(instance, record.name));
}

function journalOf(context: Context, record: NetworkRecord): Journal {
  return new Journal(networkPaths(context.roots, record.name).journal);
}

/** Loaded where it is wanted, with its schema library. */
async function readLinks(): Promise<Map<string, HostLink>> {
  return (await import('../host/links.ts')).readLinks();
}

/** `unrecorded`: whole, but its journal is lost; `half-made`: whoever made it was killed. */
export type LinkState = 'up' | 'unrecorded' | 'half-made' | 'missing' | 'foreign';

export async function linkState(context: Context, instance: string, record: NetworkRecord): Promise<LinkState> {
  const index = interfaceIndex(record.link);
  if (index === 0) return 'missing';
  if (record.foreign) return 'up';
  const state = journalOf(context, record).salvage();
  const recorded = state?.identities.get('link')?.[record.link];
  if (recorded === String(index)) return 'up';
  const link = (await readLinks()).get(record.link);
  // Up comes last when it is made.
  if (link?.alias === aliasWord(instance, record.name)) return link.isUp ? 'unrecorded' : 'half-made';
  const wasUnderWay = recorded === undefined && state?.steps.some((step) => step.id === 'link') === true;
  return wasUnderWay && link?.alias === undefined ? 'half-made' : 'foreign';
}

/** Whether there is one that is minict's, or a record of one in the run dir. */
export async function isThere(context: Context, instance: string, record: NetworkRecord): Promise<boolean> {
  const state = await linkState(context, instance, record);
  return (state !== 'missing' && state !== 'foreign') || existsSync(journalOf(context, record).path);
}

/** Throws ConflictError where the interface is another's, or a route of the host's is in its way. */
export async function ensureLink(
  context: Context,
  instance: string,
  record: NetworkRecord,
  lockFd: number,
): Promise<void> {
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
          ? `ip -d link show ${record.link}; --no-network does without`
          : `ip -d link show ${record.link}; a bridge can be used as it is: --bridge ${record.link}`,
      },
    );
  }
  if (state === 'half-made') await removeLink(context, instance, record, lockFd);
  await networkDriver(record).validate(record);
  for (const { subnet } of record.internal ? [] : record.subnets) {
    refuseOverlap(
      parseSubnet(subnet),
      'remove that route; or the containers, then minict system prune, for another subnet',
    );
  }
  const journal = journalOf(context, record);
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
  const isPort = (name: string, { master }: HostLink) => master === record.link && name !== record.uplink?.link;
  // A deleted namespace's veth lives on for some milliseconds.
  const end = performance.now() + 1000;
  for (;;) {
    if (![...(await readLinks())].some(([name, link]) => isPort(name, link))) return false;
    if (performance.now() > end) return true;
    await Bun.sleep(20);
  }
}
