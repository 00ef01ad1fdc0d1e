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

const ip = (...words: string[]) => ({ kind: 'run', argv: ['ip', ...words] }) as const;

export function planBridge(plan: BridgePlan): Step[] {
  const { bridge } = plan;
  return [
    {
      id: 'bridge',
      why: 'the Linux bridge that joins the containers; its MAC is fixed, or it would follow the lowest port',
      // Without a forward delay a port forwards at once; STP is off, as it is by default.
      run: ip('link', 'add', 'name', bridge, 'address', plan.mac, 'type', 'bridge', 'forward_delay', '0'),
      undo: ip('link', 'del', 'dev', bridge),
      claims: [{ kind: 'link', name: bridge }],
    },
    {
      id: 'bridge alias',
      why: 'whose it is',
      run: ip('link', 'set', 'dev', bridge, 'alias', plan.alias),
      endsWith: 'bridge',
    },
    {
      id: 'bridge address',
      why: "the containers' gateway",
      run: ip('addr', 'add', `${plan.gateway}/${plan.prefix}`, 'brd', '+', 'dev', bridge),
      endsWith: 'bridge',
    },
    { id: 'bridge up', why: 'bridge up', run: ip('link', 'set', 'dev', bridge, 'up'), endsWith: 'bridge' },
  ];
}

export interface NicPlan {
  readonly container: string;
  readonly bridge: string;
  readonly hostMac: string;
  readonly alias: string;
}

export function planNic(nic: NicSpec, plan: NicPlan): Step[] {
  const chain = `net ${plan.container}`;
  const mtu = nic.mtuBytes === undefined ? [] : ['mtu', String(nic.mtuBytes)];
  const inside = (id: string, why: string, ...words: string[]): Step => ({
    id: `${nic.name} ${id}`,
    why,
    chain,
    run: { ...ip(...words), netns: plan.container },
    endsWith: 'netns',
  });
  const outside = (id: string, why: string, ...words: string[]): Step => ({
    id: `${nic.name} ${id}`,
    why,
    chain,
    run: ip(...words),
    endsWith: `${nic.name} veth`,
  });
  return [
    {
      id: `${nic.name} veth`,
      why: 'a veth pair: one end in the bridge, its peer made inside the container',
      chain,
      run: ip(
        ...['link', 'add', 'name', nic.hostLink, 'address', plan.hostMac, ...mtu, 'master', plan.bridge],
        ...['type', 'veth', 'peer', 'name', nic.name, 'address', nic.mac, ...mtu, 'netns', plan.container],
      ),
      undo: ip('link', 'del', 'dev', nic.hostLink),
      claims: [{ kind: 'link', name: nic.hostLink }],
      // Deleting the namespace deletes the pair in bulk; `ip link del` costs 16 to 28 ms each.
      endsWith: 'netns',
    },
    outside(
      'port',
      'whose it is; a bridge port needs no IPv6 address',
      'link',
      'set',
      'dev',
      nic.hostLink,
      'alias',
      plan.alias,
      'addrgenmode',
      'none',
    ),
    outside('port up', 'host end up', 'link', 'set', 'dev', nic.hostLink, 'up'),
    inside(
      'no IPv6',
      'no link-local address on a network without an IPv6 subnet',
      'link',
      'set',
      'dev',
      nic.name,
      'addrgenmode',
      'none',
    ),
    inside('address', 'its address', 'addr', 'add', `${nic.address}/${nic.prefix}`, 'brd', '+', 'dev', nic.name),
    inside('lo', 'loopback up', 'link', 'set', 'dev', 'lo', 'up'),
    inside('up', 'NIC up', 'link', 'set', 'dev', nic.name, 'up'),
    inside('route', 'default route', 'route', 'add', 'default', 'via', nic.gateway),
  ];
}

/** A container without a network still has its loopback. */
export function planLoopback(container: string): Step[] {
  return [
    {
      id: 'lo',
      why: 'loopback up',
      chain: `net ${container}`,
      run: { ...ip('link', 'set', 'dev', 'lo', 'up'), netns: container },
      endsWith: 'netns',
    },
  ];
}
