/** The bridge driver: a Linux bridge on the host, and for each NIC a veth pair into it. Pure: makes steps. */
import type { NicSpec } from '../spec/container.ts';
import type { Step } from '../step.ts';

export interface BridgePlan {
  readonly bridge: string;
  readonly mac: string;
  readonly gateway: string;
  readonly prefix: number;
  readonly alias: string;
}

/** `ip` in the host's namespace. Every name in `words` was validated to have no white space. */
function ip(words: string) {
  return { kind: 'run', argv: ['ip', ...words.split(' ')] } as const;
}

export function planBridge(plan: BridgePlan): Step[] {
  const { bridge, mac, alias, gateway, prefix } = plan;
  return [
    {
      id: 'bridge',
      why: 'the Linux bridge that joins the containers; its MAC is fixed, or it would follow the lowest port',
      run: { ...ip(`link add name ${bridge} address ${mac} type bridge`), exclusive: true },
      undo: ip(`link del dev ${bridge}`),
      claims: [{ kind: 'link', name: bridge }],
    },
    {
      id: 'bridge alias',
      why: 'whose it is',
      run: ip(`link set dev ${bridge} alias ${alias}`),
      endsWith: 'bridge',
    },
    {
      id: 'bridge address',
      why: "the containers' gateway",
      run: ip(`addr add ${gateway}/${prefix} brd + dev ${bridge}`),
      endsWith: 'bridge',
    },
    { id: 'bridge up', why: 'bridge up', run: ip(`link set dev ${bridge} up`), endsWith: 'bridge' },
  ];
}

export interface NicPlan {
  readonly container: string;
  readonly bridge: string;
  readonly hostMac: string;
  readonly alias: string;
}

/** Below this MTU the kernel has no IPv6 on an interface (RFC 8200), nor its settings. */
const IPV6_MIN_MTU_BYTES = 1280;

export function planNic(nic: NicSpec, plan: NicPlan): Step[] {
  const chain = `net ${plan.container}`;
  const mtu = nic.mtuBytes === undefined ? '' : ` mtu ${nic.mtuBytes}`;
  const veth = `${nic.name} veth`;
  const withIpv6 = (nic.mtuBytes ?? IPV6_MIN_MTU_BYTES) >= IPV6_MIN_MTU_BYTES;
  const outside = (id: string, why: string, words: string): Step => ({
    id: `${nic.name} ${id}`,
    why,
    chain,
    run: ip(words),
    endsWith: veth,
  });
  const inside = (id: string, why: string, words: string): Step => ({
    ...outside(id, why, words),
    run: { ...ip(words), netns: plan.container },
  });
  return [
    {
      id: veth,
      why: 'a veth pair: one end on the host, its peer inside the container',
      chain,
      run: ip(
        `link add name ${nic.hostLink} address ${plan.hostMac}${mtu} type veth ` +
          `peer name ${nic.name} address ${nic.mac}${mtu} netns ${plan.container}`,
      ),
      undo: ip(`link del dev ${nic.hostLink}`),
      claims: [{ kind: 'link', name: nic.hostLink }],
      // Deleting the namespace deletes the pair in bulk; `ip link del` costs 16 to 28 ms each.
      endsWith: 'netns',
    },
    outside(
      'port',
      'a port of the bridge; whose it is; it needs no IPv6 address',
      `link set dev ${nic.hostLink} master ${plan.bridge} alias ${plan.alias}${withIpv6 ? ' addrgenmode none' : ''}`,
    ),
    planHostEnd(nic, plan.container),
    ...(withIpv6
      ? [
          inside(
            'IPv6 off',
            'no link-local address on a network without an IPv6 subnet',
            `link set dev ${nic.name} addrgenmode none`,
          ),
        ]
      : []),
    inside('address', 'its address', `addr add ${nic.address}/${nic.prefix} brd + dev ${nic.name}`),
    inside('up', 'NIC up', `link set dev ${nic.name} up`),
    inside('route', 'default route', `route add default via ${nic.gateway}`),
  ];
}

/** stop takes the host end down, so that neighbours see carrier loss; start takes it up again. */
function planHostEnd(nic: NicSpec, container: string): Step {
  return {
    id: `${nic.name} port up`,
    why: 'host end up',
    part: 'port',
    chain: `net ${container}`,
    run: ip(`link set dev ${nic.hostLink} up`),
    undo: ip(`link set dev ${nic.hostLink} down`),
    endsWith: `${nic.name} veth`,
  };
}

/** With or without a network, a container has its loopback. */
export function planLoopback(container: string): Step {
  return {
    id: 'lo',
    why: 'loopback up',
    chain: `net ${container}`,
    run: { ...ip('link set dev lo up'), netns: container },
    endsWith: 'netns',
  };
}
