/** The interfaces of a container from elsewhere: as they were, or as they can be here. */
import type { NicSpec } from '../spec/container.ts';
import type { NicRequest } from '../spec/nic.ts';
import type { SavedNic } from '../spec/saved-container.ts';
import { type Member, plainAddress } from '../state/network.ts';
import { findContainer, listContainers } from '../state/store.ts';
import type { Context } from './context.ts';
import { leaseNics } from './reservation.ts';

/** Who here has a MAC address. */
async function macHolder({ roots }: Context, mac: string | undefined): Promise<string | undefined> {
  if (mac === undefined) return undefined;
  const specs = await Promise.all(listContainers(roots).map((name) => findContainer(roots, name)));
  return specs.find((spec) => spec?.nics.some((nic) => nic.mac === mac))?.name;
}

/** The interface as it was, or as it can be here: what became of it in notes. */
async function leaseNic(
  context: Context,
  instance: string,
  member: Member,
  saved: SavedNic,
  ip: string | undefined,
): Promise<{ nic: NicSpec; notes: string[] }> {
  const holder = await macHolder(context, saved.mac);
  const mac = holder === undefined ? saved.mac : undefined;
  const request = (ips: readonly string[], gateways: readonly string[] = []): NicRequest[] => {
    const { name, mtuBytes, addresses } = saved;
    const where = saved.kind === 'p2p' ? ({ kind: 'p2p', peer: saved.peer } as const) : { network: saved.network };
    return [{ ...where, name, ips, gateways, mac, mtuBytes, noAddress: addresses.length === 0 }];
  };
  const plain = saved.addresses.map(plainAddress);
  const others = saved.kind === 'p2p' ? [] : [plain, []];
  const wishes = ip === undefined ? [saved.addresses, ...others] : [[ip]];
  const gateways = saved.gateways === undefined ? [undefined] : [saved.gateways, undefined];
  const all = wishes.flatMap((ips) => gateways.map((each) => request(ips, each)));
  const { assignment, causes } = await leaseNics(context, instance, member, all, request(ip === undefined ? [] : [ip]));
  const nic = assignment.nics[0] as NicSpec;
  const notes: string[] = [];
  const note = (text: string) => notes.push(`${member.name} has ${text}`);
  const got = nic.addresses.map(plainAddress);
  if (ip === undefined && got.join() !== plain.join()) note(`the address ${got.join(' and ')}: ${causes[0]}`);
  for (const gateway of saved.gateways ?? []) {
    if (nic.gateways.includes(gateway)) continue;
    note(`the gateway ${nic.gateways.join(' and ')}: ${gateway} is not one of the network here`);
  }
  if (mac !== saved.mac) note(`another MAC address: container ${holder} has ${saved.mac}`);
  return { nic, notes };
}

/** One after the other: the names and addresses of one count for the next. */
export async function leaseAll(
  context: Context,
  instance: string,
  { name, hostname }: Pick<Member, 'name' | 'hostname'>,
  saved: readonly SavedNic[],
  ip: string | undefined,
): Promise<{ nics: NicSpec[]; notes: string[] }> {
  const nics: NicSpec[] = [];
  const notes: string[] = [];
  for (const [index, each] of saved.entries()) {
    const leased = await leaseNic(context, instance, { name, hostname, nics }, each, index === 0 ? ip : undefined);
    nics.push(leased.nic);
    notes.push(...leased.notes);
  }
  return { nics, notes };
}
