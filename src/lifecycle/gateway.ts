/**
 * What NAT and published ports need on the host and share: minict's nftables table, and forwarding. It follows from the
 * networks' records, is there while one of them asks for it, and has a journal of its own. The caller holds the networks' lock.
 */
import { existsSync, readFileSync } from 'node:fs';
import { HostError } from '../errors.ts';
import {
  type ForwardingFacts,
  isReliedOn,
  planForwarding,
  planIpv6Forwarding,
  planRouteLocalnet,
} from '../network/forwarding.ts';
import { planLoopbackGuard, planNat, planPublished, planTable, planUnusedTable, TABLE } from '../network/nat.ts';
import { doAgain } from '../runner/again.ts';
import { applySteps } from '../runner/apply.ts';
import { identityOf } from '../runner/identity.ts';
import { Journal, type JournalState } from '../runner/journal.ts';
import { undoSteps } from '../runner/undo.ts';
import { isEvery, isIpv6, isLoopback, type Port } from '../spec/port.ts';
import { isHeld, listNetworks, type NetworkRecord, readNetworks } from '../state/network.ts';
import { gatewayJournalPath } from '../state/paths.ts';
import type { Step } from '../step.ts';
import { type Context, spawnContext } from './context.ts';

/** A network, and the published ports that lead into it. */
interface Served {
  readonly record: NetworkRecord;
  readonly ports: readonly Port[];
}

function portsInto(context: Context, { members }: NetworkRecord, coming: string | undefined): Port[] {
  return Object.entries(members).flatMap(([name, { nics, ports = [] }]) => {
    const addresses = new Set(Object.values(nics).flat());
    return name === coming || isHeld(context.roots, name) ? ports.filter(({ address }) => addresses.has(address)) : [];
  });
}

/** A container, or a network, that has no record yet: networks as they will be. */
export interface Coming {
  readonly name: string | undefined;
  readonly networks: readonly NetworkRecord[];
}

async function readServed(context: Context, coming: Coming | undefined): Promise<Served[]> {
  const known = await readNetworks(context.roots, listNetworks(context.roots));
  const records = new Map([...known, ...(coming?.networks ?? [])].map((record) => [record.name, record]));
  return [...records.values()]
    .map((record) => ({ record, ports: portsInto(context, record, coming?.name) }))
    .filter(({ record, ports }) => record.nat || ports.length > 0);
}

/** Through which packets come that go on: bridges that ask for it, and of the host's those that a port is bound to, or all. */
function forwardingLinks(served: readonly Served[], bridges: ReadonlySet<string>, family: 4 | 6): string[] {
  const isOf = (ip: string) => isIpv6(ip) === (family === 6);
  const forwarding = served.filter(
    ({ record: { nat, subnets }, ports }) =>
      (nat && subnets.some(({ subnet }) => isOf(subnet))) || ports.some(({ ip }) => isOf(ip) && !isLoopback(ip)),
  );
  if (forwarding.length === 0) return [];
  const bound = new Set(forwarding.flatMap(({ ports }) => ports.map(({ ip }) => ip).filter(isOf)));
  const isAll = forwarding.some(({ record }) => record.nat) || [...bound].some(isEvery);
  // Imported at the top, node:os would cost every connect 0.3 ms.
  const { networkInterfaces } = process.getBuiltinModule('node:os');
  const hosts = Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) => {
    const here = addresses.filter(({ internal, address }) => !internal && isOf(address));
    return here.length > 0 && (isAll || here.some(({ address }) => bound.has(address))) ? [name] : [];
  });
  const own = forwarding.map(({ record }) => record.link);
  return [...new Set([...own, ...hosts.filter((name) => !bridges.has(name))])];
}

function readSwitch(path: string): string | undefined {
  const file = `/proc/sys/net/${path}`;
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined;
}

function readForwarding(state: JournalState | undefined): ForwardingFacts {
  const ours = new Set(state?.steps.flatMap(({ run }) => (run.kind === 'write' ? [run.path] : [])));
  return {
    read: readSwitch,
    // Of an interface that a script is to make first there is none yet.
    isOurs: (path) => readSwitch(path) !== '1' || ours.has(`/proc/sys/net/${path}`),
  };
}

/** All of it, from what the networks ask for. What guards comes before what opens. */
async function planGateway(
  context: Context,
  instance: string,
  facts: ForwardingFacts,
  coming: Coming | undefined,
): Promise<Step[]> {
  const served = await readServed(context, coming);
  if (served.length === 0) return [];
  const published = served.filter(({ ports }) => ports.length > 0).map(({ record }) => record);
  const loopback = served
    .filter(({ ports }) => ports.some(({ ip }) => isLoopback(ip) || ip === '0.0.0.0'))
    .map(({ record }) => record);
  const all = await readNetworks(context.roots, listNetworks(context.roots));
  const bridges = new Set(all.filter(({ foreign }) => !foreign).map(({ link }) => link));
  return [
    planTable(instance),
    ...served.filter(({ record }) => record.nat).flatMap(({ record }) => planNat(instance, record)),
    ...published.flatMap((record) => planPublished(instance, record)),
    ...loopback.map((record) => planLoopbackGuard(instance, record)),
    ...loopback.flatMap((record) => planRouteLocalnet(record, facts)),
    ...planForwarding(forwardingLinks(served, bridges, 4), facts),
    ...planIpv6Forwarding(forwardingLinks(served, bridges, 6), facts),
  ];
}

