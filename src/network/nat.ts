/**
 * NAT and published ports: minict's own nftables table, and what goes into it and out again. The table's name has the
 * instance's id in it; no other table is ever touched. All commands can be given twice. Pure.
 */
import { publishedMap } from '../host/nft-table.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { formatPort, hostEnd, isEvery } from '../spec/port.ts';
import type { NetworkRecord } from '../state/network.ts';
import type { Command, Step } from '../step.ts';
import { nicStep } from './parts.ts';

export const TABLE = 'table';

export function tableName(instance: string): string {
  return `minict_${instance}`;
}

/** Commands in one word: nft(8) makes one transaction of them. */
function nft(...commands: readonly string[]): Command {
  return { kind: 'run', argv: ['nft', commands.join('\n')] };
}

const MAPS = [4, 6].flatMap((family) => {
  const to = `inet_proto . inet_service : ipv${family}_addr . inet_service`;
  return [`ports${family} { type ipv${family}_addr . ${to} ; }`, `any${family} { type ${to} ; }`];
});

const SETS = [4, 6].flatMap((family) =>
  // Subnets with --nat; subnets that published ports lead to.
  ['nat', 'published'].map((name) => `${name}${family} { type ipv${family}_addr ; flags interval ; }`),
);

/** By chain: its hook, and its rules. */
const CHAINS: Readonly<Record<string, { readonly hook: string; readonly rules: readonly string[] }>> = {
  publish: {
    hook: '',
    rules: [
      'dnat ip to ip daddr . meta l4proto . th dport map @ports4',
      'dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports6',
      'fib daddr type local dnat ip to meta l4proto . th dport map @any4',
      // From ::1 no way leads out of the host.
      'ip6 daddr != ::1 fib daddr type local dnat ip6 to meta l4proto . th dport map @any6',
    ],
  },
  prerouting: { hook: 'type nat hook prerouting priority dstnat', rules: ['jump publish'] },
  output: { hook: 'type nat hook output priority -100', rules: ['jump publish'] },
  postrouting: {
    hook: 'type nat hook postrouting priority srcnat',
    rules: [
      'ip saddr @nat4 ip daddr != @nat4 masquerade',
      'ip6 saddr @nat6 ip6 daddr != @nat6 masquerade',
      // From a container to a published one beside it, or to itself: the answer has to come back through the host.
      'ct status dnat ip saddr @published4 ip daddr @published4 masquerade',
      'ct status dnat ip6 saddr @published6 ip6 daddr @published6 masquerade',
      'ip saddr 127.0.0.0/8 ip daddr @published4 masquerade',
    ],
  },
  // With route_localnet a container could reach what listens on the host's loopback.
  loopback: {
    hook: 'type filter hook prerouting priority raw',
    rules: ['iifname @loopback ip daddr 127.0.0.0/8 drop'],
  },
};

/** Made anew where it is there, with what its maps and sets have in them. */
export function planTable(instance: string): Step {
  const table = tableName(instance);
  const chains = Object.entries(CHAINS);
  return {
    id: TABLE,
    why: "minict's own table, for NAT and published ports",
    run: nft(
      `add table inet ${table}`,
      ...MAPS.map((map) => `add map inet ${table} ${map}`),
      ...[...SETS, 'loopback { type ifname ; }'].map((set) => `add set inet ${table} ${set}`),
      ...chains.map(([name, { hook }]) => `add chain inet ${table} ${name}${hook === '' ? '' : ` { ${hook} ; }`}`),
      ...chains.map(([name]) => `flush chain inet ${table} ${name}`),
      ...chains.flatMap(([name, { rules }]) => rules.map((rule) => `add rule inet ${table} ${name} ${rule}`)),
    ),
    undo: nft(`delete table inet ${table}`),
    claims: [{ kind: 'nft table', name: table }],
  };
}

