/** What a kind of network is: how it is made on the host, and how a container gets an interface in it. */
import { InvalidInputError } from '../errors.ts';
import type { HostLink } from '../host/links.ts';
import type { NicSpec } from '../spec/container.ts';
import type { NetworkRecord } from '../state/network.ts';
import type { Step } from '../step.ts';
import { bridgeDriver } from './bridge.ts';
import { macvlanDriver } from './macvlan.ts';
import { ovsDriver } from './ovs.ts';
import { p2pDriver } from './p2p.ts';
import { physDriver } from './phys.ts';
import { vxlanDriver } from './vxlan.ts';

/** Whose interface it is. */
export interface Owner {
  readonly container: string;
  readonly instance: string;
  /** Folder of what a reboot must forget. */
  readonly runDir: string;
}

/** What is asked for of a new network, but its subnets. */
export interface DriverRequest {
  readonly mtuBytes?: number | undefined;
  /** A bridge of the host's, used as it is. */
  readonly bridge?: string | undefined;
  /** An interface of the host's. */
  readonly uplink?: string | undefined;
  readonly vni?: number | undefined;
  readonly local?: string | undefined;
  readonly remotes?: readonly string[];
  /** `--option KEY=VALUE` */
  readonly options?: ReadonlyMap<string, string>;
}

/** Names that a new network's own interfaces can have. */
export interface OwnNames {
  readonly link: string;
  readonly tunnel: string;
  readonly mac: string;
}

/** What a driver makes of a request. */
export interface Settled {
  readonly settings: Pick<
    NetworkRecord,
    'link' | 'foreign' | 'mac' | 'mtuBytes' | 'uplink' | 'macvlan' | 'vxlan' | 'ovs'
  >;
  /** A subnet's gateway where none is asked for: the host, by its `first` address; or one of these that the host has there. */
  readonly gateways: 'first' | readonly string[];
  /** Where a cable or a tunnel leads, others give out the addresses: no subnet is chosen unasked. */
  readonly isOpen?: boolean;
}

export interface NetworkDriver {
  /** Those of DriverRequest that it knows, beside the MTU. */
  readonly flags: readonly ('bridge' | 'uplink' | 'vni' | 'local' | 'remote')[];
  /** Keys of `--option` that it knows, with what can be there. */
  readonly options: Readonly<Record<string, string>>;
  /** Throws ConflictError, InvalidInputError, NotFoundError, HostError. Reads only. */
  settle(request: DriverRequest, own: OwnNames): Promise<Settled>;
  /** Throws ConflictError, InvalidInputError where the host cannot have it: before it is made, and before it is made again. */
  validate(network: NetworkRecord): Promise<void>;
  /**
   * The network on the host, once for all members. Its interface, if it has one, is the first thing made, its going up the
   * last, with a claim where that is not in the same batch. What is made is `exclusive`, and is made anew when it is lost.
   */
  planNetwork(network: NetworkRecord, alias: string): Step[];
  /** Its taps; a driver without takes none. */
  readonly tap?: TapDriver;
  /** What a container's interface in it is. */
  nic(network: NetworkRecord, hostLink: string): NicIn;
  /** Whose it is, where that is not the interface's alias; undefined where there is none. Throws HostError. */
  readOwner?(network: NetworkRecord): Promise<string | undefined>;
  /** What is in it and not its own, where those are not the interface's ports. Throws HostError. */
  readPorts?(network: NetworkRecord, instance: string): Promise<string[]>;
}

/** A network's taps for virtual machines. */
export interface TapDriver {
  /** One on the host: the tap first, then what can be done again. */
  plan(network: NetworkRecord, tap: string, alias: string): Step[];
  /** Throws ConflictError, HostError where the host cannot have it, beside an interface of that name. Reads only. */
  validate?(network: NetworkRecord, tap: string, alias: string): Promise<void>;
  /** What `-netdev tap` of qemu needs beside, from its comma on. */
  netdevWords?(network: NetworkRecord): string;
}

/** Of an interface all that comes from its network. */
export type NicIn = Placed<NicSpec>;
type Placed<N> = N extends NicSpec & { readonly network: string }
  ? Omit<N, 'network' | 'name' | 'addresses' | 'gateways' | 'mac' | 'mtuBytes' | 'noStrangers'>
  : never;

/** What is not as planNic left it, as messages: of the interface; of its host end, that is in nothing; of its being up. */
export interface NicDamage {
  readonly nic?: string;
  readonly loose?: string;
  readonly port?: string;
}

export interface NicDriver<N extends NicSpec = NicSpec> {
  /**
   * From nothing to an interface of that name, MAC address and MTU in the container's network namespace, still down. In the
   * chain and the part of the NIC: steps on the host, then those inside.
   */
  planNic(nic: N, owner: Owner): Step[];
  /** The inside, where there is no end on the host that a stop could take down. */
  planInside?(nic: N, owner: Owner): Step[];
  /** A look at the host, of which `links` is a part. */
  findDamage(nic: N, container: string, links: ReadonlyMap<string, HostLink>): Promise<NicDamage>;
  /** Steps that a reboot does not undo. */
  lasting?(nic: N, owner: Owner): Step[];
}

const NETWORK_DRIVERS: { readonly [K in NetworkRecord['driver']]: NetworkDriver } = {
  bridge: bridgeDriver,
  macvlan: macvlanDriver,
  vxlan: vxlanDriver,
  ovs: ovsDriver,
};

const NIC_DRIVERS: { readonly [K in NicSpec['kind']]: NicDriver<Extract<NicSpec, { kind: K }>> } = {
  veth: bridgeDriver,
  p2p: p2pDriver,
  phys: physDriver,
  macvlan: macvlanDriver,
  ovs: ovsDriver,
};

export function networkDriver({ driver }: Pick<NetworkRecord, 'driver'>): NetworkDriver {
  return NETWORK_DRIVERS[driver];
}

export function nicDriver({ kind }: NicSpec): NicDriver {
  return NIC_DRIVERS[kind];
}

/** Throws InvalidInputError. */
export function parseDriver(text: string): NetworkRecord['driver'] {
  const names = Object.keys(NETWORK_DRIVERS) as NetworkRecord['driver'][];
  const found = names.find((name) => name === text);
  if (found !== undefined) return found;
  throw new InvalidInputError(`cannot use driver ${JSON.stringify(text)}: no such driver`, { hint: names.join(', ') });
}

/** Throws InvalidInputError for what the driver does not know. */
export function requireKnown(driver: NetworkRecord['driver'], request: DriverRequest): void {
  const { flags, options } = NETWORK_DRIVERS[driver];
  const given = { bridge: request.bridge, uplink: request.uplink, vni: request.vni, local: request.local };
  const asked = { ...given, remote: request.remotes?.[0] };
  for (const [flag, value] of Object.entries(asked)) {
    if (value === undefined || flags.some((known) => known === flag)) continue;
    throw new InvalidInputError(`cannot use --${flag} with driver ${driver}`, {
      hint: flags.length === 0 ? 'it has no such option' : `it has ${flags.map((known) => `--${known}`).join(', ')}`,
    });
  }
  for (const key of request.options?.keys() ?? []) {
    if (options[key] !== undefined) continue;
    const known = Object.entries(options).map(([name, values]) => `${name}=${values}`);
    throw new InvalidInputError(`cannot use option ${key} with driver ${driver}`, {
      hint: known.length === 0 ? 'it has none' : `it has ${known.join(', ')}`,
    });
  }
}
