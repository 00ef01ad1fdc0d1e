/** Interfaces of the host, or of a network namespace, from rtnetlink(7); /sys/class/net may show another namespace's. Reads only. */
import { HostError } from '../errors.ts';
import { inNetworkNamespace, netnsPath } from './namespaces.ts';
import { netlinkAttributes, netlinkDump } from './netlink.ts';
import { IFF_UP, IFINFOMSG_BYTES, linkRequest, NETLINK_ROUTE, RTM_GETLINK } from './rtnetlink.ts';

const ARPHRD_ETHER = 1;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_MASTER = 10;
const IFLA_TXQLEN = 13;
const IFLA_IFALIAS = 20;

export interface NamespaceLink {
  readonly index: number;
  readonly name: string;
  readonly isUp: boolean;
  readonly mtuBytes: number;
  /** In packets; 0 without a queue. */
  readonly queueLength: number;
  /** What it is a port of. */
  readonly master: string | undefined;
  /** Of an Ethernet alone: of a tunnel it is an IP address. */
  readonly mac: string | undefined;
  /** Whose it is. */
  readonly alias: string | undefined;
}

function text(value: Buffer | undefined): string | undefined {
  return value?.toString('utf8', 0, value.length - 1);
}

function macOf(value: Buffer | undefined): string | undefined {
  return value?.toString('hex').replace(/..(?=.)/g, '$&:');
}

/** Of the namespace that this thread is in, in the kernel's order. Throws HostError. */
export function linksHere(): NamespaceLink[] {
  const bodies = netlinkDump(NETLINK_ROUTE, RTM_GETLINK, linkRequest(0));
  if (bodies === undefined) throw new HostError('cannot read interfaces: the kernel does not tell them');
  const all = bodies.map((body) => {
    const attributes = new Map(netlinkAttributes(body.subarray(IFINFOMSG_BYTES)));
    return {
      master: attributes.get(IFLA_MASTER)?.readUInt32LE(),
      link: {
        index: body.readInt32LE(4),
        name: text(attributes.get(IFLA_IFNAME)) ?? '',
        isUp: (body.readUInt32LE(8) & IFF_UP) !== 0,
        mtuBytes: attributes.get(IFLA_MTU)?.readUInt32LE() ?? 0,
        queueLength: attributes.get(IFLA_TXQLEN)?.readUInt32LE() ?? 0,
        mac: body.readUInt16LE(2) === ARPHRD_ETHER ? macOf(attributes.get(IFLA_ADDRESS)) : undefined,
        alias: text(attributes.get(IFLA_IFALIAS)),
      },
    };
  });
  const names = new Map(all.map(({ link }) => [link.index, link.name]));
  return all.map(({ master, link }) => ({ ...link, master: master === undefined ? undefined : names.get(master) }));
}

/** Of a namespace of /run/netns. Throws HostError. */
export function readNamespaceLinks(netns: string): NamespaceLink[] {
  try {
    return inNetworkNamespace(netnsPath(netns), linksHere);
  } catch (error) {
    throw new HostError(`cannot read the interfaces of ${netns}: ${(error as Error).message}`);
  }
}

export interface HostLink {
  readonly index: number;
  /** Bridge that the interface is a port of. */
  readonly master: string | undefined;
  /** Whose it is. */
  readonly alias: string | undefined;
  readonly isUp: boolean;
}

/** All interfaces by name, of the host or inside a container, which has none where its namespace is gone. */
export function readLinks(netns?: string): Map<string, HostLink> {
  return new Map((netns === undefined ? linksHere() : linksIn(netns)).map((link) => [link.name, link]));
}

function linksIn(netns: string): NamespaceLink[] {
  try {
    return readNamespaceLinks(netns);
  } catch {
    return [];
  }
}

export interface Look {
  readonly links: ReadonlyMap<string, HostLink>;
  /** When it began, in milliseconds since 1970. */
  readonly atMs: number;
}

/**
 * All interfaces, and again where something seems to be missing: a look may fall into the middle of a change. The first one and
 * the second are had once, for many containers.
 */
export interface Looks {
  readonly first: () => Look;
  readonly second: () => Look;
  readonly next: () => Look;
}

export function lookAtLinks(): Looks {
  const next = (): Look => ({ atMs: Date.now(), links: readLinks() });
  const once = () => {
    let look: Look | undefined;
    return () => {
      look ??= next();
      return look;
    };
  };
  return { first: once(), second: once(), next };
}
