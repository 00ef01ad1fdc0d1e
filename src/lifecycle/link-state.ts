/** What of a network's interface, and of what was made beside it, is there: by its journal, and by its alias. Reads only. */
import { existsSync } from 'node:fs';
import { type HostLink, readLinks } from '../host/links.ts';
import { interfaceIndex } from '../host/syscalls.ts';
import { networkDriver } from '../network/driver.ts';
import { aliasWord } from '../network/parts.ts';
import { identitiesOf, identityOf } from '../runner/identity.ts';
import { Journal, type JournalState } from '../runner/journal.ts';
import type { NetworkRecord } from '../state/network.ts';
import { networkPaths } from '../state/paths.ts';
import type { Step } from '../step.ts';
import type { Context } from './context.ts';

export function planNetwork(record: NetworkRecord, instance: string): Step[] {
  return networkDriver(record).planNetwork(record, aliasWord(instance, record.name));
}

export function journalOf(context: Context, record: NetworkRecord): Journal {
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
    if (index !== 0 && state?.identities.get('up')?.[record.link] === String(index)) return 'up';
    const link = readLinks().get(record.link);
    return link?.alias === alias && link.isUp ? 'unrecorded' : 'half-made';
  }
  if (index === 0) return 'missing';
  if (record.foreign) return 'up';
  const recorded = state?.identities.get('link')?.[record.link];
  if (state !== undefined && recorded === String(index) && isFinished(state)) {
    if (staleSteps(record, instance, state).length === 0) return 'up';
    return lostSteps(record, instance, state).length > 0 ? 'partial' : 'unrecorded';
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

/** Steps by which something came into being that is not what is there now. */
export function staleSteps(record: NetworkRecord, instance: string, { identities }: JournalState): Step[] {
  return planNetwork(record, instance).filter(
    ({ id, run, claims = [] }) =>
      run.kind === 'run' &&
      run.exclusive &&
      claims.some((claim) => identities.get(id)?.[claim.name] !== identityOf(claim)),
  );
}

/** Those by which something came into being that is no more, and what went with it; a printed script may have made it again. */
export function lostSteps(record: NetworkRecord, instance: string, state: JournalState): Step[] {
  const isThere = ownLinks(record, instance, ({ isUp }) => isUp);
  const lost = staleSteps(record, instance, state).filter((step) => !isThere(step));
  return [...lost, ...stepsWith(record, instance, lost)];
}

/** What goes with these, and can be done again. */
export function stepsWith(record: NetworkRecord, instance: string, steps: readonly Step[]): Step[] {
  const ids = new Set(steps.map(({ id }) => id));
  return planNetwork(record, instance).filter(({ endsWith }) => endsWith !== undefined && ids.has(endsWith));
}

/** Whether a step's interfaces are there, the network's by their alias, and as they are to be. */
function ownLinks(
  record: NetworkRecord,
  instance: string,
  isAsItIsToBe: (link: HostLink) => boolean,
): (step: Step) => boolean {
  const alias = aliasWord(instance, record.name);
  const links = readLinks();
  return ({ claims = [] }) =>
    claims.length > 0 &&
    claims.every(({ kind, name }) => {
      const link = links.get(name);
      return kind === 'link' && link?.alias === alias && isAsItIsToBe(link);
    });
}

/** What is in its journal, and what of its plan is there without: by a printed script. */
export function knownOf(
  context: Context,
  instance: string,
  record: NetworkRecord,
): Pick<JournalState, 'steps' | 'identities'> {
  const { steps, identities } = journalOf(context, record).salvage() ?? { steps: [], identities: new Map() };
  const found = planNetwork(record, instance).filter(ownLinks(record, instance, () => true));
  const ids = new Set(found.map(({ id }) => id));
  return {
    steps: [...found, ...steps.filter(({ id }) => !ids.has(id))],
    identities: new Map([...identities, ...found.map(({ id, claims = [] }) => [id, identitiesOf(claims)] as const)]),
  };
}

/** Whether there is one that is minict's, or a record of one in the run dir. */
export async function isThere(context: Context, instance: string, record: NetworkRecord): Promise<boolean> {
  const state = await linkState(context, instance, record);
  return (state !== 'missing' && state !== 'foreign') || existsSync(journalOf(context, record).path);
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
