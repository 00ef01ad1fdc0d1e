/** What makes a container a router: static routes, and settings of its network namespace. Pure. */
import { InvalidInputError } from '../errors.ts';
import { contains, formatIp, parseIp, subnetOf } from './address.ts';
import type { ContainerSpec, NicSpec, RouteSpec } from './container.ts';
import { parseNicName } from './name.ts';

const BITS = { 4: 32, 6: 128 } as const;

/** `10.2.0.0/16`, in its short form. Throws InvalidInputError. */
function parseDestination(text: string): string {
  const [plain = '', length, ...rest] = text.split('/');
  const address = parseIp(plain);
  const prefix = length === undefined ? BITS[address.family] : Number(length);
  if (rest.length > 0 || (length !== undefined && !/^\d{1,3}$/.test(length)) || prefix > BITS[address.family]) {
    throw new InvalidInputError(`cannot use route ${text}: no prefix length of IPv${address.family}`, {
      hint: `0 to ${BITS[address.family]}`,
    });
  }
  if (prefix === 0) throw defaultRoute(text);
  const { base } = subnetOf(address, prefix);
  const destination = `${formatIp({ family: address.family, value: base })}/${prefix}`;
  if (base === address.value) return destination;
  throw new InvalidInputError(`cannot use route ${text}: ${plain} is an address in ${destination}`, {
    hint: `--route ${destination},via=…`,
  });
}

function defaultRoute(text: string): InvalidInputError {
  return new InvalidInputError(`cannot use route ${text}: a default route is an interface's`, {
    hint: '--nic NETWORK,gateway=ADDRESS',
  });
}

/** `DESTINATION,via=ADDRESS`, `DESTINATION,dev=INTERFACE`, or with both. Throws InvalidInputError. */
export function parseRoute(text: string): RouteSpec {
  const [to = '', ...settings] = text.split(',');
  if (to === 'default') throw defaultRoute(to);
  const values = new Map<string, string>();
  for (const setting of settings) {
    const [, key, value] = /^(via|dev)=(.+)$/.exec(setting) ?? [];
    if (key === undefined || value === undefined || values.has(key)) {
      throw new InvalidInputError(`cannot use --route ${JSON.stringify(text)}: '${setting}' is no setting of it`, {
        hint: '--route 10.2.0.0/16,via=10.0.12.2 or --route 10.3.0.0/16,dev=eth1',
      });
    }
    values.set(key, value);
  }
  const [via, dev] = [values.get('via'), values.get('dev')];
  return checkRoute({
    to,
    ...(via === undefined ? {} : { via }),
    ...(dev === undefined ? {} : { dev }),
  });
}

/** In its short form. Throws InvalidInputError. */
export function checkRoute({ to, via, dev }: RouteSpec): RouteSpec {
  const destination = parseDestination(to);
  if (via === undefined && dev === undefined) {
    throw new InvalidInputError(`cannot use route ${to}: without a next hop`, { hint: 'via=ADDRESS or dev=INTERFACE' });
  }
  const hop = via === undefined ? undefined : parseIp(via);
  if (hop !== undefined && hop.family !== parseIp(destination.split('/')[0] as string).family) {
    throw new InvalidInputError(`cannot use route ${to}: its next hop ${via} is of the other family`, {
      hint: 'via=ADDRESS of the same one, or dev=INTERFACE',
    });
  }
  return {
    to: destination,
    ...(hop === undefined ? {} : { via: formatIp(hop) }),
    ...(dev === undefined ? {} : { dev: parseNicName(dev) }),
  };
}

/** The interface that a route leads over: the one named, or the one whose subnet has the next hop. */
export function nicOfRoute({ via, dev }: RouteSpec, nics: readonly NicSpec[]): NicSpec | undefined {
  if (dev !== undefined) return nics.find(({ name }) => name === dev);
  const hop = parseIp(via as string);
  return nics.find(({ addresses }) =>
    addresses.some((cidr) => {
      const [address = '', prefix] = cidr.split('/');
      return contains(subnetOf(parseIp(address), Number(prefix)), hop);
    }),
  );
}

/** Throws InvalidInputError for a route over no interface, and for several paths where there is one. */
export function requireRouting(
  { routes = [], mptcp }: Pick<ContainerSpec, 'routes' | 'mptcp'>,
  nics: readonly NicSpec[],
): void {
  if (mptcp && nics.filter(({ addresses }) => addresses.length > 0).length < 2) {
    throw new InvalidInputError('cannot use --mptcp: fewer than two interfaces have addresses', {
      hint: '--nic lan1 --nic lan2 --mptcp',
    });
  }
  const twice = routes.find(({ to }, index) => routes.findIndex((other) => other.to === to) !== index);
  if (twice !== undefined) {
    throw new InvalidInputError(`cannot use route ${twice.to}: there are two of it`, {
      hint: 'one --route for each destination',
    });
  }
  for (const route of routes) {
    if (nicOfRoute(route, nics) !== undefined) continue;
    const { to, via, dev } = route;
    const cause = dev === undefined ? `no interface reaches ${via}` : `there is no interface ${dev}`;
    throw new InvalidInputError(`cannot use route ${to}: ${cause}`, { hint: '--nic NETWORK,ip=…,name=…' });
  }
}

/** `KEY=VALUE`, with the key as sysctl(8) prints it. Throws InvalidInputError. */
export function parseSysctl(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) {
    throw new InvalidInputError(`cannot use --sysctl ${JSON.stringify(text)}: not KEY=VALUE`, {
      hint: '--sysctl net.ipv4.conf.all.rp_filter=0',
    });
  }
  const [key, value] = [text.slice(0, at), text.slice(at + 1)];
  sysctlPath(key);
  return [key, parseSysctlValue(value)];
}

/** Throws InvalidInputError. */
export function parseSysctlValue(value: string): string {
  if (/^[^\0\n]{1,1000}$/.test(value)) return value;
  throw new InvalidInputError(`cannot use the value ${JSON.stringify(value.slice(0, 40))} of a sysctl: not one line`, {
    hint: '--sysctl KEY=VALUE, 1000 characters at most',
  });
}

/**
 * Where it is below /proc/sys, by the rule of sysctl(8): the first separator, `.` or `/`, is the one. Throws
 * InvalidInputError for what is not the network namespace's.
 */
export function sysctlPath(key: string): string {
  const dotted = /^[^/]*\./.test(key);
  const path = dotted ? key.replace(/[./]/g, (separator) => (separator === '.' ? '/' : '.')) : key;
  if (!path.startsWith('net/')) {
    throw new InvalidInputError(`cannot use sysctl ${JSON.stringify(key)}: not of a network namespace`, {
      hint: "only net.… is a container's own: net.ipv4.conf.all.rp_filter=0",
    });
  }
  if (/^net(\/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+$/.test(path)) return path;
  throw new InvalidInputError(`cannot use sysctl ${JSON.stringify(key)}: not the name of one`, { hint: 'sysctl -a' });
}

/** Name of the interface whose setting it is; undefined for those of all. */
export function interfaceOfSysctl(key: string): string | undefined {
  const name = /^net\/(?:ipv4|ipv6|mpls)\/(?:conf|neigh)\/([^/]+)\//.exec(sysctlPath(key))?.[1];
  return name === 'all' || name === 'default' ? undefined : name;
}
