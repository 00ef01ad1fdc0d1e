/** Interfaces that are in no network: the end of a cable to another container, a network card of the host's. */
import { ConflictError, InvalidInputError, NotFoundError } from '../errors.ts';
import { contains, formatIp, parseInterfaceAddress, parseIp, requireIpv6Mtu, subnetOf } from '../spec/address.ts';
import type { NicSpec } from '../spec/container.ts';
import { cableName, derivedMac } from '../spec/name.ts';
import type { CableRequest, CardRequest } from '../spec/nic.ts';
import { type Member, plainAddress } from '../state/network.ts';
import { findContainer, listContainers } from '../state/store.ts';
import type { Context } from './context.ts';
import { refuseParent } from './network.ts';
import { macTaken } from './nic-macs.ts';

function cablesTo(peer: string, nics: readonly NicSpec[]): string[] {
  return nics.flatMap((nic) => (nic.kind === 'p2p' && nic.peer === peer ? [nic.cable] : []));
}

/** The first of the other container's cables to this one that has no end here yet; a new one where there is none. */
async function chooseCable(
  context: Context,
  instance: string,
  { name, nics }: Member,
  { peer, isNew }: CableRequest,
): Promise<string> {
  const here = cablesTo(peer, nics);
  const there = cablesTo(name, (await findContainer(context.roots, peer))?.nics ?? []);
  const waiting = there.find((cable) => !here.includes(cable));
  if (waiting !== undefined && !isNew) return waiting;
  // Both choose the same where neither sees the other yet.
  for (let number = 0; ; number += 1) {
    const cable = cableName(instance, [name, peer], number);
    if (!here.includes(cable) && !there.includes(cable)) return cable;
  }
}

function chooseAddresses({ ips }: CableRequest | CardRequest, { name, nics }: Member): string[] {
  return ips.map((text) => {
    const { address, prefix } = parseInterfaceAddress(text);
    const plain = formatIp(address);
    const holder = nics.find(({ addresses }) => addresses.some((other) => plainAddress(other) === plain));
    if (holder === undefined) return `${plain}/${prefix}`;
    throw new ConflictError(`cannot use address ${plain}: taken by ${name}'s ${holder.name}`, {
      hint: 'take another one',
    });
  });
}

function chooseGateways({ gateways }: CableRequest | CardRequest, addresses: readonly string[]): string[] {
  const subnets = addresses.map(parseInterfaceAddress).map(({ address, prefix }) => subnetOf(address, prefix));
  return gateways.map((text) => {
    const gateway = parseIp(text);
    const plain = formatIp(gateway);
    const isOwn = addresses.some((address) => plainAddress(address) === plain);
    if (!isOwn && subnets.some((subnet) => contains(subnet, gateway))) return plain;
    const cause = isOwn ? "the container's own address" : 'no address of the interface reaches it';
    throw new InvalidInputError(`cannot use gateway ${plain}: ${cause}`, {
      hint: 'an address in its subnet beside it: ip=ADDRESS/LENGTH',
    });
  });
}

/** Who has it: also while that one is not up. */
async function cardHolder({ roots }: Context, device: string): Promise<string | undefined> {
  for (const name of listContainers(roots)) {
    const spec = await findContainer(roots, name);
    if (spec?.nics.some((nic) => nic.kind === 'phys' && nic.device === device)) return name;
  }
  return undefined;
}

async function takeCard(context: Context, { name, nics }: Member, device: string) {
  const isTwice = nics.some((nic) => nic.kind === 'phys' && nic.device === device);
  const holder = isTwice ? name : await cardHolder(context, device);
  if (holder !== undefined) {
    throw new ConflictError(`cannot use interface ${device}: container ${holder} has it`, {
      hint: `minict rm ${holder} gives it back`,
    });
  }
  const { readChildren, requireSpareLink } = await import('../host/interfaces.ts');
  const card = await requireSpareLink(device);
  const [child] = await readChildren(device);
  if (child !== undefined) {
    throw new ConflictError(`cannot use interface ${device}: the host's ${child.name} is on it`, {
      hint: `ip link del dev ${child.name}`,
    });
  }
  await refuseParent(context, device);
  if (card.kind === 'bridge' || card.alias?.startsWith('minict:')) {
    const what = card.kind === 'bridge' ? 'a bridge' : "minict's own";
    throw new ConflictError(`cannot use interface ${device}: it is ${what}`, { hint: 'ip link' });
  }
  return card;
}

/** What a request comes to; `member` has all its other interfaces. Throws InvalidInputError, ConflictError, NotFoundError. */
export async function assignLink(
  context: Context,
  instance: string,
  member: Member,
  request: CableRequest | CardRequest,
  name: string,
): Promise<NicSpec> {
  const addresses = chooseAddresses(request, member);
  const { mac, mtuBytes } = request;
  requireIpv6Mtu(mtuBytes, addresses);
  const common = {
    name,
    addresses,
    gateways: chooseGateways(request, addresses),
    ...(mtuBytes === undefined ? {} : { mtuBytes }),
  };
  if (request.kind === 'phys') {
    const card = await takeCard(context, member, request.device);
    const { readInterfaceSysctls } = await import('../host/interface-sysctls.ts');
    const sysctls = readInterfaceSysctls(request.device);
    const was = { isUp: card.isUp, mac: card.mac, mtuBytes: card.mtuBytes, sysctls };
    return { kind: 'phys', device: request.device, was, ...common, mac: mac ?? card.mac };
  }
  const { peer } = request;
  if (peer === member.name) {
    throw new InvalidInputError(`cannot make a cable from ${peer} to itself`, { hint: 'p2p:OTHER' });
  }
  const cable = request.cable ?? (await chooseCable(context, instance, member, request));
  const there = (await findContainer(context.roots, peer))?.nics ?? [];
  const end = there.find((nic) => nic.kind === 'p2p' && nic.cable === cable);
  if (mac !== undefined && end?.mac === mac) throw macTaken(mac, `${peer}'s ${end.name}, the other end`);
  const own = mac ?? derivedMac(instance, member.name, name);
  return { kind: 'p2p', peer, cable, ...common, mac: own, noStrangers: true };
}

/** The other end of a cable, where its container has one. */
export async function otherEnd(
  { roots }: Context,
  name: string,
  nic: NicSpec & { kind: 'p2p' },
): Promise<{ name: string; nic: NicSpec } | undefined> {
  const peer = await findContainer(roots, nic.peer);
  const found = peer?.nics.find((other) => other.kind === 'p2p' && other.peer === name && other.cable === nic.cable);
  return found && { name: nic.peer, nic: found };
}

/** Throws NotFoundError. */
export function nicNamed(
  { name, nics }: { name: string; nics: readonly NicSpec[] },
  nic: string,
  verb: string,
): NicSpec {
  const found = nics.find((each) => each.name === nic);
  if (found !== undefined) return found;
  throw new NotFoundError(`cannot ${verb} ${name}:${nic}: ${name} has no interface ${nic}`, {
    hint: `minict inspect ${name}`,
  });
}
