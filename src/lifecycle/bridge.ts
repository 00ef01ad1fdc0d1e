/**
 * The bridge of a network: whose it is, made at first use, put back when it is gone, removed when nothing is in it. It is
 * known by its journal, and by its alias where that is lost. The caller holds the networks' lock.
 */
import { existsSync, rmSync } from 'node:fs';
import { ConflictError, HostError } from '../errors.ts';
import type { HostLink } from '../host/links.ts';
import { interfaceIndex } from '../host/syscalls.ts';
import { planBridge } from '../network/bridge.ts';
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
  return planBridge({
    bridge: record.bridge,
    mac: record.mac,
    gateway: record.gateway,
    prefix: parseSubnet(record.subnet).prefix,
    alias: aliasOf(record, instance),
  });
}

function aliasOf(record: NetworkRecord, instance: string): string {
  return `minict:${instance}:${record.name}`;
}

function journalOf(context: Context, record: NetworkRecord): Journal {
  return new Journal(networkPaths(context.roots, record.name).journal);
}

/** Loaded where it is wanted, with its schema library. */
async function readLinks(): Promise<Map<string, HostLink>> {
  return (await import('../host/links.ts')).readLinks();
}

/** `unrecorded`: whole, but its journal is lost; `half-made`: whoever made it was killed. */
export type BridgeState = 'up' | 'unrecorded' | 'half-made' | 'missing' | 'foreign';

export async function bridgeState(context: Context, instance: string, record: NetworkRecord): Promise<BridgeState> {
  const index = interfaceIndex(record.bridge);
  if (index === 0) return 'missing';
  const state = journalOf(context, record).salvage();
  const recorded = state?.identities.get('bridge')?.[record.bridge];
  if (recorded === String(index)) return 'up';
  const link = (await readLinks()).get(record.bridge);
  // Up comes last when it is made.
  if (link?.alias === aliasOf(record, instance)) return link.isUp ? 'unrecorded' : 'half-made';
  const wasUnderWay = recorded === undefined && state?.steps.some((step) => step.id === 'bridge') === true;
  return wasUnderWay && link?.alias === undefined ? 'half-made' : 'foreign';
}

/** Whether there is a bridge that is minict's, or a record of one in the run dir. */
export async function isThere(context: Context, instance: string, record: NetworkRecord): Promise<boolean> {
  const state = await bridgeState(context, instance, record);
  return (state !== 'missing' && state !== 'foreign') || existsSync(journalOf(context, record).path);
}

/** Throws ConflictError where the bridge is another's, or a route of the host's is in its way. */
export async function ensureBridge(
  context: Context,
  instance: string,
  record: NetworkRecord,
  lockFd: number,
): Promise<void> {
  const state = await bridgeState(context, instance, record);
  if (state === 'up') return;
  if (state === 'unrecorded') {
    adopt(context, instance, record);
    return;
  }
  if (state === 'foreign') {
    throw new ConflictError(
      `cannot make bridge ${record.bridge}: an interface of that name is there, and not this minict's`,
      {
        hint: `ip -d link show ${record.bridge}; --no-network does without`,
      },
    );
  }
  if (state === 'half-made') await removeBridge(context, instance, record, lockFd);
  const subnet = parseSubnet(record.subnet);
  refuseOverlap(subnet, 'remove that route; or the containers, then minict system prune, for another subnet');
  const journal = journalOf(context, record);
  journal.remove();
  const isEmpty = Object.keys(record.leases).length === 0;
  // Before the bridge: so a killed minict's is found by its record.
  if (isEmpty) writeNetwork(context.roots, record);
  try {
    const steps = planNetwork(record, instance);
    await applySteps(`make network ${record.name}`, steps, journal, spawnContext(context, lockFd));
  } catch (error) {
    if (interfaceIndex(record.bridge) === 0) {
      journal.remove();
      if (isEmpty) removeNetwork(context.roots, record.name);
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
export async function removeBridge(
  context: Context,
  instance: string,
  record: NetworkRecord,
  lockFd: number,
): Promise<void> {
  const state = await bridgeState(context, instance, record);
  if (state === 'unrecorded' || state === 'half-made') adopt(context, instance, record);
  const journal = journalOf(context, record);
  const known = journal.salvage();
  const left = known === undefined ? [] : await undoSteps(known, spawnContext(context, lockFd));
  if (left.length > 0) throw new HostError(`cannot remove network ${record.name}: ${left.join('; ')}`);
  rmSync(journal.path, { force: true });
}

/** Whether something is in the bridge: containers of printed scripts, machines of others. */
export async function bridgeInUse(context: Context, instance: string, record: NetworkRecord): Promise<boolean> {
  const state = await bridgeState(context, instance, record);
  if (state === 'missing' || state === 'foreign') return false;
  const isPort = ({ master }: HostLink) => master === record.bridge;
  // A deleted namespace's veth lives on for some milliseconds.
  const end = performance.now() + 1000;
  for (;;) {
    if (![...(await readLinks()).values()].some(isPort)) return false;
    if (performance.now() > end) return true;
    await Bun.sleep(20);
  }
}
