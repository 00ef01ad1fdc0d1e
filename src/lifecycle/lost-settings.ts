/** What somebody's hand took of the addresses and routes inside, of interfaces that stay: what was added or changed there stays. */
import { addressesHere, destinationsHere } from '../host/addressing.ts';
import { linksHere } from '../host/links.ts';
import { inNetworkNamespace, netnsPath } from '../host/namespaces.ts';
import { nicDriver } from '../network/driver.ts';
import { linkLocalCidr, nicPart, portPart } from '../network/parts.ts';
import { type Family, parseIp } from '../spec/address.ts';
import type { ContainerSpec, NicSpec } from '../spec/container.ts';
import type { Step } from '../step.ts';

function familyOf(address: string): Family {
  return parseIp(address.split('/')[0] as string).family;
}

interface Inside {
  readonly interfaces: ReadonlyMap<string, { readonly isUp: boolean; readonly addresses: ReadonlySet<string> }>;
  readonly destinations: ReadonlySet<string>;
}

/** With routes of these families. Throws HostError. */
function look(netns: string, families: readonly Family[]): Inside {
  return inNetworkNamespace(netnsPath(netns), () => {
    const addresses = addressesHere();
    const interfaces = linksHere().map(
      ({ name, index, isUp }) => [name, { isUp, addresses: addresses.get(index) ?? new Set<string>() }] as const,
    );
    return { interfaces: new Map(interfaces), destinations: new Set(families.flatMap(destinationsHere)) };
  });
}

/** Of a step that can be done again; the others stay with their interface. A default route that is another one is one. */
function isLost({ id }: Step, nic: NicSpec, { interfaces, destinations }: Inside): boolean {
  const own = interfaces.get(nic.name);
  // It has another name, or is elsewhere.
  if (own === undefined) return false;
  const [what, value = ''] = id.slice(nic.name.length + 1).split(' ');
  switch (what) {
    case 'address':
      return !own.addresses.has(value);
    case 'link-local':
      return !own.addresses.has(linkLocalCidr(nic));
    case 'up':
      return !own.isUp;
    case 'route':
      // The step of a default route is called by its next hop.
      return !destinations.has(value.includes('/') ? value : familyOf(value) === 4 ? '0.0.0.0/0' : '::/0');
    default:
      return false;
  }
}

/** Of the whole plan of a container whose namespace is there, what is not in effect inside; `redo` is done besides. */
export function findLost(
  { name, nics, routes = [] }: ContainerSpec,
  whole: readonly Step[],
  redo: readonly Step[],
): Step[] {
  const comes = new Set(redo.map(({ id }) => id));
  const stays = nics.filter((nic) => {
    const isDown = nic.down && nicDriver(nic).planInside !== undefined;
    return !isDown && !redo.some(({ part }) => part === nicPart(nic));
  });
  if (stays.length === 0) return [];
  const hops = [...stays.flatMap(({ gateways }) => gateways), ...routes.map(({ to }) => to)];
  const seen = look(name, [...new Set(hops.map(familyOf))]);
  return whole.filter((step) => {
    const nic = stays.find((each) => step.part === nicPart(each) || step.part === portPart(each));
    return nic !== undefined && !comes.has(step.id) && isLost(step, nic, seen);
  });
}
