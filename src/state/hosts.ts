/**
 * /etc/hosts of the members of networks. Who is in one network alone has that network's file bind-mounted, so that a join
 * or a leave is one write however many members there are; who is in several has a file of its own.
 */
import { closeSync, ftruncateSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { InvalidInputError } from '../errors.ts';
import { type ContainerSpec, HOST_GATEWAY } from '../spec/container.ts';
import type { NetworkRecord } from './network.ts';

const LOOPBACK = '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n';

function linesOf({ members, taps = {} }: NetworkRecord): string {
  const containers = Object.entries(members).flatMap(([name, { hostname, nics }]) => {
    const names = hostname === name ? name : `${hostname} ${name}`;
    return Object.values(nics)
      .flat()
      .map((address) => `${address}\t${names}\n`);
  });
  const machines = Object.entries(taps).flatMap(([name, { addresses }]) =>
    addresses.map((address) => `${address.split('/')[0]}\t${name}\n`),
  );
  return [...containers, ...machines].join('');
}

type ExtraHosts = ContainerSpec['extraHosts'];

/** The host, as members of the first of these networks reach it. */
function hostGateway(networks: readonly NetworkRecord[]): string | undefined {
  const ofHost = networks.filter(({ foreign, internal }) => !foreign && !internal);
  return ofHost.flatMap(({ subnets }) => subnets).find(({ gateway }) => gateway !== undefined)?.gateway;
}

/** Throws InvalidInputError where a line leads to the host, and no network does. */
export function requireHostGateway(extra: ExtraHosts, networks: readonly NetworkRecord[]): void {
  const found = extra?.find(({ address }) => address === HOST_GATEWAY);
  if (found === undefined || hostGateway(networks) !== undefined) return;
  throw new InvalidInputError(
    `cannot use --add-host ${found.name}:${HOST_GATEWAY}: the host has no address in a network of its`,
    { hint: `--add-host ${found.name}:ADDRESS, or a --network of minict's that is not --internal` },
  );
}

/** What leads to the host is left out while no network does. */
function extraLines(extra: ExtraHosts = [], networks: readonly NetworkRecord[] = []): string {
  return extra
    .flatMap(({ name, address }) => {
      const ip = address === HOST_GATEWAY ? hostGateway(networks) : address;
      return ip === undefined ? [] : `${ip}\t${name}\n`;
    })
    .join('');
}

/** For members of these networks; the first address of a name is its own, then that of the first one. */
export function hostsText(networks: readonly NetworkRecord[], extra?: ExtraHosts): string {
  const own = extra === undefined ? LOOPBACK : LOOPBACK + extraLines(extra, networks);
  if (networks.length < 2) return own + networks.map(linesOf).join('');
  // The default network is there for the lab's owner; names mean the lab's own networks.
  const ordered = [...networks].sort((a, b) => Number(a.isDefault ?? false) - Number(b.isDefault ?? false));
  return own + ordered.map((network) => `\n# network ${network.name}\n${linesOf(network)}`).join('');
}

/** Of who is in no network. */
export function hostsWithout(hostname: string, extra?: ExtraHosts): string {
  return `127.0.0.1\tlocalhost\n127.0.1.1\t${hostname}\n${extraLines(extra)}`;
}

/** Root inside can make the file as long as it likes: it is read where it can be the same, and no more. */
function hasText(path: string, size: number, text: string): boolean {
  return size === Buffer.byteLength(text) && readFileSync(path, 'utf8') === text;
}

/** Written in place: a rename would leave those who have it mounted with the old inode. */
export function writeHosts(path: string, text: string): void {
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (size !== undefined && hasText(path, size, text)) return;
  const fd = openSync(path, size === undefined ? 'w' : 'r+', 0o644);
  try {
    writeFileSync(fd, text);
    ftruncateSync(fd, Buffer.byteLength(text));
  } finally {
    closeSync(fd);
  }
}

/** A mount needs the file to be there; the member is written beside it. */
export function ensureHosts(path: string): void {
  closeSync(openSync(path, 'a', 0o644));
}
