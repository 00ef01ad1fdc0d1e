/** Addresses of a network that are not its containers': the host's own, and those of machines beyond a cable. */
import { linksHere } from '../host/links.ts';
import { type NicSpec, networkOf } from '../spec/container.ts';
import { type NetworkRecord, plainAddress } from '../state/network.ts';

/** Who has which, where the interface is another's. */
export async function hostsOwn({ link, foreign }: NetworkRecord): Promise<[string, string][]> {
  if (!foreign) return [];
  // Loaded where it is wanted, with its schema library.
  const { readAddresses } = await import('../host/interfaces.ts');
  return (await readAddresses(link)).map((address) => [address, `the host's ${link}`]);
}

/** Whether the network has nobody but this minict's containers, for what minict can know. */
export function isWithoutStrangers(record: NetworkRecord): boolean {
  return !record.foreign && !leadsOut(record);
}

/** Whether there are machines in it that are not this host's. */
function leadsOut({ driver, uplink }: NetworkRecord): boolean {
  return uplink !== undefined || driver === 'macvlan' || driver === 'vxlan';
}

/** Networks in which to look: of a bridge of the host's those that are up and have ports that are not this minict's. */
function withStrangers(instance: string, networks: readonly NetworkRecord[]): NetworkRecord[] {
  const isTheirs = ({ foreign, driver }: NetworkRecord) => foreign && driver === 'bridge';
  if (!networks.some(isTheirs)) return networks.filter(leadsOut);
  const links = linksHere();
  const isOurs = (alias = '') => alias.startsWith(`minict:${instance}:`);
  const isOpen = (bridge: string) =>
    links.some(({ name, isUp }) => name === bridge && isUp) &&
    links.some(({ master, alias }) => master === bridge && !isOurs(alias));
  return networks.filter((record) => leadsOut(record) || (isTheirs(record) && isOpen(record.link)));
}

/** Where a cable leads out, others may have an address: adds them, and says whether there were any. Takes a second. */
export async function meetStrangers(
  instance: string,
  nics: readonly NicSpec[],
  networks: readonly NetworkRecord[],
  strangers: Map<string, string>,
): Promise<boolean> {
  const before = strangers.size;
  const probes = withStrangers(instance, networks).flatMap(({ name, link }) =>
    nics
      .filter((nic) => networkOf(nic) === name)
      .flatMap((nic) => nic.addresses.map(plainAddress))
      .map((address) => ({ link, address })),
  );
  if (probes.length === 0) return false;
  const { findDuplicate } = await import('../host/duplicate.ts');
  const answers = await Promise.all(
    probes.map(async ({ link, address }) => [address, await findDuplicate(link, address)] as const),
  );
  for (const [address, mac] of answers) if (mac !== undefined) strangers.set(address, `the machine with ${mac}`);
  return strangers.size > before;
}
