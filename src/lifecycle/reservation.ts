/** Addresses of a new container, or of a new interface, that nobody else gets: the choice is made, and recorded, under the networks' lock. */
import { ConflictError, InvalidInputError } from '../errors.ts';
import type { NicSpec } from '../spec/container.ts';
import type { NicRequest } from '../spec/nic.ts';
import type { Port, PortRequest } from '../spec/port.ts';
import { ensureHosts } from '../state/hosts.ts';
import { type Lock, lockNetworks } from '../state/locks.ts';
import { joined, type Member, stageNetworks } from '../state/network.ts';
import { networkPaths } from '../state/paths.ts';
import type { Context } from './context.ts';
import { takingBack } from './dead-members.ts';
import { ensureLink } from './network-link.ts';
import { type Assignment, assignNics, writeMember } from './nics.ts';
import { openPorts } from './open-ports.ts';
import { meetStrangers } from './strangers.ts';

/** Addresses that nobody else can take: the networks stay locked until they are committed or given back. */
export interface Reservation extends Assignment {
  readonly ports: readonly Port[];
  /** Writes the members down; what is returned makes them members, with the hosts files of all. */
  stage(): Promise<() => void>;
  /** Lets the others go on; committed or not. */
  release(): void;
}

export interface Besides {
  /** Throws where the interfaces are not what they have to be, before anything is made. */
  readonly check?: (nics: readonly NicSpec[]) => void;
  readonly publish?: readonly PortRequest[];
}

/** Chooses, and makes sure that the networks are there on the host. */
export function reserveNics(
  context: Context,
  instance: string,
  member: Member,
  requests: readonly NicRequest[],
  besides: Besides = {},
): Promise<Reservation> {
  return takingBack(context, instance, () => reserveFree(context, instance, member, requests, besides));
}

async function reserveFree(
  context: Context,
  instance: string,
  member: Member,
  requests: readonly NicRequest[],
  { check = () => {}, publish = [] }: Besides,
): Promise<Reservation> {
  let lock: Lock | undefined = lockNetworks(context.roots);
  const unlock = () => {
    lock?.release();
    lock = undefined;
  };
  try {
    let assignment = await assignNics(context, instance, member, requests);
    check(assignment.nics);
    for (const record of assignment.networks) {
      await ensureLink(context, instance, record, lock.fd);
      ensureHosts(networkPaths(context.roots, record.name).hosts);
    }
    const strangers = new Map<string, string>();
    while (await meetStrangers(instance, assignment.nics, assignment.networks, strangers)) {
      assignment = await assignNics(context, instance, member, requests, strangers);
    }
    const whole: Member = { ...member, nics: [...member.nics, ...assignment.nics] };
    const { networks } = assignment;
    const ports = await openPorts(context, instance, whole, networks, publish, lock.fd);
    return {
      ...assignment,
      ports,
      async stage() {
        const publish = await stageNetworks(context.roots, joined({ ...whole, ports }, networks));
        return () => {
          publish();
          unlock();
        };
      },
      release: unlock,
    };
  } catch (error) {
    unlock();
    throw error;
  }
}

/**
 * Of a container that is not up: its networks come with its first start. The first of `wishes` that can be met, or
 * `otherwise`; `causes` tell why those before could not. Throws what assignNics throws of the last.
 */
export function leaseNics(
  context: Context,
  instance: string,
  member: Member,
  wishes: readonly (readonly NicRequest[])[],
  otherwise: readonly NicRequest[],
): Promise<Lease> {
  return takingBack(context, instance, () => leaseFree(context, instance, member, wishes, otherwise));
}

interface Lease {
  readonly assignment: Assignment;
  readonly causes: readonly string[];
}

async function leaseFree(
  context: Context,
  instance: string,
  member: Member,
  wishes: readonly (readonly NicRequest[])[],
  otherwise: readonly NicRequest[],
): Promise<Lease> {
  const lock = lockNetworks(context.roots);
  const causes: string[] = [];
  const choose = async (requests: readonly NicRequest[]) => {
    const assignment = await assignNics(context, instance, member, requests);
    const nics = [...member.nics, ...assignment.nics];
    await writeMember(context, { ...member, nics }, assignment.networks);
    return { assignment, causes };
  };
  try {
    for (const wish of wishes) {
      try {
        return await choose(wish);
      } catch (error) {
        if (!(error instanceof InvalidInputError || error instanceof ConflictError)) throw error;
        causes.push(error.message);
      }
    }
    return await choose(otherwise);
  } finally {
    lock.release();
  }
}
