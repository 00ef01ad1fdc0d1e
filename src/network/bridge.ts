/** The bridge driver: a Linux bridge on the host, minict's or another's, and for each NIC a veth pair into it. */
import { InvalidInputError } from '../errors.ts';
import type { HostLink } from '../host/links.ts';
import type { NicSpec } from '../spec/container.ts';
import type { NetworkRecord } from '../state/network.ts';
import type { Step } from '../step.ts';
import type { DriverRequest, NetworkDriver, NicDamage, NicDriver, Owner, OwnNames, Settled } from './driver.ts';
import { ip } from './ip.ts';
import { aliasWord, hasIpv6Settings, mtuWords, nicStep, planGateways, refuseBeyond } from './parts.ts';
import { portTap } from './tap.ts';
import { damageOfHostEnd, hostEnd, planHostEnd, planVeth } from './veth.ts';

type VethNic = Extract<NicSpec, { kind: 'veth' }>;

async function settle({ bridge, uplink, mtuBytes }: DriverRequest, { link, mac }: OwnNames): Promise<Settled> {
  if (bridge !== undefined && (uplink !== undefined || mtuBytes !== undefined)) {
    throw new InvalidInputError(`cannot use ${uplink === undefined ? '--mtu' : '--uplink'} and --bridge together`, {
      hint: `a bridge of the host's stays as it is`,
    });
  }
  const interfaces = await import('../host/interfaces.ts');
  if (bridge !== undefined) {
    const found = await interfaces.requireBridge(bridge);
    const plain = found.addresses.map((address) => address.split('/')[0] as string);
    // The kernel gives a bridge the least MTU of its ports, so their ends on the host have the one that it has.
    return { settings: { link: bridge, foreign: true, mtuBytes: found.mtuBytes }, gateways: plain, isOpen: true };
  }
  const spare = uplink === undefined ? undefined : await interfaces.requireSpareLink(uplink);
  if (spare === undefined) {
    return { settings: { link, mac, ...(mtuBytes === undefined ? {} : { mtuBytes }) }, gateways: 'first' };
  }
  refuseBeyond(spare, mtuBytes);
  const port = { uplink: { link: spare.name, wasUp: spare.isUp }, mtuBytes: mtuBytes ?? spare.mtuBytes };
  return { settings: { link, mac, ...port }, gateways: 'first', isOpen: true };
}

async function validate({ link, foreign, uplink }: NetworkRecord): Promise<void> {
  if (!foreign && uplink === undefined) return;
  // Loaded where it is wanted, with its schema library.
  const { requireBridge, requireSpareLink } = await import('../host/interfaces.ts');
  if (foreign) await requireBridge(link);
  if (uplink !== undefined) await requireSpareLink(uplink.link, link);
}

function planNetwork(record: NetworkRecord, alias: string): Step[] {
  const { link, foreign, uplink } = record;
  if (foreign) return [];
  return [
    ...planBridge(record, alias),
    ...(uplink === undefined ? [] : [...planUplink(uplink, link), ...planMtu(record)]),
    planUp(link),
  ];
}

/** A bridge of minict's, down. */
export function planBridge(record: NetworkRecord, alias: string): Step[] {
  const { link, mac, mtuBytes } = record;
  return [
    {
      id: 'link',
      why: 'the Linux bridge that joins the containers; its MAC is fixed, or it would follow the lowest port',
      run: { ...ip(`link add name ${link} address ${mac}${mtuWords({ mtuBytes })} type bridge`), exclusive: true },
      undo: ip(`link del dev ${link}`),
      claims: [{ kind: 'link', name: link }],
    },
    { id: 'alias', why: 'whose it is', run: ip(`link set dev ${link} alias ${alias}`), endsWith: 'link' },
    ...planGateways(record),
  ];
}

export function planUp(link: string): Step {
  return { id: 'up', why: 'bridge up', run: ip(`link set dev ${link} up`), endsWith: 'link' };
}

/** Given back as it was; its own settings stay as they are. */
function planUplink({ link, wasUp }: NonNullable<NetworkRecord['uplink']>, bridge: string): Step[] {
  const claims = [{ kind: 'link', name: link }] as const;
  return [
    {
      id: 'uplink',
      why: "the host's interface becomes a port: the network goes on where its cable leads",
      run: ip(`link set dev ${link} master ${bridge}`),
      undo: ip(`link set dev ${link} nomaster`),
      claims,
    },
    {
      id: 'uplink up',
      why: wasUp ? 'it is up' : 'it was down',
      run: ip(`link set dev ${link} up`),
      ...(wasUp ? {} : { undo: ip(`link set dev ${link} down`) }),
      claims,
    },
  ];
}

/** Once it is set by itself it stays; until then it is the least of the ports'. */
function planMtu({ link, mtuBytes }: NetworkRecord): Step[] {
  if (mtuBytes === undefined) return [];
  const run = ip(`link set dev ${link}${mtuWords({ mtuBytes })}`);
  return [{ id: 'mtu', why: "its MTU is the network's, whatever its ports have", run, endsWith: 'link' }];
}

function planNic(nic: VethNic, owner: Owner): Step[] {
  const { container, instance } = owner;
  const noIpv6 = hasIpv6Settings(hostEnd(nic)) ? ' addrgenmode none' : '';
  const alias = aliasWord(instance, container, nic.name);
  return [
    planVeth(nic, owner),
    nicStep(
      nic,
      container,
      'port',
      'a port of the bridge; whose it is; it needs no IPv6 address',
      `link set dev ${nic.hostLink} master ${nic.bridge} alias ${alias}${noIpv6}`,
    ),
    planHostEnd(nic, container),
  ];
}

async function findDamage(nic: VethNic, _: string, links: ReadonlyMap<string, HostLink>): Promise<NicDamage> {
  const { hostLink, bridge, tunnel } = nic;
  const isIn = (link: string) => links.get(link)?.master === bridge;
  if (!isIn(hostLink)) return { loose: `${hostLink} in bridge ${bridge}` };
  if (tunnel !== undefined && !isIn(tunnel)) return { nic: `${tunnel} in bridge ${bridge}` };
  return damageOfHostEnd(nic, links);
}

export const bridgeDriver: NetworkDriver & NicDriver<VethNic> = {
  flags: ['bridge', 'uplink'],
  options: {},
  settle,
  validate,
  planNetwork,
  tap: portTap,
  nic: ({ link, foreign, mtuBytes }, hostLink) => ({
    kind: 'veth',
    bridge: link,
    hostLink,
    ...(foreign && mtuBytes !== undefined ? { hostMtuBytes: mtuBytes } : {}),
  }),
  planNic,
  findDamage,
};
