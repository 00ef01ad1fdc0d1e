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

/**
 * One of the address, as who gets that again has the one that the neighbours remember; else one of its owner's own, which nobody
 * has.
 */
export function deriveMac(
  roots: Roots,
  instance: string,
  record: NetworkRecord,
  member: Member,
  nic: string,
  address: string | undefined,
): string {
  const isFree = (mac: string) => holderOf(roots, record, member, mac) === undefined;
  const wanted = address === undefined ? undefined : derivedMac(instance, record.name, address);
  if (wanted !== undefined && isFree(wanted)) return wanted;
  for (let again = 0; ; again += 1) {
    const own = derivedMac(instance, member.name, again === 0 ? nic : `${nic}/${again}`);
    if (isFree(own)) return own;
  }
}

/** The one asked for, or a derived one. Throws ConflictError. */
export function chooseMac(
  roots: Roots,
  instance: string,
  record: NetworkRecord,
  member: Member,
  nic: string,
  { asked, address }: { readonly asked: string | undefined; readonly address: string | undefined },
): string {
  if (asked === undefined) return deriveMac(roots, instance, record, member, nic, address);
  const other = holderOf(roots, record, member, asked);
  if (other !== undefined) throw macTaken(asked, other);
  return asked;
}