/** A script's maker cannot know what others have put into it by then. Switches are given back with it. */
const DROP_UNUSED = `table=$(nft -j list table inet "$1" 2>/dev/null) || exit 0
if printf %s "$table" | grep -Eq '"name": *"(ports|any|nat)[46]"[^}]*"elem"'; then exit 0; fi
nft delete table inet "$1"; shift
for switch; do [ ! -e "$switch" ] || echo 0 >"$switch"; done`;

/** Its undo takes the table away, unless a port or a network with NAT is in it. */
export function planUnusedTable(instance: string, switches: readonly string[]): Step {
  return {
    id: 'unused table',
    why: "minict's own table, where nothing is left in it",
    run: nft(`add table inet ${tableName(instance)}`),
    undo: { kind: 'run', argv: ['sh', '-c', DROP_UNUSED, 'sh', tableName(instance), ...switches] },
  };
}

function elementStep(instance: string, id: string, why: string, set: string, element: string): Step {
  const words = `element inet ${tableName(instance)} ${set} { ${element} }`;
  return { id, why, run: nft(`add ${words}`), undo: nft(`delete ${words}`), endsWith: TABLE };
}

const familyOf = (subnet: string) => (subnet.includes(':') ? 6 : 4);

/** What leaves the network's subnets for elsewhere gets the host's address. */
export function planNat(instance: string, { name, subnets }: NetworkRecord): Step[] {
  return subnets.map(({ subnet }) =>
    elementStep(instance, `nat ${name} ${subnet}`, `NAT for network ${name}`, `nat${familyOf(subnet)}`, subnet),
  );
}

/** So that answers of published ports come back through the host. */
export function planPublished(instance: string, { name, subnets }: NetworkRecord): Step[] {
  return subnets.map(({ subnet }) =>
    elementStep(
      instance,
      `published ${name} ${subnet}`,
      `published ports lead into network ${name}`,
      `published${familyOf(subnet)}`,
      subnet,
    ),
  );
}

/** No container comes to the host's loopback where that comes to containers. */
export function planLoopbackGuard(instance: string, { name, link }: NetworkRecord): Step {
  const why = `nothing from network ${name} reaches the host's loopback`;
  return elementStep(instance, `loopback ${name}`, why, 'loopback', `"${link}"`);
}

/** Ports of one container, in one transaction; conflicts are the kernel's to refuse. */
export function planPorts(instance: string, { ports = [], name }: ContainerSpec): Step[] {
  if (ports.length === 0) return [];
  const table = tableName(instance);
  const elements = ports.map((port) => {
    const host = isEvery(port.ip) ? '' : `${port.ip} . `;
    const element = `${host}${port.protocol} . ${port.port} : ${port.address} . ${port.to}`;
    return `element inet ${table} ${publishedMap(port.ip)} { ${element} }`;
  });
  return [
    {
      id: 'ports',
      why: `published: ${ports.map(formatPort).join(', ')}`,
      chain: `net ${name}`,
      part: 'ports',
      run: nft(...elements.map((element) => `add ${element}`)),
      // One that is gone already would keep the others.
      undo: nft(...elements.flatMap((element) => [`add ${element}`, `delete ${element}`])),
      claims: ports.map((port) => ({ kind: 'port', name: `${table} ${hostEnd(port)}/${port.protocol}` })),
    },
  ];
}

/** A port that leads back to who asks: with br_netfilter its frames leave the bridge where they came in. */
export function planHairpins({ nics, ports = [], name }: ContainerSpec): Step[] {
  const targets = new Set(ports.map((port) => port.address));
  const led = nics.filter((nic) => nic.addresses.some((address) => targets.has(address.split('/')[0] as string)));
  return led.flatMap((nic) =>
    nic.kind === 'veth'
      ? [
          nicStep(
            nic,
            name,
            'hairpin',
            'its own published ports, for itself',
            `link set dev ${nic.hostLink} type bridge_slave hairpin on`,
          ),
        ]
      : [],
  );
}
