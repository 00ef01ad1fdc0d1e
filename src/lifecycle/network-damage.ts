/** What somebody's hand took of a network that is there: its addresses, its uplink, its taps, its being up. */
import type { HostInterface } from '../host/interfaces.ts';
import { networkDriver } from '../network/driver.ts';
import type { NetworkRecord } from '../state/network.ts';
import type { Step } from '../step.ts';
import { planNetwork } from './link-state.ts';

/** The host's, by name. */
export type Interfaces = ReadonlyMap<string, HostInterface>;

/** The steps of its plan that put it back. */
export function missingSteps(record: NetworkRecord, instance: string, interfaces: Interfaces): Step[] {
  const { link, uplink, vxlan } = record;
  const { addresses = [], isUp = false } = interfaces.get(link) ?? {};
  const there = addresses.map((address) => address.split('/')[0]);
  const isLoose = (port: string | undefined) => interfaces.get(port ?? '')?.master !== link;
  const isDown = (port: string | undefined) => interfaces.get(port ?? '')?.isUp === false;
  const isMissing = ({ id }: Step): boolean => {
    if (id.startsWith('address ')) return !there.includes(id.slice('address '.length));
    if (id === 'uplink') return isLoose(uplink?.link);
    if (id === 'uplink up') return isDown(uplink?.link);
    if (id === 'tunnel port') return isLoose(vxlan?.link);
    if (id === 'tunnel up') return isDown(vxlan?.link);
    return id === 'up' && !isUp;
  };
  return planNetwork(record, instance).filter(isMissing);
}

/** Names of taps that are gone, in no bridge, or down. */
export async function lostTaps(record: NetworkRecord, instance: string, interfaces: Interfaces): Promise<string[]> {
  const names = Object.keys(record.taps ?? {});
  const { readPorts } = networkDriver(record);
  const isDown = (name: string) => interfaces.get(name)?.isUp !== true;
  if (names.length === 0 || readPorts === undefined) {
    return names.filter((name) => isDown(name) || interfaces.get(name)?.master !== record.link);
  }
  const ports = await readPorts(record, instance);
  return names.filter((name) => isDown(name) || !ports.includes(name));
}

/** The host's own, which minict uses as it is: its bridge, or what macvlan's are children of. */
export function isForeignDown({ foreign, link }: NetworkRecord, interfaces: Interfaces): boolean {
  return foreign === true && interfaces.get(link)?.isUp === false;
}

/** For people: `uplink eth1`, `address 10.1.0.1`, `tap vm0`. */
export async function shownDamage(record: NetworkRecord, instance: string, interfaces: Interfaces): Promise<string[]> {
  const { link, uplink, vxlan } = record;
  const words: Readonly<Record<string, string>> = {
    uplink: `uplink ${uplink?.link}`,
    'uplink up': `uplink ${uplink?.link} up`,
    'tunnel port': `${vxlan?.link} in bridge ${link}`,
    'tunnel up': `${vxlan?.link} up`,
    up: `${link} up`,
  };
  return [
    ...(isForeignDown(record, interfaces) ? [`${link} up`] : []),
    ...missingSteps(record, instance, interfaces).map(({ id }) => words[id] ?? id),
    ...(await lostTaps(record, instance, interfaces)).map((name) => `tap ${name}`),
  ];
}
