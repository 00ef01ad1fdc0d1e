/**
 * The ovs driver: a bridge of Open vSwitch, and for each NIC a veth pair whose end on the host is a port of it. Rows of its
 * database outlast a reboot; each says in `external_ids:minict` whose it is.
 */
import { ConflictError, InvalidInputError } from '../errors.ts';
import type { HostLink } from '../host/links.ts';
import { type OvsBridge, ownerWord, quoted, readOvs, requireKernelDatapath, requireVswitchd } from '../host/ovs.ts';
import { interfaceIndex } from '../host/syscalls.ts';
import { toolPath } from '../host/tool.ts';
import type { NicSpec } from '../spec/container.ts';
import type { NetworkRecord } from '../state/network.ts';
import type { Command, Step } from '../step.ts';
import type { DriverRequest, NetworkDriver, NicDamage, NicDriver, Owner, OwnNames, Settled } from './driver.ts';
import { ip } from './ip.ts';
import { aliasWord, hasIpv6Settings, netChain, nicPart, nicStep, planGateways } from './parts.ts';
import { planTapLink, planTapSettings, tapStepId } from './tap.ts';
import { damageOfHostEnd, planHostEnd, planVeth } from './veth.ts';

type OvsNic = Extract<NicSpec, { kind: 'ovs' }>;

const DATAPATHS = ['system', 'netdev'] as const;

/** ovs-vsctl waits for ovs-vswitchd; without an end where that is not there. */
function vsctl(...words: readonly string[]): Command & { kind: 'run' } {
  return { kind: 'run', argv: ['ovs-vsctl', '--timeout=10', ...words] };
}

async function settle({ mtuBytes, options }: DriverRequest, { link, mac }: OwnNames): Promise<Settled> {
  const wanted = options?.get('datapath_type') ?? 'system';
  const datapath = DATAPATHS.find((each) => each === wanted);
  if (datapath === undefined) {
    throw new InvalidInputError(`cannot use option datapath_type=${wanted}: no such datapath`, {
      hint: DATAPATHS.join(', '),
    });
  }
  if ((await readOvs()).has(link)) {
    throw new ConflictError(`cannot make the bridge ${link}: Open vSwitch has one of that name`, {
      hint: `ovs-vsctl show; ovs-vsctl del-br ${link}`,
    });
  }
  await requireDatapath(datapath);
  const mtu = mtuBytes === undefined ? {} : { mtuBytes };
  return { settings: { link, mac, ...mtu, ovs: { datapath } }, gateways: 'first' };
}

async function requireDatapath(datapath: OvsNic['datapath']): Promise<void> {
  await requireVswitchd();
  // It sets the NICs' offloads inside.
  if (datapath === 'netdev') toolPath('ethtool');
  else await requireKernelDatapath();
}

async function validate({ ovs }: NetworkRecord): Promise<void> {
  await requireDatapath(ovs?.datapath ?? 'system');
}

/** Over what a reboot, or the end of ovs-vswitchd, has left of it, too: its ports stay in it. */
function planNetwork(record: NetworkRecord, alias: string): Step[] {
  const { link, mac = '', mtuBytes, ovs } = record;
  const mtu = mtuBytes === undefined ? [] : ['--', 'set', 'interface', link, `mtu_request=${mtuBytes}`];
  const step = (id: string, why: string, words: string): Step => ({ id, why, run: ip(words), endsWith: 'link' });
  return [
    {
      id: 'link',
      why: 'a bridge of Open vSwitch, with whose it is; it learns as a switch does while no controller is set',
      run: vsctl(
        ...['--may-exist', 'add-br', link, '--', 'set', 'bridge', link, `datapath_type=${ovs?.datapath ?? 'system'}`],
        ...['fail_mode=standalone', `other_config:hwaddr=${quoted(mac)}`, ownerWord(alias), ...mtu],
      ),
      undo: vsctl('--if-exists', 'del-br', link),
      claims: [{ kind: 'ovs', name: `Bridge ${link} ${alias}` }],
    },
    step('alias', 'whose its interface is', `link set dev ${link} alias ${alias}`),
    ...planGateways(record),
    { ...step('up', 'bridge up', `link set dev ${link} up`), claims: [{ kind: 'link', name: link }] },
  ];
}

function planNic(nic: OvsNic, owner: Owner): Step[] {
  const { name, hostLink, datapath } = nic;
  const { container, instance } = owner;
  const alias = aliasWord(instance, container, name);
  const noIpv6 = hasIpv6Settings(nic) ? ' addrgenmode none' : '';
  const words = `link set dev ${hostLink} alias ${alias}${noIpv6} arp off`;
  const checksums: Step = {
    ...nicStep(nic, container, 'checksums', 'this datapath passes on packets whose checksums nobody fills in', ''),
    run: { kind: 'run', argv: ['ethtool', '-K', name, 'tx', 'off'], netns: container },
  };
  return [
    planVeth(nic, owner),
    // In user space the kernel hears what comes in there, too: it would tell containers its MAC address as the gateway's.
    nicStep(nic, container, 'alias', "whose it is; the host's own stack has nothing to say on it", words),
    planHostEnd(nic, container),
    ...planPort(nic, owner),
    ...(datapath === 'netdev' ? [checksums] : []),
  ];
}

