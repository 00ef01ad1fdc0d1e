/** What a kind of network is: how it is made on the host, and how a container gets an interface in it. */
import type { NicSpec } from '../spec/container.ts';
import type { NetworkRecord } from '../state/network.ts';
import type { Step } from '../step.ts';
import { bridgeDriver } from './bridge.ts';
import { p2pDriver } from './p2p.ts';
import { physDriver } from './phys.ts';

/** Whose interface it is. */
export interface Owner {
  readonly container: string;
  readonly instance: string;
  /** Folder of what a reboot must forget. */
  readonly runDir: string;
}

export interface NetworkDriver {
  /** Throws ConflictError, InvalidInputError where the host cannot have it: before it is made, and before it is made again. */
  validate(network: NetworkRecord): Promise<void>;
  /** The network on the host, once for all members. Its interface, if it has one, is the first thing made, its going up the last. */
  planNetwork(network: NetworkRecord, alias: string): Step[];
  /** One of the network's taps on the host; a driver without takes none. */
  planTap?(network: NetworkRecord, tap: string, alias: string): Step[];
}

export interface NicDriver<N extends NicSpec = NicSpec> {
  /**
   * From nothing to an interface of that name, MAC address and MTU in the container's network namespace, still down. Steps
   * on the host; in the chain and the part of the NIC.
   */
  planNic(nic: N, owner: Owner): Step[];
  /** The inside, where there is no end on the host that a stop could take down. */
  planInside?(nic: N, owner: Owner): Step[];
}

const NETWORK_DRIVERS: { readonly [K in NetworkRecord['driver']]: NetworkDriver } = { bridge: bridgeDriver };

const NIC_DRIVERS: { readonly [K in NicSpec['kind']]: NicDriver<Extract<NicSpec, { kind: K }>> } = {
  veth: bridgeDriver,
  p2p: p2pDriver,
  phys: physDriver,
};

export function networkDriver({ driver }: Pick<NetworkRecord, 'driver'>): NetworkDriver {
  return NETWORK_DRIVERS[driver];
}

export function nicDriver({ kind }: NicSpec): NicDriver {
  return NIC_DRIVERS[kind];
}
