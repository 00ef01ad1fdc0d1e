/** Addresses of a network that are not its containers': the host's own, and those of machines beyond a cable. */
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

/** Where a cable leads out, others may have an address: adds them, and says whether there were any. Takes a second. */
export async function meetStrangers(
  nics: readonly NicSpec[],
  networks: readonly NetworkRecord[],
  strangers: Map<string, string>,
): Promise<boolean> {
  const before = strangers.size;
  const probes = networks.filter(leadsOut).flatMap(({ name, link }) =>
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
