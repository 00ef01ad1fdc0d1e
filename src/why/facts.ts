/** All that is known of a path before it is judged: plain data, from the kernel and from minict's records. */
import type { Interface } from '../host/inside/interfaces.ts';
import type { Neighbour } from '../host/inside/neighbours.ts';
import type { Outcome } from '../host/inside/probe.ts';
import type { RouteAnswer } from '../host/inside/routes.ts';
import type { Settings } from '../host/inside/settings.ts';
import type { Listener } from '../host/inside/sockets.ts';
import type { Family } from '../spec/address.ts';
import type { ContainerSpec } from '../spec/container.ts';
import type { Rules } from './rules.ts';

export interface Question {
  /** A container, or `host`. */
  readonly source: string;
  /** A container, `host`, or an address. */
  readonly target: string;
  readonly protocol: 'tcp' | 'udp' | 'icmp';
  /** Not for `icmp`. */
  readonly port: number | undefined;
}

/** A network namespace on the path: the host's or a container's. */
export interface Node {
  readonly name: string;
  readonly isHost: boolean;
  readonly spec: ContainerSpec | undefined;
  /** `gone`: of a container that is up, the namespace is not there. */
  readonly state: 'up' | 'stopped' | 'gone';
  /** A process is in it. */
  readonly isRunning: boolean;
  /** Its processes are held still (`pause`): the kernel alone answers for them. */
  readonly isPaused: boolean;
  readonly interfaces: readonly Interface[];
  readonly settings: Settings;
  /** A default route of the path's family. */
  readonly hasDefault: boolean;
  /** Undefined where nft is missing. */
  readonly rules: Rules | undefined;
  readonly neighbours: readonly Neighbour[];
}

/** An address, and the port of the service there. */
export interface Destination {
  readonly ip: string;
  /** Not of a ping. */
  readonly port: number | undefined;
}

/** Where the packet is, and what happens to it there. */
export interface Hop {
  readonly node: Node;
  /** Where it is sent to, by this node's own rules too; of an answer with the port that it comes from. */
  readonly to: Destination;
  /** Where it was sent to before a rule of this node's (DNAT) led it to `to`. */
  readonly sentTo: Destination | undefined;
  /** Such a rule that says to minict not where to, in words. */
  readonly unreadDnat: string | undefined;
  /** Its source address here: a router before may have put its own in its place. */
  readonly from: string | undefined;
  /** Interface that it comes in by; undefined where it begins. */
  readonly incoming: string | undefined;
  /** Undefined in a container that is not up. */
  readonly route: RouteAnswer | undefined;
  /** Here it is to end: whose address it is sent to, whatever the kernel makes of it. */
  readonly isEnd: boolean;
  /** To where it came from. */
  readonly reverse: RouteAnswer | undefined;
  /** The address that it is handed to next. */
  readonly nextHop: string | undefined;
  /** Words of routes that refuse its destination. */
  readonly refusing: readonly string[];
}

export interface MtuFacts {
  /** What the source believes it can send in one packet. */
  readonly fullBytes: number;
  /** Whether a small ping was answered: without, nothing can be said of large ones. */
  readonly small: Outcome;
  readonly full: Outcome;
  /** What the source knows of the path's MTU, by its route or from ICMP. */
  readonly learntBytes: number | undefined;
}

/** Rules of the host's that stop what the bridge carries or hands on, as src/host/firewall judges them. */
export interface HostDrop {
  readonly rule: string;
  readonly fix: string;
}

/** What a NIC loses of all that leaves it, by a qdisc or a filter of its own. */
export interface Loss {
  readonly percent: number;
  /** What loses it, in words. */
  readonly by: string;
  readonly fix: string;
}

export interface PathFacts {
  readonly question: Question;
  readonly family: Family;
  readonly from: string | undefined;
  readonly to: string;
  readonly host: Node;
  /** All containers, for who could be the router. */
  readonly containers: readonly ContainerSpec[];
  /** Names of those that are up. */
  readonly up: ReadonlySet<string>;
  /** Those of them that have several interfaces, and forward. */
  readonly forwarders: ReadonlySet<string>;
  readonly there: readonly Hop[];
  /** Empty where the other end is none of minict's. */
  readonly back: readonly Hop[];
  /** Undefined where none was sent, since it could not leave. */
  readonly probe: Outcome | undefined;
  readonly mtu: MtuFacts | undefined;
  /** By container and NIC (`whereOf`); empty where the probe was answered, or none was sent. */
  readonly losses: ReadonlyMap<string, Loss>;
  /** At the target; undefined where it is none of minict's, or ss is missing. */
  readonly listeners: readonly Listener[] | undefined;
  /** Ports by bridge, as Open vSwitch's database has them; undefined where it does not answer, or nobody asks. */
  readonly ovs: ReadonlyMap<string, readonly string[]> | undefined;
  /** By the bridge that the packet crosses. */
  readonly bridged: ReadonlyMap<string, readonly HostDrop[]>;
  readonly routed: ReadonlyMap<string, readonly HostDrop[]>;
}
