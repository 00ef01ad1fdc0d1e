/** A veth pair: one end on the host, its peer inside a container. What is done with the host's end is the driver's. */
import type { HostLink } from '../host/links.ts';
import type { NicSpec } from '../spec/container.ts';
import { hostEndMac } from '../spec/name.ts';
import type { Step } from '../step.ts';
import type { NicDamage, Owner } from './driver.ts';
import { ip } from './ip.ts';
import { linkStepId, mtuWords, netChain, nicPart, nicStep, portPart } from './parts.ts';

/** Those that are such a pair. */
type VethNic = Extract<NicSpec, { kind: 'veth' | 'ovs' }>;

/**
 * As many as are used: without it the kernel makes one for each CPU, and to take the others out of use waits for two grace
 * periods of RCU.
 */
const ONE_QUEUE = 'numtxqueues 1 numrxqueues 1';

/** MTU of its end on the host, as a NIC's. */
export function hostEnd(nic: VethNic): Pick<VethNic, 'mtuBytes'> {
  return nic.kind === 'veth' && nic.hostMtuBytes !== undefined ? { mtuBytes: nic.hostMtuBytes } : nic;
}

/** Both ends, down. */
export function planVeth(nic: VethNic, { container, instance }: Owner): Step {
  const { name, hostLink, mac } = nic;
  const mtu = mtuWords(nic);
  const hostMac = hostEndMac(instance, container, name);
  return {
    id: linkStepId(nic),
    why: 'a veth pair: one end on the host, its peer inside the container',
    chain: netChain(container),
    part: nicPart(nic),
    run: ip(
      `link add name ${hostLink} address ${hostMac}${mtuWords(hostEnd(nic))} ${ONE_QUEUE} type veth ` +
        `peer name ${name} address ${mac}${mtu} ${ONE_QUEUE} netns ${container}`,
    ),
    undo: ip(`link del dev ${hostLink}`),
    claims: [{ kind: 'link', name: hostLink }],
    // Deleting the namespace deletes the pair in bulk; `ip link del` costs 16 to 28 ms each.
    endsWith: 'netns',
  };
}

/** stop takes the host end down, so that neighbours see carrier loss; start takes it up again. */
export function planHostEnd(nic: VethNic, container: string): Step {
  return {
    ...nicStep(nic, container, 'port up', 'host end up', `link set dev ${nic.hostLink} up`),
    part: portPart(nic),
    undo: ip(`link set dev ${nic.hostLink} down`),
    // Whoever has the name by then.
    claims: [{ kind: 'link', name: nic.hostLink }],
  };
}

/** Where the end is there, and in what it has to be in. */
export function damageOfHostEnd({ hostLink }: VethNic, links: ReadonlyMap<string, HostLink>): NicDamage {
  return links.get(hostLink)?.isUp ? {} : { port: `${hostLink} up` };
}
