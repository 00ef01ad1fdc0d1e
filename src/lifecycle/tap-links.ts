/** A network's taps on the host: made at first use, put back with their network. The caller holds the networks' lock. */
import { ConflictError } from '../errors.ts';
import { readLinks } from '../host/links.ts';
import { interfaceIndex } from '../host/syscalls.ts';
import { networkDriver } from '../network/driver.ts';
import { aliasWord } from '../network/parts.ts';
import { tapStepId } from '../network/tap.ts';
import { applySteps } from '../runner/apply.ts';
import { identitiesOf } from '../runner/identity.ts';
import type { NetworkRecord } from '../state/network.ts';
import type { Step } from '../step.ts';
import { type Context, spawnContext } from './context.ts';
import { journalOf } from './link-state.ts';

/** Its steps on the host; the tap first, then what can be done again. */
export function planTap(record: NetworkRecord, instance: string, name: string): Step[] {
  return networkDriver(record).tap?.plan(record, name, aliasWord(instance, record.name, name)) ?? [];
}

type TapState = 'missing' | 'known' | 'adopted' | 'foreign';

/** What of its name is there. Reads only. */
export function tapState(context: Context, instance: string, record: NetworkRecord, name: string): TapState {
  const index = interfaceIndex(name);
  if (index === 0) return 'missing';
  const recorded = journalOf(context, record).read()?.identities.get(tapStepId(name))?.[name];
  if (recorded === String(index)) return 'known';
  return readLinks().get(name)?.alias === aliasWord(instance, record.name, name) ? 'adopted' : 'foreign';
}

/** One that is not in the journal, but has the tap's alias (a printed script made it), is in there from then on. */
export function recognizeTap(context: Context, instance: string, record: NetworkRecord, name: string): TapState {
  const state = tapState(context, instance, record, name);
  if (state === 'known' || state === 'foreign') return state;
  const journal = journalOf(context, record);
  const left = planTap(record, instance, name).flatMap((step) => {
    const identities = identitiesOf(step.claims ?? []);
    return Object.keys(identities).length > 0 ? { step, identities } : [];
  });
  // Without the interface it is what a reboot leaves: a row of Open vSwitch's.
  if (left.length > 0) journal.plan(left.map(({ step }) => step));
  for (const { step, identities } of left) journal.done(step.id, identities);
  return state;
}

/** One that is missing, or, where it is `isLoose`, in no bridge or down. Throws ConflictError where another's interface has the name. */
export async function ensureTap(
  context: Context,
  instance: string,
  record: NetworkRecord,
  lockFd: number,
  { name, isLoose }: { name: string; isLoose: boolean },
): Promise<void> {
  const state = recognizeTap(context, instance, record, name);
  if (state === 'known' && !isLoose) return;
  if (state === 'foreign') {
    throw new ConflictError(`cannot make tap ${name}: the host has an interface of that name`, {
      hint: `ip -d link show ${name}; minict network tap rm ${name} gives it up`,
    });
  }
  const [tap, ...rest] = planTap(record, instance, name) as [Step, ...Step[]];
  const steps = state === 'missing' ? [tap, ...rest] : rest;
  await applySteps(`make tap ${name}`, steps, journalOf(context, record), spawnContext(context, lockFd));
}

/** All that are missing. Throws ConflictError. */
export async function ensureTaps(
  context: Context,
  instance: string,
  record: NetworkRecord,
  lockFd: number,
): Promise<void> {
  for (const name of Object.keys(record.taps ?? {})) {
    await ensureTap(context, instance, record, lockFd, { name, isLoose: false });
  }
}
