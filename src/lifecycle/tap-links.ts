/** A network's taps on the host: made at first use, put back with their network. The caller holds the networks' lock. */
import { ConflictError } from '../errors.ts';
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

/** The tap first, then what can be done again. */
export function planTap(record: NetworkRecord, instance: string, name: string): Step[] {
  return networkDriver(record).planTap?.(record, name, aliasWord(instance, record.name, name)) ?? [];
}

/** What of them is missing, or is in no bridge by `loose`. Throws ConflictError where another's interface has the name. */
export async function ensureTaps(
  context: Context,
  instance: string,
  record: NetworkRecord,
  lockFd: number,
  loose: readonly string[] = [],
): Promise<void> {
  for (const name of Object.keys(record.taps ?? {})) {
    const journal = new Journal(networkPaths(context.roots, record.name).journal);
    const index = interfaceIndex(name);
    const id = tapStepId(name);
    const isOurs = index !== 0 && journal.read()?.identities.get(id)?.[name] === String(index);
    if (isOurs && !loose.includes(name)) continue;
    const [tap, ...rest] = planTap(record, instance, name) as [Step, ...Step[]];
    if (index !== 0 && !isOurs) {
      const { readLinks } = await import('../host/links.ts');
      if ((await readLinks()).get(name)?.alias !== aliasWord(instance, record.name, name)) {
        throw new ConflictError(`cannot make tap ${name}: the host has an interface of that name`, {
          hint: `ip -d link show ${name}; minict network tap rm ${name} gives it up`,
        });
      }
      journal.plan([tap]);
      journal.done(id, identitiesOf(tap.claims ?? []));
    }
    const steps = index === 0 ? [tap, ...rest] : rest;
    await applySteps(`make tap ${name}`, steps, journal, spawnContext(context, lockFd));
  }
}
