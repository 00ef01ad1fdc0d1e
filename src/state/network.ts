/** A network's record: subnet, bridge and who holds which address. Held under the network lock. */
import { closeSync, existsSync, ftruncateSync, openSync, readFileSync, unlinkSync, writeSync } from 'node:fs';
import type { z } from 'zod/mini';
import { ConflictError, InvalidInputError } from '../errors.ts';
import { broadcastOf, contains, formatIpv4, parseSubnet } from '../spec/address.ts';
import type { network } from '../spec/schema.ts';
import { dropStaged, readJson, writeJson } from './json-file.ts';
import { isLocked } from './locks.ts';
import { containerPaths, networkPaths, type Roots } from './paths.ts';

export type NetworkRecord = z.infer<typeof network>;

export function readNetwork(roots: Roots, name: string): Promise<NetworkRecord | undefined> {
  return readJson(networkPaths(roots, name).json, 'network', name);
}

export function writeNetwork(roots: Roots, record: NetworkRecord): void {
  const paths = networkPaths(roots, record.name);
  writeJson(paths.json, record);
  writeHosts(paths.hosts, record);
}

/** What who was killed left between the record and the hosts file. Writes nothing where nothing was left. */
export function finishWriting(roots: Roots, record: NetworkRecord): void {
  const paths = networkPaths(roots, record.name);
  dropStaged(paths.json);
  writeHosts(paths.hosts, record);
}

/**
 * The hosts file, that all members have bind-mounted over /etc/hosts, is written in place: a rename would leave the
 * members with the old inode.
 */
function writeHosts(path: string, record: NetworkRecord): void {
  const members = Object.entries(record.leases).map(([address, { name, hostname }]) =>
    hostname === name ? `${address}\t${name}\n` : `${address}\t${hostname} ${name}\n`,
  );
  const text = `127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n${members.join('')}`;
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  const fd = openSync(path, existsSync(path) ? 'r+' : 'w', 0o644);
  writeSync(fd, text, 0);
  ftruncateSync(fd, Buffer.byteLength(text));
  closeSync(fd);
}

/** A mount needs the hosts file to be there; the lease is written beside it. */
export function ensureHostsFile(roots: Roots, name: string): void {
  closeSync(openSync(networkPaths(roots, name).hosts, 'a', 0o644));
}

export function removeNetwork(roots: Roots, name: string): void {
  const paths = networkPaths(roots, name);
  // The record last: while it is there, a prune finds the rest.
  for (const path of [paths.hosts, paths.json]) if (existsSync(path)) unlinkSync(path);
}

/** Address for `name`: the wanted one, or the lowest free. Throws InvalidInputError or ConflictError with the holder. */
export function allocateAddress(roots: Roots, record: NetworkRecord, name: string, wanted: number | undefined): string {
  const subnet = parseSubnet(record.subnet);
  const holder = (address: string) => {
    const lease = record.leases[address];
    return lease !== undefined && lease.name !== name && isHeld(roots, lease.name) ? lease.name : undefined;
  };
  if (wanted !== undefined) {
    const text = formatIpv4(wanted);
    requireHostAddress(record, wanted, `address ${text}`);
    if (text === record.gateway) {
      throw new ConflictError(`cannot use address ${text}: taken by the bridge ${record.bridge}`);
    }
    const taken = holder(text);
    if (taken !== undefined) throw new ConflictError(`cannot use address ${text}: taken by container ${taken}`);
    return text;
  }
  const lowest = (isFree: (address: string) => boolean) => {
    for (let address = subnet.base + 1; address < broadcastOf(subnet); address += 1) {
      const text = formatIpv4(address);
      if (text !== record.gateway && isFree(text)) return text;
    }
    return undefined;
  };
  // Whether a lease is still held takes a look at the disk: only where no address is without one.
  const free =
    lowest((address) => record.leases[address] === undefined) ?? lowest((address) => holder(address) === undefined);
  if (free !== undefined) return free;
  throw new ConflictError(`cannot find a free address: network ${record.name}, ${record.subnet}, is full`);
}

/** Throws InvalidInputError unless `address` is one that a host of the network can have; `what` names it. */
export function requireHostAddress(record: NetworkRecord, address: number, what: string): void {
  const subnet = parseSubnet(record.subnet);
  if (!contains(subnet, address)) {
    const empty = Object.keys(record.leases).length === 0;
    throw new InvalidInputError(`cannot use ${what}: outside network ${record.name}, ${record.subnet}`, {
      hint: empty
        ? 'minict system prune gives up this network, which has no containers'
        : 'without the option minict chooses',
    });
  }
  if (address === subnet.base || address === broadcastOf(subnet)) {
    throw new InvalidInputError(`cannot use ${what}: the network's own or its broadcast address`);
  }
}

/** A lease without a folder and without a create under way (which holds the container's lock) is left from a killed one. */
export function isHeld(roots: Roots, name: string): boolean {
  return existsSync(containerPaths(roots, name).dir) || isLocked(roots, name);
}
