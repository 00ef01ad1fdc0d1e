/** What steps of interfaces and of networks have in common, whatever their driver. */
import { InvalidInputError } from '../errors.ts';
import type { HostInterface } from '../host/interfaces.ts';
import { IPV6_MIN_MTU_BYTES, linkLocalOf, parseSubnet } from '../spec/address.ts';
import { type NicSpec, networkOf } from '../spec/container.ts';
import type { NetworkRecord } from '../state/network.ts';
import type { Part, Step } from '../step.ts';
import { ip } from './ip.ts';

export function hasIpv6Settings({ mtuBytes = IPV6_MIN_MTU_BYTES }: Pick<NicSpec, 'mtuBytes'>): boolean {
  return mtuBytes >= IPV6_MIN_MTU_BYTES;
}

/** ` mtu 1400`, or nothing. */
export function mtuWords({ mtuBytes }: { readonly mtuBytes?: number | undefined }): string {
  return mtuBytes === undefined ? '' : ` mtu ${mtuBytes}`;
}

/** Throws InvalidInputError for an MTU that an interface of the host's does not take on: bigger packets would be lost there. */
export function refuseBeyond({ name, mtuBytes }: HostInterface, asked: number | undefined): void {
  if (asked === undefined || asked <= mtuBytes) return;
  throw new InvalidInputError(`cannot use MTU ${asked}: ${name} has ${mtuBytes}`, {
    hint: 'without --mtu it is that of the uplink',
  });
}

/** Whose an interface is, as its alias says it: of a container's NIC, or of a network. */
export function aliasWord(instance: string, ...names: readonly string[]): string {
  return ['minict', instance, ...names].join(':');
}

/** Steps of one container's interfaces run in order. */
export function netChain(container: string): string {
  return `net ${container}`;
}

export function nicPart({ name }: NicSpec): Part {
  return `nic ${name}`;
}

export function portPart({ name }: NicSpec): Part {
  return `port ${name}`;
}

/** Id of the step that makes the interface. */
export function linkStepId({ name }: NicSpec): string {
  return `${name} link`;
}

/** Whether the step makes the host's end a port of its network again, of an interface that is there. */
export function attaches({ id }: Step, { name }: NicSpec): boolean {
  return [`${name} port`, `${name} hairpin`, `${name} port up`].includes(id);
}

/** A step of the interface, undone with the interface itself. */
export function nicStep(nic: NicSpec, container: string, id: string, why: string, words: string, netns?: string): Step {
  return {
    id: `${nic.name} ${id}`,
    why,
    chain: netChain(container),
    part: nicPart(nic),
    run: ip(words, netns),
    endsWith: linkStepId(nic),
  };
}

/** The gateways of a network's subnets, where they are addresses of its interface on the host. */
export function planGateways({ link, subnets, internal }: NetworkRecord): Step[] {
  return subnets.flatMap(({ subnet, gateway }) => {
    if (gateway === undefined || internal) return [];
    const rest = gateway.includes(':') ? 'nodad' : 'brd +';
    const words = `addr replace ${gateway}/${parseSubnet(subnet).prefix} ${rest} dev ${link}`;
    return [{ id: `address ${gateway}`, why: "the containers' gateway", run: ip(words), endsWith: 'link' }];
  });
}

/** The link-local address that the kernel would make. */
export function linkLocalCidr({ mac }: NicSpec): string {
  return `${linkLocalOf(mac)}/64`;
}

/** What an interface has inside, up or down; all of it can be done again. */
export function planAddresses(nic: NicSpec, container: string): Step[] {
  const inside = (id: string, why: string, words: string) => nicStep(nic, container, id, why, words, container);
  const isIpv6 = (address: string) => address.includes(':');
  const withIpv6 = nic.addresses.some(isIpv6);
  const linkLocal = linkLocalCidr(nic);
  return [
    ...(networkOf(nic) !== undefined && hasIpv6Settings(nic) && !withIpv6
      ? [
          inside(
            'IPv6 off',
            'no link-local address on a network without an IPv6 subnet',
            `link set dev ${nic.name} addrgenmode none`,
          ),
        ]
      : []),
    ...nic.addresses.map((address) =>
      inside(
        `address ${address}`,
        'its address',
        // minict knows who has it: no second of waiting for duplicates.
        `addr replace ${address} ${isIpv6(address) ? 'nodad' : 'brd +'} dev ${nic.name}`,
      ),
    ),
    ...(withIpv6 && nic.noStrangers && !nic.addresses.includes(linkLocal)
      ? [
          inside(
            'link-local',
            'of its MAC address, as the kernel would: that would look for duplicates, and not forward for two seconds',
            `addr replace ${linkLocal} nodad dev ${nic.name}`,
          ),
        ]
      : []),
  ];
}

/** The inside of an interface that has an end on the host: addresses, up, default routes. */
export function planNicInside(nic: NicSpec, container: string): Step[] {
  const inside = (id: string, why: string, words: string) => nicStep(nic, container, id, why, words, container);
  return [
    ...planAddresses(nic, container),
    inside('up', 'NIC up', `link set dev ${nic.name} up`),
    ...nic.gateways.map((gateway) =>
      inside(`route ${gateway}`, 'default route', `route add default via ${gateway} dev ${nic.name}`),
    ),
  ];
}

/** With or without a network, a container has its loopback. */
export function planLoopback(container: string): Step {
  return {
    id: 'lo',
    why: 'loopback up',
    chain: netChain(container),
    run: ip('link set dev lo up', container),
    endsWith: 'netns',
  };
}
