/** Each driver of networks, with what its host needs, for the suite that all of them pass. */
import { expect } from 'vitest';
import type { Host } from './host.ts';
import { ovsRows, startOvsdb, startVswitchd, stopOvs } from './ovs.ts';

export interface NetworkDriverCase {
  readonly title: string;
  /** Once, on the bare host. */
  readonly prepare: (host: Host) => void;
  readonly end?: (host: Host) => Promise<void>;
  /** Of network create. */
  readonly options: readonly string[];
  /** Its host has no gateway in it. */
  readonly isOpen?: boolean;
  /** What containers get without --mtu. */
  readonly mtuBytes: number;
  /** Whether a stopped one's interface is up without carrier; else it is down. */
  readonly hasCarrierLoss: boolean;
  /** Somebody's hand: what of the network `n1` goes with it a container of it misses. */
  readonly breaks: readonly (readonly string[])[];
  /** What has to be put back by hand before a start can. */
  readonly mends?: (host: Host) => void;
  /** Beside the snapshot of the host. */
  readonly rows?: (host: Host) => string[];
  /** Tools that a create of the network takes, at least. */
  readonly commands: number;
}

/** Words that make it, with subnets of both families and a next hop in each. */
export function makeWords({ options, isOpen }: NetworkDriverCase): string[] {
  const subnets = ['--subnet', '10.7.0.0/24', '--subnet', 'fd00:7::/64'];
  const gateways = isOpen ? ['--gateway', '10.7.0.254', '--gateway', 'fd00:7::fe'] : [];
  return ['network', 'create', 'n1', ...subnets, ...gateways, ...options];
}

function ip(host: Host, ...lines: string[]): void {
  for (const line of lines) expect(host.run(['ip', ...line.split(' ')]), line).toMatchObject({ status: 0 });
}

/** A cable of the host's: `name`, whose other end nobody has. */
function cable(name: string, ...more: string[]): (host: Host) => void {
  return (host) =>
    ip(
      host,
      `link add name ${name} address 02:00:00:00:0e:01 type veth peer name ${name}-far address 02:00:00:00:0e:02`,
      `link set dev ${name}-far up`,
      ...more,
    );
}

const DEL_BRIDGE = ['ip', 'link', 'del', 'n1'];
const up0 = cable('up0', 'link set dev up0 up');

export const NETWORK_DRIVERS: readonly NetworkDriverCase[] = [
  {
    title: 'bridge',
    prepare: () => {},
    options: [],
    mtuBytes: 1500,
    hasCarrierLoss: true,
    breaks: [DEL_BRIDGE, ['ip', 'link', 'del', 'a-net0'], ['ip', 'link', 'set', 'a-net0', 'nomaster']],
    commands: 1,
  },
  {
    title: 'existing bridge',
    prepare: (host) =>
      ip(
        host,
        'link add name br9 address 02:00:00:00:00:09 type bridge',
        'link set dev br9 up',
        'addr add 10.7.0.200/24 dev br9',
      ),
    options: ['--bridge', 'br9'],
    isOpen: true,
    mtuBytes: 1500,
    hasCarrierLoss: true,
    breaks: [['ip', 'link', 'set', 'a-net0', 'nomaster']],
    commands: 0,
  },
  {
    title: 'bridge with uplink',
    prepare: cable('up0'),
    options: ['--uplink', 'up0'],
    mtuBytes: 1500,
    hasCarrierLoss: true,
    breaks: [DEL_BRIDGE],
    commands: 1,
  },
  {
    title: 'macvlan',
    prepare: up0,
    options: ['--driver', 'macvlan', '--uplink', 'up0'],
    isOpen: true,
    mtuBytes: 1500,
    hasCarrierLoss: false,
    breaks: [['ip', 'link', 'del', 'up0']],
    mends: up0,
    commands: 0,
  },
  {
    title: 'vxlan',
    prepare: cable('ul0', 'link set dev ul0 up', 'addr add 10.200.0.1/24 dev ul0'),
    options: [
      ...['--driver', 'vxlan', '--vni', '42', '--local', '10.200.0.1', '--remote', '10.200.0.2,10.200.0.3'],
      ...['--uplink', 'ul0'],
    ],
    isOpen: true,
    mtuBytes: 1450,
    hasCarrierLoss: true,
    breaks: [['ip', 'link', 'del', 'n1-vx'], DEL_BRIDGE],
    commands: 3,
  },
  {
    title: 'ovs',
    prepare: (host) => {
      startOvsdb(host);
      startVswitchd(host);
    },
    end: stopOvs,
    options: ['--driver', 'ovs', '--option', 'datapath_type=netdev'],
    mtuBytes: 1500,
    hasCarrierLoss: true,
    breaks: [
      ['ovs-vsctl', 'del-port', 'n1', 'a-net0'],
      ['ovs-vsctl', 'del-br', 'n1'],
      ['ip', 'link', 'del', 'a-net0'],
    ],
    rows: ovsRows,
    commands: 5,
  },
];
