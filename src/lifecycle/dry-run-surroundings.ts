/** What a script makes, or changes, around a container: minict's folders, networks, ways through the firewall, names. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readMountPoints } from '../host/facts.ts';
import { planHost } from '../plan/container.ts';
import { type ContainerSpec, networkOf, networksOf } from '../spec/container.ts';
import { joined, type NetworkRecord, plainAddress, readNetworks, withoutMembers } from '../state/network.ts';
import { networkPaths, skeletonPath } from '../state/paths.ts';
import { readInstance } from '../state/store.ts';
import type { Command, Step } from '../step.ts';
import { planSkeleton } from '../storage/rootfs.ts';
import type { Context } from './context.ts';
import { namespaceFoldersFor } from './create.ts';
import type { Coming } from './gateway.ts';
import { linkState, planNetwork } from './link-state.ts';

/** The id that scripts use; made up where this root has none yet. */
export function instanceForScripts(context: Context): string {
  return readInstance(context.roots) ?? '00000000';
}

/** Without a way back: a script's is printed apart. */
export function step(id: string, why: string, run: Command): Step {
  return { id, why, run };
}

/** What all containers of this host need, where it is not there yet. */
export async function planSurroundings(
  context: Context,
  networks: readonly NetworkRecord[],
  spec?: ContainerSpec,
): Promise<Step[]> {
  const { root } = context.roots;
  const dirs = [root, join(root, 'containers'), join(root, 'networks')].filter((dir) => !existsSync(dir));
  const mounted = readMountPoints();
  const folders = namespaceFoldersFor(spec);
  const ready = folders.every((dir) => mounted.some(({ target }) => target === dir));
  const instance = instanceForScripts(context);
  const missing: Step[] = [];
  for (const network of networks) {
    if ((await linkState(context, instance, network)) === 'missing') missing.push(...planNetwork(network, instance));
  }
  return [
    ...dirs.map((path) => step(path, "minict's folder, for root alone", { kind: 'mkdir', path, mode: 0o700 })),
    ...planSkeleton(skeletonPath(context.roots)),
    ...(ready ? [] : planHost(mounted, folders)),
    ...missing,
    ...(await planOpening(context, instance, networks, spec)),
  ];
}

/** Networks as they will be; undefined where nothing of the host is needed for NAT or published ports. */
function comingOf(networks: readonly NetworkRecord[], spec: ContainerSpec | undefined): Coming | undefined {
  if (spec?.ports === undefined && !networks.some(({ nat }) => nat)) return undefined;
  return { name: spec?.name, networks: spec === undefined ? networks : joined(spec, networks) };
}

/** What NAT, and the published ports of a container, need of the host. */
async function planOpening(
  context: Context,
  instance: string,
  networks: readonly NetworkRecord[],
  spec: ContainerSpec | undefined,
): Promise<Step[]> {
  const coming = comingOf(networks, spec);
  return coming === undefined ? [] : (await import('./gateway.ts')).planMissing(context, instance, coming);
}

/** Steps whose undo takes that back. */
export async function planTakingBack(
  context: Context,
  instance: string,
  networks: readonly NetworkRecord[],
  spec?: ContainerSpec,
): Promise<Step[]> {
  const coming = comingOf(networks, spec);
  return coming === undefined ? [] : (await import('./gateway.ts')).planTakingBack(context, instance, coming);
}

/** What published ports have on the host for this container alone. */
export async function planClosing(context: Context, { name, nics, ports }: ContainerSpec): Promise<Step[]> {
  if (ports === undefined) return [];
  const networks = await readNetworks(context.roots, networksOf(nics));
  const { planSurplus } = await import('./gateway.ts');
  const coming = { name: undefined, networks: networks.map((record) => withoutMembers(record, [name])) };
  return planSurplus(context, instanceForScripts(context), coming);
}

/** In the file that the members of a network have as /etc/hosts. */
export function planHostsEntry(context: Context, network: string, entries: readonly string[]): Step[] {
  const append = 'printf "%s\\n" "$@" >>"$0"';
  const { hosts } = networkPaths(context.roots, network);
  const run: Command = { kind: 'run', argv: ['sh', '-c', append, hosts, ...entries] };
  return entries.length === 0 ? [] : [step(`hosts entry ${network}`, 'its name, for all', run)];
}

/** Its names and addresses, for all of its networks. */
export function planHostsEntries(context: Context, { name, hostname, nics }: ContainerSpec): Step[] {
  return networksOf(nics).flatMap((network) => {
    const addresses = nics
      .filter((nic) => networkOf(nic) === network)
      .flatMap((nic) => nic.addresses.map(plainAddress));
    const entries = addresses.map((address) => `${address}\t${hostname} ${name}`);
    return planHostsEntry(context, network, entries);
  });
}
