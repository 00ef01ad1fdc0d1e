/** The host's interfaces with their kinds and addresses, and what minict may do with them. Reads only. */
import { existsSync } from 'node:fs';
import * as z from 'zod/mini';
import { ConflictError, firstLine, HostError, NotFoundError } from '../errors.ts';
import { readToolOutput } from './tool-output.ts';

const schema = z.object({
  ifname: z.string(),
  ifalias: z.optional(z.string()),
  address: z.string(),
  flags: z.array(z.string()),
  master: z.optional(z.string()),
  link: z.optional(z.string()),
  mtu: z.number(),
  link_type: z.string(),
  linkinfo: z.optional(z.object({ info_kind: z.optional(z.string()) })),
  addr_info: z.array(z.object({ local: z.string(), prefixlen: z.number(), scope: z.string() })),
});

export interface HostInterface {
  readonly name: string;
  /** `bridge`, `veth`, `macvlan`, …; undefined for hardware. */
  readonly kind: string | undefined;
  readonly isUp: boolean;
  readonly isLoopback: boolean;
  readonly master: string | undefined;
  readonly mac: string;
  readonly mtuBytes: number;
  /** Whose it is. */
  readonly alias: string | undefined;
  /** With their lengths, without link-local ones. */
  readonly addresses: readonly string[];
}

type Shown = z.infer<typeof schema>;

function interfaceOf({ ifname, flags, master, mtu, link_type, linkinfo, addr_info, ...more }: Shown): HostInterface {
  return {
    name: ifname,
    kind: linkinfo?.info_kind,
    isUp: flags.includes('UP'),
    isLoopback: link_type === 'loopback',
    master,
    mac: more.address,
    mtuBytes: mtu,
    alias: more.ifalias,
    addresses: addr_info.filter(({ scope }) => scope !== 'link').map(({ local, prefixlen }) => `${local}/${prefixlen}`),
  };
}

/** Those of `words` (`dev NAME`; empty: all); undefined where ip has none. Throws HostError. */
async function show(words: readonly string[]): Promise<Shown[] | undefined> {
  const output = await readToolOutput(['ip', '-j', '-d', 'addr', 'show', ...words]);
  if (output === undefined)
    throw new HostError('cannot run ip: not found in PATH', { hint: 'apt-get install iproute2' });
  if (output.exitCode !== 0 && output.stderr.includes('does not exist')) return undefined;
  if (output.exitCode !== 0) throw new HostError(`cannot read interfaces: ${firstLine(output.stderr)}`);
  // What is filtered out stands there as an empty object.
  const all = JSON.parse(output.stdout || '[]') as object[];
  const found = z.array(schema).safeParse(all.filter((each) => 'ifname' in each));
  if (found.success) return found.data;
  throw new HostError(`cannot read interfaces: ip says what minict cannot read`);
}

/** All of them, by name. Throws HostError. */
export async function readInterfaces(): Promise<Map<string, HostInterface>> {
  return new Map(((await show([])) ?? []).map((shown) => [shown.ifname, interfaceOf(shown)]));
}

/** Throws NotFoundError, HostError. */
export async function readInterface(name: string): Promise<HostInterface> {
  const found = (await show(['dev', name]))?.find(({ ifname }) => ifname === name);
  if (found !== undefined) return interfaceOf(found);
  throw new NotFoundError(`cannot use interface ${name}: the host has none of that name`, { hint: 'ip link' });
}

/** Of an interface that may not be there, without their lengths. Throws HostError. */
export async function readAddresses(name: string): Promise<string[]> {
  return ((await show(['dev', name])) ?? []).flatMap(({ addr_info }) => addr_info.map(({ local }) => local));
}

/** The interface that has that address; `name`, where one is wanted. Throws HostError. */
export async function readHolder(address: string, name: string | undefined): Promise<HostInterface | undefined> {
  const all = (await show([])) ?? [];
  const found = all.find(
    ({ ifname, addr_info }) => (name ?? ifname) === ifname && addr_info.some(({ local }) => local === address),
  );
  return found && interfaceOf(found);
}

/** Throws NotFoundError, ConflictError. */
export async function requireBridge(name: string): Promise<HostInterface> {
  const found = await readInterface(name);
  if (found.kind === 'bridge') return found;
  throw new ConflictError(`cannot use ${name} as a bridge: it is ${found.kind ?? 'hardware'}`, {
    hint: 'ip link show type bridge; --uplink takes a network card',
  });
}

/** What the host has made over it (a VLAN, a macvlan): of a veth pair the other end is none. Throws HostError. */
export async function readChildren(name: string): Promise<HostInterface[]> {
  const all = ((await show([])) ?? []).filter(({ link }) => link === name).map(interfaceOf);
  return all.filter(({ kind }) => kind !== 'veth');
}

async function defaultRouteLinks(): Promise<Set<string>> {
  const families = existsSync('/proc/net/ipv6_route') ? ['-4', '-6'] : ['-4'];
  const outputs = await Promise.all(
    families.map((family) => readToolOutput(['ip', '-j', family, 'route', 'show', 'default', 'table', 'all'])),
  );
  const failed = outputs.find((output) => output?.exitCode !== 0);
  if (failed !== undefined) throw new HostError(`cannot read the host's routes: ${firstLine(failed.stderr)}`);
  const routes = z.array(
    z.object({ dev: z.optional(z.string()), nexthops: z.optional(z.array(z.object({ dev: z.string() }))) }),
  );
  const all = outputs.flatMap((output) => routes.safeParse(JSON.parse(output?.stdout || '[]')).data ?? []);
  return new Set(all.flatMap(({ dev, nexthops = [] }) => [dev ?? [], nexthops.map((hop) => hop.dev)].flat()));
}

/**
 * An interface that the host itself does not use, in no bridge but `bridge`: it would lose its addresses' traffic. Throws
 * NotFoundError, ConflictError.
 */
export async function requireSpareLink(name: string, bridge?: string): Promise<HostInterface> {
  const found = await readInterface(name);
  const refuse = (cause: string, hint: string) => new ConflictError(`cannot use interface ${name}: ${cause}`, { hint });
  if (found.isLoopback) throw refuse('it is the loopback', 'ip link');
  if ((await defaultRouteLinks()).has(name)) {
    throw refuse("it carries the host's default route", 'ip route show table all default');
  }
  if (found.master !== undefined && found.master !== bridge) {
    throw refuse(`it is a port of ${found.master}`, `ip link set dev ${name} nomaster; or --bridge ${found.master}`);
  }
  if (found.addresses.length > 0) {
    throw refuse(`the host has the address ${found.addresses[0]} on it`, `ip addr flush dev ${name}`);
  }
  // By the kernel's rule they and a bridge cannot both have what comes in; VLANs go on beside it.
  const child = (await readChildren(name)).find(({ kind }) => kind !== 'vlan');
  if (child !== undefined) throw refuse(`the host's ${child.name} is on it`, `ip link del dev ${child.name}`);
  return found;
}
