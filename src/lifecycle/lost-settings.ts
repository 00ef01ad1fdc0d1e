/** What somebody's hand took of the addresses and routes inside, of interfaces that stay: what was added or changed there stays. */
import { join } from 'node:path';
import { readInterfaces } from '../host/inside/interfaces.ts';
import { readDestinations } from '../host/inside/routes.ts';
import { nicDriver } from '../network/driver.ts';
import { linkLocalCidr, nicPart, portPart } from '../network/parts.ts';
import { type Family, formatIp, parseIp } from '../spec/address.ts';
import type { ContainerSpec, NicSpec } from '../spec/container.ts';
import { NETNS_DIR } from '../state/paths.ts';
import type { Step } from '../step.ts';

function familyOf(address: string): Family {
  return parseIp(address.split('/')[0] as string).family;
}

interface Inside {
  readonly interfaces: ReadonlyMap<string, { readonly isUp: boolean; readonly addresses: ReadonlySet<string> }>;
  readonly destinations: ReadonlySet<string>;
}

/** With routes of these families. Throws HostError. */
async function look(netns: string, families: readonly Family[]): Promise<Inside> {
  const inside = { netns, verbose: false };
  const [all, ...destinations] = await Promise.all([
    readInterfaces(inside),
    ...families.map((family) => readDestinations(inside, family)),
  ]);
  const interfaces = all.map(({ name, isUp, addresses }) => {
    const cidrs = addresses.map(({ ip, prefix }) => `${formatIp(parseIp(ip))}/${prefix}`);
    return [name, { isUp, addresses: new Set(cidrs) }] as const;
  });
  return { interfaces: new Map(interfaces), destinations: new Set(destinations.flat()) };
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
export async function findLost(
  { name, nics, routes = [] }: ContainerSpec,
  whole: readonly Step[],
  redo: readonly Step[],
): Promise<Step[]> {
  const comes = new Set(redo.map(({ id }) => id));
  const stays = nics.filter((nic) => {
    const isDown = nic.down && nicDriver(nic).planInside !== undefined;
    return !isDown && !redo.some(({ part }) => part === nicPart(nic));
  });
  if (stays.length === 0) return [];
  const hops = [...stays.flatMap(({ gateways }) => gateways), ...routes.map(({ to }) => to)];
  const seen = await look(join(NETNS_DIR, name), [...new Set(hops.map(familyOf))]);
  return whole.filter((step) => {
    const nic = stays.find((each) => step.part === nicPart(each) || step.part === portPart(each));
    return nic !== undefined && !comes.has(step.id) && isLost(step, nic, seen);
  });
}
