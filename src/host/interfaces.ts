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

/** Throws NotFoundError, HostError. */
export async function readInterface(name: string): Promise<HostInterface> {
  const output = await readToolOutput(['ip', '-j', '-d', 'addr', 'show', 'dev', name]);
  if (output === undefined)
    throw new HostError('cannot run ip: not found in PATH', { hint: 'apt-get install iproute2' });
  if (output.exitCode !== 0 && !output.stderr.includes('does not exist')) {
    throw new HostError(`cannot read interface ${name}: ${firstLine(output.stderr)}`);
  }
  if (output.exitCode !== 0) {
    throw new NotFoundError(`cannot use interface ${name}: the host has none of that name`, { hint: 'ip link' });
  }
  // What is filtered out stands there as an empty object.
  const all = JSON.parse(output.stdout || '[]') as { readonly ifname?: unknown }[];
  const found = schema.safeParse(all.find(({ ifname }) => ifname === name)).data;
  if (found === undefined) throw new HostError(`cannot read interface ${name}: ip says what minict cannot read`);
  return {
    name,
    kind: found.linkinfo?.info_kind,
    isUp: found.flags.includes('UP'),
    isLoopback: found.link_type === 'loopback',
    master: found.master,
    mac: found.address,
    mtuBytes: found.mtu,
    alias: found.ifalias,
    addresses: found.addr_info
      .filter(({ scope }) => scope !== 'link')
      .map(({ local, prefixlen }) => `${local}/${prefixlen}`),
  };
}

/** Throws NotFoundError, ConflictError. */
export async function requireBridge(name: string): Promise<HostInterface> {
  const found = await readInterface(name);
  if (found.kind === 'bridge') return found;
  throw new ConflictError(`cannot use ${name} as a bridge: it is ${found.kind ?? 'hardware'}`, {
    hint: 'ip link show type bridge; --uplink takes a network card',
  });
}

async function defaultRouteLinks(): Promise<Set<string>> {
  const families = existsSync('/proc/net/ipv6_route') ? ['-4', '-6'] : ['-4'];
  const outputs = await Promise.all(
    families.map((family) => readToolOutput(['ip', '-j', family, 'route', 'show', 'default'])),
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
  if ((await defaultRouteLinks()).has(name)) throw refuse("it carries the host's default route", 'ip route');
  if (found.master !== undefined && found.master !== bridge) {
    throw refuse(`it is a port of ${found.master}`, `ip link set dev ${name} nomaster; or --bridge ${found.master}`);
  }
  if (found.addresses.length > 0) {
    throw refuse(`the host has the address ${found.addresses[0]} on it`, `ip addr flush dev ${name}`);
  }
  return found;
}