/** Whether the step's thing is as it was left: a firewall's reload takes the table, and whoever makes an interface anew its switches. */
function isInEffect({ id, claims = [], run, endsWith }: Step, state: JournalState | undefined): boolean {
  const known = state?.steps.find((step) => step.id === id);
  if (known === undefined || state?.interrupted.has(id)) return false;
  const isSame = (claim: (typeof claims)[number]) => state?.identities.get(id)?.[claim.name] === identityOf(claim);
  const table = state?.steps.find((step) => step.id === TABLE);
  if (endsWith === TABLE && table !== undefined && !isInEffect(table, state)) return false;
  const isSet = run.kind !== 'write' || readSwitch(run.path.slice('/proc/sys/net/'.length)) === run.content;
  return claims.every(isSame) && isSet;
}

/** Whether the table is there that was made last. */
export function hasTable(context: Context): boolean {
  const state = new Journal(gatewayJournalPath(context.roots)).salvage();
  const table = state?.steps.find(({ id }) => id === TABLE);
  return table !== undefined && isInEffect(table, state);
}

/** What is not as it should be. For scripts; writes nothing. */
export async function planMissing(context: Context, instance: string, coming?: Coming): Promise<Step[]> {
  const state = new Journal(gatewayJournalPath(context.roots)).salvage();
  const wanted = await planGateway(context, instance, readForwarding(state), coming);
  return wanted.filter((step) => !isInEffect(step, state));
}

/** What a script that made `coming` takes back; its own ports go with its container. Writes nothing. */
export async function planTakingBack(context: Context, instance: string, coming: Coming): Promise<Step[]> {
  if ((await readServed(context, undefined)).length > 0) {
    return (await planMissing(context, instance, coming)).filter(({ id }) => id !== TABLE);
  }
  const own = new Set(coming.networks.map(({ link }) => link));
  const facts = readForwarding(undefined);
  // On a bridge of minict's nobody else sets them: they are on where the script has run.
  const isOurs = (path: string) => facts.isOurs(path) || own.has(path.split('/')[2] ?? '');
  const all = await planGateway(context, instance, { ...facts, isOurs }, coming);
  const switches = all.flatMap((step) =>
    step.undo?.kind === 'write' && !isReliedOn(step, facts) ? step.undo.path : [],
  );
  return [planUnusedTable(instance, switches), ...all.filter(({ id }) => id.startsWith('nat '))];
}

/** What nobody asks for any more once networks are as `coming` has them. For scripts; writes nothing. */
export async function planSurplus(context: Context, instance: string, coming: Coming): Promise<Step[]> {
  const state = new Journal(gatewayJournalPath(context.roots)).salvage();
  const facts = readForwarding(state);
  const ids = new Set((await planGateway(context, instance, facts, coming)).map(({ id }) => id));
  return (state?.steps ?? []).filter((step) => !ids.has(step.id) && !isReliedOn(step, facts));
}

/** Takes away what nobody asks for any more. Throws HostError. */
async function undoSurplus(
  context: Context,
  journal: Journal,
  state: JournalState,
  facts: ForwardingFacts,
  wanted: readonly Step[],
  lockFd: number,
): Promise<void> {
  const ids = new Set(wanted.map(({ id }) => id));
  const surplus = state.steps.filter(({ id }) => !ids.has(id));
  const given = surplus.filter((step) => !isReliedOn(step, facts));
  const left = await undoSteps({ ...state, steps: given }, spawnContext(context, lockFd));
  if (left.length > 0) throw new HostError(`cannot remove NAT and published ports: ${left.join('; ')}`);
  if (wanted.length === 0) journal.remove();
  else if (surplus.length > 0) journal.undone(surplus.map(({ id }) => id));
}

export interface EnsureOptions {
  readonly coming?: Coming;
  /** Also what seems to be there: a rule or an element that somebody took out. */
  readonly anew?: boolean;
}

/** Brings it to what the networks ask for. Returns what was missing, in lines. Throws StepError, HostError. */
export async function ensureGateway(
  context: Context,
  instance: string,
  lockFd: number,
  { coming, anew = false }: EnsureOptions = {},
): Promise<string[]> {
  const journal = new Journal(gatewayJournalPath(context.roots));
  const state = journal.salvage();
  const facts = readForwarding(state);
  const wanted = await planGateway(context, instance, facts, coming);
  const missing = wanted.filter((step) => !isInEffect(step, state));
  if (state !== undefined) await undoSurplus(context, journal, state, facts, wanted, lockFd);
  if (missing.length > 0) {
    try {
      await applySteps('set up NAT and published ports', missing, journal, spawnContext(context, lockFd));
    } catch (error) {
      if (journal.salvage()?.steps.length === 0) journal.remove();
      throw error;
    }
    journal.phase('up');
  }
  if (anew) {
    const rest = wanted.filter((step) => !missing.includes(step));
    const commands = rest.filter(({ run }) => run.kind === 'run');
    await doAgain('set up NAT and published ports', commands, spawnContext(context, lockFd));
  }
  return missing.map(({ why }) => why);
}

/** Takes away what nobody asks for any more, where there is something. */
export async function settleGateway(context: Context, instance: string, lockFd: number): Promise<void> {
  const journal = new Journal(gatewayJournalPath(context.roots));
  const state = journal.salvage();
  if (state === undefined) return;
  const facts = readForwarding(state);
  await undoSurplus(context, journal, state, facts, await planGateway(context, instance, facts, undefined), lockFd);
}
