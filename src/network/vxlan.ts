/**
 * The vxlan driver (RFC 7348): a bridge of minict's with a port that leads to other hosts. Which hosts, a list says, to
 * which all that has no known place is sent; without one nothing is learnt, and a control plane (EVPN) fills the table.
 */
import { ConflictError, InvalidInputError, NotFoundError } from '../errors.ts';
import { formatIp, parseIp } from '../spec/address.ts';
import type { NetworkRecord } from '../state/network.ts';
import type { Step } from '../step.ts';
import { planBridge, planUp } from './bridge.ts';
import type { DriverRequest, NetworkDriver, OwnNames, Settled } from './driver.ts';
import { ip } from './ip.ts';
import { portTap } from './tap.ts';

type Vxlan = NonNullable<NetworkRecord['vxlan']>;

/** Outer Ethernet, IP, UDP and VXLAN headers. */
const OVERHEAD_BYTES = { 4: 50, 6: 70 } as const;

/** IANA's. The kernel has an older one where none is said. */
const PORT = 4789;

/** Even an IPv4 host need not take more in one piece (RFC 791). */
const LEAST_MTU_BYTES = 576;

const HINT = '--vni 42 --local 10.0.0.1 --remote 10.0.0.2; without --remote for EVPN';

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port > 0 && port < 65536) return port;
  throw new InvalidInputError(`cannot use option dstport=${text}: no UDP port`, { hint: `for example ${PORT}` });
}

function parseRemotes(remotes: readonly string[], local: string): string[] {
  const family = parseIp(local).family;
  const all = remotes.flatMap((text) => text.split(',')).map((text) => ({ text, address: parseIp(text) }));
  const other = all.find(({ address }) => address.family !== family);
  if (other !== undefined) {
    throw new InvalidInputError(`cannot use remote ${other.text}: not of the family of --local ${local}`, {
      hint: 'both ends IPv4, or both IPv6',
    });
  }
  const plain = all.map(({ address }) => formatIp(address));
  if (plain.includes(local)) {
    throw new InvalidInputError(`cannot use remote ${local}: it is this host, --local`, {
      hint: 'the other hosts alone',
    });
  }
  return [...new Set(plain)];
}

/** The interface that has the outer address, with its MTU. */
async function requireUnderlay(local: string, name: string | undefined) {
  const holder = await (await import('../host/interfaces.ts')).readHolder(local, name);
  if (holder !== undefined) return holder;
  throw new NotFoundError(
    `cannot use local address ${local}: ${name === undefined ? 'no interface of the host has it' : `${name} has it not`}`,
    { hint: 'ip addr' },
  );
}

async function settle(request: DriverRequest, { link, tunnel, mac }: OwnNames): Promise<Settled> {
  const { vni, uplink, mtuBytes, remotes = [], options } = request;
  if (vni === undefined || request.local === undefined) {
    const missing = vni === undefined ? '--vni' : '--local';
    throw new InvalidInputError(`cannot make a vxlan network without ${missing}`, { hint: HINT });
  }
  const address = parseIp(request.local);
  const local = formatIp(address);
  const underlay = await requireUnderlay(local, uplink);
  const most = underlay.mtuBytes - OVERHEAD_BYTES[address.family];
  if (most < LEAST_MTU_BYTES || (mtuBytes !== undefined && mtuBytes > most)) {
    throw new InvalidInputError(
      `cannot use MTU ${mtuBytes ?? most}: ${underlay.name} has ${underlay.mtuBytes}, of which ${most} are left`,
      { hint: `ip link set dev ${underlay.name} mtu BYTES` },
    );
  }
  const vxlan: Vxlan = {
    link: tunnel,
    vni,
    local,
    remotes: parseRemotes(remotes, local),
    dstport: parsePort(options?.get('dstport') ?? String(PORT)),
    ...(uplink === undefined ? {} : { underlay: uplink }),
  };
  return { settings: { link, mac, mtuBytes: mtuBytes ?? most, vxlan }, gateways: [], isOpen: true };
}

async function validate({ vxlan }: NetworkRecord): Promise<void> {
  if (vxlan !== undefined) await requireUnderlay(vxlan.local, vxlan.underlay);
}

function planNetwork(record: NetworkRecord, alias: string): Step[] {
  const { link, vxlan } = record;
  if (vxlan === undefined) return [];
  return [
    ...planBridge(record, alias),
    ...planTunnel(vxlan, record, alias),
    // What floods is another tool's batch: this one's end says that all is there.
    { ...planUp(link), claims: [{ kind: 'link', name: link }] },
  ];
}

function planTunnel(vxlan: Vxlan, { link, mtuBytes }: NetworkRecord, alias: string): Step[] {
  const { link: tunnel, vni, local, remotes, dstport, underlay } = vxlan;
  const step = (id: string, why: string, argv: string): Step => ({
    id,
    why,
    run: { kind: 'run', argv: argv.split(' ') },
    endsWith: 'tunnel',
  });
  const dev = underlay === undefined ? '' : ` dev ${underlay}`;
  const byOthers = remotes.length === 0;
  return [
    {
      id: 'tunnel',
      why: 'the tunnel to other hosts',
      run: {
        ...ip(
          `link add name ${tunnel} mtu ${mtuBytes} type vxlan id ${vni} local ${local}${dev} dstport ${dstport}` +
            (byOthers ? ' nolearning' : ''),
        ),
        exclusive: true,
      },
      undo: ip(`link del dev ${tunnel}`),
      claims: [{ kind: 'link', name: tunnel }],
    },
    step(
      'tunnel port',
      'a port of the bridge; whose it is; it needs no IPv6 address',
      `ip link set dev ${tunnel} master ${link} alias ${alias} addrgenmode none`,
    ),
    ...(byOthers
      ? [
          step(
            'tunnel learning',
            'a control plane says where who is',
            `ip link set dev ${tunnel} type bridge_slave learning off`,
          ),
        ]
      : []),
    step('tunnel up', 'tunnel up', `ip link set dev ${tunnel} up`),
    ...remotes.map((remote) =>
      step(
        `remote ${remote}`,
        'what is for all, or for nobody known, goes there, too',
        `bridge fdb append 00:00:00:00:00:00 dev ${tunnel} dst ${remote}`,
      ),
    ),
  ];
}

/** Throws ConflictError where another network has that VNI on that port. */
export function refuseSameVni(record: NetworkRecord, others: readonly NetworkRecord[]): void {
  const { vxlan } = record;
  const same = others.find((other) => other.vxlan?.vni === vxlan?.vni && other.vxlan?.dstport === vxlan?.dstport);
  if (vxlan === undefined || same === undefined) return;
  throw new ConflictError(`cannot use VNI ${vxlan.vni}: network ${same.name} has it`, {
    hint: 'take another one; on all hosts the same',
  });
}

export const vxlanDriver: NetworkDriver = {
  flags: ['vni', 'local', 'remote', 'uplink'],
  options: { dstport: String(PORT) },
  settle,
  validate,
  planNetwork,
  tap: portTap,
  nic: ({ link, vxlan }, hostLink) => ({
    kind: 'veth',
    bridge: link,
    hostLink,
    ...(vxlan === undefined ? {} : { tunnel: vxlan.link }),
  }),
};
