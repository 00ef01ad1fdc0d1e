/** What the verbs of networks would do, as lines of a shell script: see dry-run.ts. */
import { runLines, script, undoLines } from '../plan/shell.ts';
import { Journal, type JournalState } from '../runner/journal.ts';
import { type ContainerSpec, type NicSpec, networksOf } from '../spec/container.ts';
import type { NicRequest } from '../spec/nic.ts';
import { type NetworkRecord, plainAddress, readNetworks } from '../state/network.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer } from '../state/store.ts';
import type { Step } from '../step.ts';
import {
  findNic,
  planConnection,
  planInherited,
  planOwnHosts,
  refusePublishing,
  stepsOfNic,
  withNic,
  withoutNic,
} from './connect.ts';
import { ownHostsOf } from './container-facts.ts';
import type { Context } from './context.ts';
import {
  instanceForScripts,
  planHostsEntries,
  planHostsEntry,
  planSurroundings,
  planTakingBack,
} from './dry-run-surroundings.ts';
import { linkState, planNetwork } from './link-state.ts';
import { findNetwork } from './network.ts';
import { type NetworkRequest, planNewNetwork, requireUnused } from './networks.ts';
import { assignNics } from './nics.ts';
import { planTap, tapState } from './tap-links.ts';
import { getNetworkOfTap, planNewTap, type TapRequest } from './taps.ts';

export async function createNetworkLines(context: Context, request: NetworkRequest): Promise<string> {
  const record = await planNewNetwork(context, instanceForScripts(context), request);
  return runLines(await planSurroundings(context, [record]));
}

export async function uncreateNetworkLines(context: Context, request: NetworkRequest): Promise<string> {
  const instance = instanceForScripts(context);
  const record = await planNewNetwork(context, instance, request);
  return undoLines([...planNetwork(record, instance), ...(await planTakingBack(context, instance, [record]))]);
}

/** The network, and what NAT has on the host for it alone. */
async function planUnused(context: Context, name: string): Promise<Step[]> {
  const instance = instanceForScripts(context);
  const record = await requireUnused(context, instance, name);
  const isForeign = (await linkState(context, instance, record)) === 'foreign';
  const network = isForeign ? [] : planNetwork(record, instance);
  if (!record.nat) return network;
  const { nat: _, ...without } = record;
  const { planSurplus } = await import('./gateway.ts');
  return [...network, ...(await planSurplus(context, instance, { name: undefined, networks: [without] }))];
}

export async function removeNetworkLines(context: Context, name: string): Promise<string> {
  return undoLines(await planUnused(context, name));
}

export async function recreateNetworkLines(context: Context, name: string): Promise<string> {
  return runLines(await planUnused(context, name));
}

export async function reloadScript(context: Context): Promise<string> {
  const { planReload } = await import('./reload.ts');
  const lines = runLines(await planReload(context, instanceForScripts(context)));
  return script('puts networks back, as minict would', 'stop', lines);
}

async function planTapIn(context: Context, network: string, request: TapRequest) {
  const instance = instanceForScripts(context);
  const before = await findNetwork(context, instance, network, undefined);
  const record = await planNewTap(context, instance, before, request);
  return { before, record, steps: planTap(record, instance, request.name) };
}

export async function tapLines(context: Context, network: string, request: TapRequest): Promise<string> {
  const { before, record, steps } = await planTapIn(context, network, request);
  const { name } = request;
  const addresses = before.taps?.[name] === undefined ? record.taps?.[name]?.addresses : undefined;
  const entries = (addresses ?? []).map((address) => `${plainAddress(address)}\t${name}`);
  const names = planHostsEntry(context, network, entries);
  return runLines([...(await planSurroundings(context, [before])), ...steps, ...names]);
}

export async function untapLines(context: Context, network: string, request: TapRequest): Promise<string> {
  return undoLines((await planTapIn(context, network, request)).steps);
}

/** None, where the interface is somebody else's by now. */
async function planKnownTap(context: Context, name: string): Promise<Step[]> {
  const instance = instanceForScripts(context);
  const record = await getNetworkOfTap(context, name);
  return tapState(context, instance, record, name) === 'foreign' ? [] : planTap(record, instance, name);
}

