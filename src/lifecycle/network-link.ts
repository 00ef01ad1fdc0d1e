/**
 * A network's interface on the host: made at first use, put back when it is gone, removed when nothing is in it. What is there
 * `link-state.ts` says. The caller holds the networks' lock.
 */
import { rmSync } from 'node:fs';
import { ConflictError, HostError } from '../errors.ts';
import { interfaceIndex } from '../host/syscalls.ts';
import { networkDriver } from '../network/driver.ts';
import { isTapStep } from '../network/tap.ts';
import { applySteps } from '../runner/apply.ts';
import { identitiesOf } from '../runner/identity.ts';
import type { JournalState } from '../runner/journal.ts';
import { ownClaims, undoSteps } from '../runner/undo.ts';
import { parseSubnet } from '../spec/address.ts';
import { type NetworkRecord, removeNetwork, writeNetwork } from '../state/network.ts';
import type { Step } from '../step.ts';
import { type Context, spawnContext } from './context.ts';
import { journalOf, knownOf, linkState, lostSteps, planNetwork, staleSteps, stepsWith } from './link-state.ts';
import { refuseOverlap } from './subnet.ts';
import { ensureTaps } from './tap-links.ts';

/**
 * What makes it whole, for scripts: all of it, without what is left of one before, or what was lost of it. Undefined where the
 * interface is another's. Reads only.
 */
export async function planLinkAgain(
  context: Context,
  instance: string,
  record: NetworkRecord,
): Promise<Step[] | undefined> {
  const state = record.foreign ? 'up' : await linkState(context, instance, record);
  if (state === 'foreign') return undefined;
  const steps = planNetwork(record, instance);
  if (state === 'partial') return lostSteps(record, instance, journalOf(context, record).read() as JournalState);
  if (state !== 'missing' && state !== 'half-made') return [];
  if (networkDriver(record).readOwner !== undefined) return steps;
  const left = state === 'missing' ? knownOf(context, instance, record) : { steps, identities: new Map() };
  const undoing = left.steps
    .filter((step) => !isTapStep(step) && ownClaims(step, left.identities).length > 0)
    .reverse()
    .flatMap(({ id, undo }): Step[] =>
      undo === undefined ? [] : [{ id: `no ${id}`, why: 'what is left of the one before', run: undo }],
    );
  return [...undoing, ...steps];
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

/** Without them. Throws the same. */
export async function ensureOwnLink(
  context: Context,
  instance: string,
  record: NetworkRecord,
  lockFd: number,
): Promise<void> {
  const state = await linkState(context, instance, record);
  if (state === 'up') return;
  if (state === 'unrecorded') {
    const known = journalOf(context, record).salvage();
    // Whoever made it may have been killed before all that goes with it was done.
    const again = known === undefined ? [] : stepsWith(record, instance, staleSteps(record, instance, known));
    adopt(context, instance, record);
    if (again.length === 0) return;
    await applySteps(`mend network ${record.name}`, again, journalOf(context, record), spawnContext(context, lockFd));
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
  // Of what is missing something beside it may be left; but a machine may run on a tap, which is found again by its alias.
  if (state === 'missing' || (state === 'half-made' && !isOver)) {
    await removeSteps(context, instance, record, lockFd, (step) => !isTapStep(step));
  }
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

/** Takes away what of it is there and minict's, its taps too. Throws HostError. */
export function removeLink(context: Context, instance: string, record: NetworkRecord, lockFd: number): Promise<void> {
  return removeSteps(context, instance, record, lockFd, () => true);
}

async function removeSteps(
  context: Context,
  instance: string,
  record: NetworkRecord,
  lockFd: number,
  isMeant: (step: Step) => boolean,
): Promise<void> {
  const state = await linkState(context, instance, record);
  if (state === 'unrecorded' || state === 'half-made') adopt(context, instance, record);
  const known = knownOf(context, instance, record);
  const left = await undoSteps({ ...known, steps: known.steps.filter(isMeant) }, spawnContext(context, lockFd));
  if (left.length > 0) throw new HostError(`cannot remove network ${record.name}: ${left.join('; ')}`);
  rmSync(journalOf(context, record).path, { force: true });
}
