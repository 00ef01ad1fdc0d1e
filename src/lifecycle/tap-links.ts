/** A network's taps on the host: made at first use, put back with their network. The caller holds the networks' lock. */
import { ConflictError } from '../errors.ts';
import { readLinks } from '../host/links.ts';
import { interfaceIndex } from '../host/syscalls.ts';
import { networkDriver } from '../network/driver.ts';
import { aliasWord } from '../network/parts.ts';
import { tapStepId } from '../network/tap.ts';
import { applySteps } from '../runner/apply.ts';
import { identitiesOf } from '../runner/identity.ts';
import { Journal } from '../runner/journal.ts';
import type { NetworkRecord } from '../state/network.ts';
import { networkPaths } from '../state/paths.ts';
import type { Step } from '../step.ts';
import { type Context, spawnContext } from './context.ts';

/** Its steps on the host; the tap first, then what can be done again. */
export function planTap(record: NetworkRecord, instance: string, name: string): Step[] {
  return networkDriver(record).tap?.plan(record, name, aliasWord(instance, record.name, name)) ?? [];
}

type TapState = 'missing' | 'known' | 'adopted' | 'foreign';

/** One that is not in the journal, but has the tap's alias (a printed script made it), is in there from then on. */
export async function recognizeTap(
  context: Context,
  instance: string,
  record: NetworkRecord,
  name: string,
): Promise<TapState> {
  const index = interfaceIndex(name);
  const journal = new Journal(networkPaths(context.roots, record.name).journal);
  if (index !== 0) {
    if (journal.read()?.identities.get(tapStepId(name))?.[name] === String(index)) return 'known';
    if (readLinks().get(name)?.alias !== aliasWord(instance, record.name, name)) return 'foreign';
  }
  const left = planTap(record, instance, name).flatMap((step) => {
    const identities = identitiesOf(step.claims ?? []);
    return Object.keys(identities).length > 0 ? { step, identities } : [];
  });
  // Without the interface it is what a reboot leaves: a row of Open vSwitch's.
  if (left.length > 0) journal.plan(left.map(({ step }) => step));
  for (const { step, identities } of left) journal.done(step.id, identities);
  return index === 0 ? 'missing' : 'adopted';
}

/** What of them is missing, or is in no bridge, or down, by `loose`. Throws ConflictError where another's interface has the name. */
export async function ensureTaps(
  context: Context,
  instance: string,
  record: NetworkRecord,
  lockFd: number,
  loose: readonly string[] = [],
): Promise<void> {
  for (const name of Object.keys(record.taps ?? {})) {
    const state = await recognizeTap(context, instance, record, name);
    if (state === 'known' && !loose.includes(name)) continue;
    if (state === 'foreign') {
      throw new ConflictError(`cannot make tap ${name}: the host has an interface of that name`, {
        hint: `ip -d link show ${name}; minict network tap rm ${name} gives it up`,
      });
    }
    const [tap, ...rest] = planTap(record, instance, name) as [Step, ...Step[]];
    const steps = state === 'missing' ? [tap, ...rest] : rest;
    const journal = new Journal(networkPaths(context.roots, record.name).journal);
    await applySteps(`make tap ${name}`, steps, journal, spawnContext(context, lockFd));
  }
}