export async function removeTapLines(context: Context, name: string): Promise<string> {
  return undoLines(await planKnownTap(context, name));
}

export async function remakeTapLines(context: Context, name: string): Promise<string> {
  return runLines(await planKnownTap(context, name));
}

function stateOf(context: Context, name: string): JournalState | undefined {
  return new Journal(containerPaths(context.roots, name).journal).read();
}

async function planConnect(context: Context, name: string, request: NicRequest) {
  const instance = instanceForScripts(context);
  const before = await getContainer(context.roots, name);
  const { nics, networks } = await assignNics(context, instance, before, [request]);
  const [nic] = nics as [NicSpec];
  const after = withNic(before, nic);
  const state = stateOf(context, name);
  const owner = { container: name, instance, runDir: containerPaths(context.roots, name).runDir };
  const steps = state === undefined ? [] : planConnection(owner, after, nic, state);
  return { before, after, nic, networks, state, steps };
}

/** A hosts file of its own, as it is afterwards, and where it is new, mounted. */
function planHosts(
  context: Context,
  before: ContainerSpec,
  after: ContainerSpec,
  networks: readonly NetworkRecord[],
  state: JournalState | undefined,
): Step[] {
  const content = ownHostsOf(after, networks);
  if (content === undefined || state === undefined) return [];
  const path = containerPaths(context.roots, after.name).hosts;
  const write: Step = { id: 'hosts', why: 'its hosts file', run: { kind: 'write', path, content } };
  return [write, ...planOwnHosts(context, before, state)];
}

export async function connectLines(context: Context, name: string, request: NicRequest): Promise<string> {
  const { before, after, nic, networks, state, steps } = await planConnect(context, name, request);
  const entries = planHostsEntries(context, { ...after, nics: [nic] });
  const hosts = planHosts(context, before, after, networks, state);
  return runLines([...(await planSurroundings(context, networks)), ...entries, ...steps, ...hosts]);
}

export async function unconnectLines(context: Context, name: string, request: NicRequest): Promise<string> {
  const { before, after, networks, state, steps } = await planConnect(context, name, request);
  return undoLines([...steps, ...planHosts(context, before, after, networks, state)]);
}

async function planDisconnect(context: Context, name: string, network: string, nicName: string | undefined) {
  const before = await getContainer(context.roots, name);
  const nic = findNic(before, network, nicName);
  refusePublishing(before, nic);
  const state = stateOf(context, name);
  const after = await withoutNic(context, before, nic);
  const networks = await readNetworks(context.roots, networksOf(before.nics));
  const owner = {
    container: name,
    instance: instanceForScripts(context),
    runDir: containerPaths(context.roots, name).runDir,
  };
  const inherited = state === undefined ? [] : planInherited(owner, before, after, state);
  return { before, after, networks, state, steps: stepsOfNic(state?.steps ?? [], nic), inherited };
}

export async function disconnectLines(
  context: Context,
  name: string,
  network: string,
  nicName: string | undefined,
): Promise<string> {
  const { before, after, networks, state, steps, inherited } = await planDisconnect(context, name, network, nicName);
  const left = networks.filter((record) => networksOf(after.nics).includes(record.name));
  return undoLines(steps) + runLines([...inherited, ...planHosts(context, before, after, left, state)]);
}

/** A default route goes back to whose it was. */
function withoutRoute(step: Step): Step {
  const { run } = step;
  if (run.kind !== 'run') return step;
  const words: Readonly<Record<string, string>> = { add: 'del', replace: 'del' };
  return { ...step, why: 'not its default route', run: { ...run, argv: run.argv.map((word) => words[word] ?? word) } };
}

export async function undisconnectLines(
  context: Context,
  name: string,
  network: string,
  nicName: string | undefined,
): Promise<string> {
  const { steps, inherited } = await planDisconnect(context, name, network, nicName);
  return runLines([...inherited.map(withoutRoute), ...steps]);
}