function planPort(nic: OvsNic, { container, instance }: Owner): Step[] {
  const owner = aliasWord(instance, container, nic.name);
  const common = { chain: netChain(container), part: nicPart(nic) };
  return planRow(nic.name, nic.bridge, nic.hostLink, owner).map((step) => ({ ...common, ...step }));
}

/** In two transactions: a row that was there before would stay with an interface that is no more. */
function planRow(prefix: string, bridge: string, link: string, owner: string): Step[] {
  return [
    {
      id: `${prefix} old port`,
      why: 'what an earlier boot left of it',
      run: vsctl('--if-exists', 'del-port', bridge, link),
    },
    {
      id: `${prefix} port`,
      why: 'a port of the bridge, with whose it is',
      run: vsctl('add-port', bridge, link, '--', 'set', 'port', link, ownerWord(owner)),
      undo: vsctl('--if-exists', 'del-port', bridge, link),
      claims: [{ kind: 'ovs', name: `Port ${link} ${owner}` }],
    },
  ];
}

function planTap(record: NetworkRecord, name: string, alias: string): Step[] {
  return [
    planTapLink(record, name),
    planTapSettings(record, name, alias, 'arp off', "whose it is; the host's own stack has nothing to say on it"),
    ...planRow(tapStepId(name), record.link, name, alias),
  ];
}

/** Rows outlast their interfaces, and one that is somebody else's stays. Throws ConflictError, HostError. */
async function requireFreeRow(_: NetworkRecord, name: string, alias: string): Promise<void> {
  await requireVswitchd();
  const ports = [...(await readOvs()).values()].flatMap((bridge) => bridge.ports);
  const row = ports.find((port) => port.name === name);
  if (row === undefined || row.owner === alias) return;
  throw new ConflictError(`cannot make tap ${name}: Open vSwitch has a port of that name`, {
    hint: `ovs-vsctl show; ovs-vsctl del-port ${name}`,
  });
}

/** This datapath passes on packets whose checksums nobody fills in: the machine is to do it. */
function netdevWords({ ovs }: NetworkRecord): string {
  return ovs?.datapath === 'netdev' ? ',vnet_hdr=off' : '';
}

/** Once for each look at the host. */
const seen = new WeakMap<ReadonlyMap<string, HostLink>, Promise<ReadonlyMap<string, OvsBridge>>>();

async function findDamage(nic: OvsNic, _: string, links: ReadonlyMap<string, HostLink>): Promise<NicDamage> {
  const { bridge, hostLink } = nic;
  const reading = seen.get(links) ?? readOvs().catch((): ReadonlyMap<string, OvsBridge> => new Map());
  seen.set(links, reading);
  const isIn = (await reading).get(bridge)?.ports.some(({ name }) => name === hostLink) ?? false;
  // Without ovs-vswitchd its bridge is not there.
  const lost = `${hostLink} in bridge ${bridge}`;
  if (!links.has(bridge)) return { nic: lost };
  if (!isIn) return { loose: lost };
  return damageOfHostEnd(nic, links);
}

async function readOwner({ link }: NetworkRecord): Promise<string | undefined> {
  return (await readOvs()).get(link)?.owner;
}

/** Without its own, and without what an earlier boot left of this minict's. */
async function readPorts({ link }: NetworkRecord, instance: string): Promise<string[]> {
  const isLeft = (name: string, owner: string) =>
    owner.startsWith(`${aliasWord(instance)}:`) && interfaceIndex(name) === 0;
  const ports = (await readOvs()).get(link)?.ports ?? [];
  return ports.filter(({ name, owner }) => name !== link && !isLeft(name, owner)).map(({ name }) => name);
}

export const ovsDriver: NetworkDriver & NicDriver<OvsNic> = {
  flags: [],
  options: { datapath_type: DATAPATHS.join('|') },
  settle,
  validate,
  planNetwork,
  tap: { plan: planTap, validate: requireFreeRow, netdevWords },
  nic: ({ link, ovs }, hostLink) => ({ kind: 'ovs', bridge: link, datapath: ovs?.datapath ?? 'system', hostLink }),
  readOwner,
  readPorts,
  planNic,
  findDamage,
  lasting: (nic, owner) => planPort(nic, owner).filter(({ undo }) => undo !== undefined),
};
