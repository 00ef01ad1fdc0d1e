/** What networks are like now, for people: their state on the host, what is missing of it, who is in them. Reads only. */
import { HostError } from '../errors.ts';
import { networkOf } from '../spec/container.ts';
import { getNetwork, isHeld, listNetworks, type NetworkRecord, readNetworks } from '../state/network.ts';
import type { Roots } from '../state/paths.ts';
import { findContainer } from '../state/store.ts';
import type { Context } from './context.ts';
import { type LinkState, linkState } from './link-state.ts';
import { type Interfaces, shownDamage } from './network-damage.ts';

export interface NetworkView {
  readonly record: NetworkRecord;
  /** Containers that are in it, up or not. */
  readonly members: readonly string[];
  readonly state: 'up' | 'missing' | 'foreign' | 'broken';
  /** What of one that is broken is not as it was made. */
  readonly missing: readonly string[];
  /** Interfaces of members that are taken down (`link down`), as `NAME:NIC`. */
  readonly down: readonly string[];
}

async function shownState(
  context: Context,
  instance: string,
  record: NetworkRecord,
  look: Look,
): Promise<Pick<NetworkView, 'state' | 'missing'>> {
  let state: LinkState;
  try {
    state = await linkState(context, instance, record);
  } catch (error) {
    // What makes it does not run.
    if (error instanceof HostError) return { state: 'missing', missing: [] };
    throw error;
  }
  if (state === 'missing' || state === 'foreign') return { state, missing: [] };
  if (state === 'half-made') return { state: 'broken', missing: ['the end of its making'] };
  const isWithoutNat = record.nat && !(await import('./gateway.ts')).hasTable(context);
  const tunnel = record.vxlan?.link ?? 'its tunnel';
  const missing = [
    ...(state === 'partial' ? [tunnel] : await shownDamage(record, instance, await look())),
    ...(isWithoutNat ? ['NAT'] : []),
  ];
  return { state: missing.length > 0 ? 'broken' : 'up', missing };
}

async function downNics(roots: Roots, network: string, members: readonly string[]): Promise<string[]> {
  // One that is damaged is for `ps` to tell of.
  const specs = await Promise.all(members.map((member) => findContainer(roots, member).catch(() => undefined)));
  return specs.flatMap((spec) =>
    (spec?.nics ?? [])
      .filter((nic) => nic.down && networkOf(nic) === network)
      .map(({ name }) => `${spec?.name}:${name}`),
  );
}

/** All interfaces of the host, once for several networks. */
export type Look = () => Promise<Interfaces>;

export function lookAtInterfaces(): Look {
  let interfaces: Promise<Interfaces> | undefined;
  return () => {
    // Loaded where it is wanted, with its schema library.
    interfaces ??= import('../host/interfaces.ts').then(({ readInterfaces }) => readInterfaces());
    return interfaces;
  };
}

/** Containers that are in it, up or not. */
export function membersOf({ roots }: Context, record: NetworkRecord): string[] {
  return Object.keys(record.members).filter((member) => isHeld(roots, member));
}

/** Throws NotFoundError. */
export async function viewNetwork(context: Context, instance: string, name: string, look: Look): Promise<NetworkView> {
  const record = await getNetwork(context.roots, name);
  const members = membersOf(context, record);
  const [shown, down] = await Promise.all([
    shownState(context, instance, record, look),
    downNics(context.roots, name, members),
  ]);
  return { record, members, ...shown, down };
}

export function isUnused({ record: { taps = {} }, members }: Pick<NetworkView, 'record' | 'members'>): boolean {
  return members.length === 0 && Object.keys(taps).length === 0;
}

/** Names of networks that nobody is in. */
export async function unusedNetworks(context: Context): Promise<string[]> {
  const records = await readNetworks(context.roots, listNetworks(context.roots));
  return records.filter((record) => isUnused({ record, members: membersOf(context, record) })).map(({ name }) => name);
}
