/** MAC addresses: no two interfaces of a network have the same. */
import { ConflictError } from '../errors.ts';
import { networkOf } from '../spec/container.ts';
import { derivedMac } from '../spec/name.ts';
import { isHeld, type Member, type NetworkRecord } from '../state/network.ts';
import type { Roots } from '../state/paths.ts';

function holderOf(roots: Roots, record: NetworkRecord, { name, nics }: Member, mac: string): string | undefined {
  if (record.mac === mac) return `the bridge ${record.link}`;
  const own = nics.find((nic) => networkOf(nic) === record.name && nic.mac === mac);
  if (own !== undefined) return `${name}'s ${own.name}`;
  const tap = Object.entries(record.taps ?? {}).find(([, each]) => each.mac === mac);
  if (tap !== undefined) return `tap ${tap[0]}`;
  for (const [member, { macs = {} }] of Object.entries(record.members)) {
    const nic = member === name ? undefined : Object.keys(macs).find((each) => macs[each] === mac);
    if (nic !== undefined && isHeld(roots, member)) return `container ${member}, ${nic}`;
  }
  return undefined;
}

export function macTaken(mac: string, holder: string): ConflictError {
  return new ConflictError(`cannot use MAC address ${mac}: taken by ${holder}`, {
    hint: 'without the option minict chooses',
  });
}

/** The one asked for, or one of the first address: who gets that again has the one that the neighbours remember. Throws ConflictError. */
export function chooseMac(
  roots: Roots,
  instance: string,
  record: NetworkRecord,
  member: Member,
  nic: string,
  { asked, address }: { readonly asked: string | undefined; readonly address: string | undefined },
): string {
  const holder = (mac: string) => holderOf(roots, record, member, mac);
  const other = asked === undefined ? undefined : holder(asked);
  if (asked !== undefined && other !== undefined) throw macTaken(asked, other);
  if (asked !== undefined) return asked;
  const own = derivedMac(instance, member.name, nic);
  const wanted = address === undefined ? own : derivedMac(instance, record.name, address);
  return holder(wanted) === undefined ? wanted : own;
}
