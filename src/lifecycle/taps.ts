/** Taps of networks, asked for by name: made with an address, removed. */
import { ConflictError, HostError, InvalidInputError, NotFoundError } from '../errors.ts';
import { interfaceIndex } from '../host/syscalls.ts';
import { requireTools } from '../host/tool.ts';
import { readToolOutput } from '../host/tool-output.ts';
import { networkDriver } from '../network/driver.ts';
import { aliasWord } from '../network/parts.ts';
import { tapStepId } from '../network/tap.ts';
import { Journal } from '../runner/journal.ts';
import { undoSteps } from '../runner/undo.ts';
import { contains, formatIp, parseAddress, parseSubnet } from '../spec/address.ts';
import { AddressPool } from '../state/address-pool.ts';
import { lockNetworks } from '../state/locks.ts';
import {
  listNetworks,
  type NetworkRecord,
  plainAddress,
  readNetworks,
  requireHostAddress,
  writeNetwork,
} from '../state/network.ts';
import { networkPaths } from '../state/paths.ts';
import { type Context, spawnContext } from './context.ts';
import { takingBack } from './dead-members.ts';
import { findNetwork } from './network.ts';
import { ensureLink } from './network-link.ts';
import { deriveMac } from './nic-macs.ts';
import { ensureTaps, recognizeTap } from './tap-links.ts';

export interface TapRequest {
  readonly name: string;
  /** Who may open it beside root. */
  readonly user?: string | undefined;
  readonly ips: readonly string[];
}

export type Tap = NonNullable<NetworkRecord['taps']>[string];

function chooseAddresses(context: Context, record: NetworkRecord, { name, ips }: TapRequest): string[] {
  const wanted = ips.map((text) => parseAddress(text).address);
  for (const address of wanted) requireHostAddress(record, address, `address ${formatIp(address)}`);
  const pool = new AddressPool(context.roots, record, '', new Map());
  return record.subnets.map((subnet) => {
    const range = parseSubnet(subnet.subnet);
    const asked = wanted.find((address) => contains(range, address));
    return `${asked === undefined ? pool.next(subnet, name, []) : pool.take(asked, name)}/${range.prefix}`;
  });
}

async function networkOfTap(context: Context, name: string): Promise<NetworkRecord | undefined> {
  const records = await readNetworks(context.roots, listNetworks(context.roots));
  return records.find(({ taps }) => taps?.[name] !== undefined);
}

/** Throws NotFoundError. */
export async function getNetworkOfTap(context: Context, name: string): Promise<NetworkRecord> {
  const record = await networkOfTap(context, name);
  if (record !== undefined) return record;
  throw new NotFoundError(`cannot remove tap ${name}: no network has one of that name`, {
    hint: 'minict network inspect NETWORK',
  });
}

/** By name: a number need not be anybody's yet. Throws NotFoundError. */
async function requireUser(user: string | undefined): Promise<void> {
  if (user === undefined || /^\d+$/.test(user)) return;
  const found = await readToolOutput(['getent', 'passwd', user]);
  if (found === undefined || found.exitCode === 0) return;
  throw new NotFoundError(`cannot use user ${user}: the host has none of that name`, { hint: 'getent passwd' });
}

/** The network's record with it. Writes nothing. Throws ConflictError, InvalidInputError, NotFoundError, HostError. */
export async function planNewTap(
  context: Context,
  instance: string,
  record: NetworkRecord,
  request: TapRequest,
): Promise<NetworkRecord> {
  const { name, user } = request;
  const holder = await networkOfTap(context, name);
  if (holder !== undefined && (holder.name !== record.name || interfaceIndex(name) !== 0)) {
    throw new ConflictError(`cannot make tap ${name}: network ${holder.name} has it`, {
      hint: `minict network tap rm ${name}`,
    });
  }
  // Recorded, and not there: it is put back as it was.
  if (holder !== undefined) return record;
  const driver = networkDriver(record).tap;
  if (driver === undefined) {
    throw new InvalidInputError(`cannot make tap ${name}: a network of driver ${record.driver} takes none`, {
      hint: 'a network with a bridge: driver bridge, ovs or vxlan',
    });
  }
  if (interfaceIndex(name) !== 0) {
    throw new ConflictError(`cannot make tap ${name}: the host has an interface of that name`, {
      hint: `ip link show ${name}`,
    });
  }
  await driver.validate?.(record, name, aliasWord(instance, record.name, name));
  await requireUser(user);
  const addresses = chooseAddresses(context, record, request);
  const [first] = addresses;
  // It is nobody's interface, and its network's own as far as names go.
  const owner = { name: record.name, hostname: name, nics: [] };
  const address = first === undefined ? undefined : plainAddress(first);
  const mac = deriveMac(context.roots, instance, record, owner, name, address);
  const tap: Tap = { addresses, mac, ...(user === undefined ? {} : { user }) };
  return { ...record, taps: { ...record.taps, [name]: tap } };
}

interface Made {
  readonly tap: Tap;
  readonly record: NetworkRecord;
}

/** Makes it, on the host too; all of it or nothing. Throws NotFoundError, ConflictError, InvalidInputError, StepError. */
export function addTap(context: Context, instance: string, network: string, request: TapRequest): Promise<Made> {
  requireTools();
  return takingBack(context, instance, () => makeTap(context, instance, network, request));
}

async function makeTap(context: Context, instance: string, network: string, request: TapRequest): Promise<Made> {
  const lock = lockNetworks(context.roots);
  try {
    const before = await findNetwork(context, instance, network, undefined);
    const record = await planNewTap(context, instance, before, request);
    await ensureLink(context, instance, before, lock.fd);
    // From here on it is there: what a killed minict left undone is done by the network's next use.
    await writeNetwork(context.roots, record);
    try {
      await ensureTaps(context, instance, record, lock.fd);
    } catch (error) {
      await writeNetwork(context.roots, before);
      throw error;
    }
    return { tap: record.taps?.[request.name] as Tap, record };
  } finally {
    lock.release();
  }
}

/** Throws NotFoundError, HostError. */
export async function removeTap(context: Context, instance: string, name: string): Promise<void> {
  requireTools();
  const lock = lockNetworks(context.roots);
  try {
    const record = await getNetworkOfTap(context, name);
    recognizeTap(context, instance, record, name);
    const journal = new Journal(networkPaths(context.roots, record.name).journal);
    const state = journal.read();
    const steps = state?.steps.filter(({ id }) => id === tapStepId(name) || id.startsWith(`${tapStepId(name)} `)) ?? [];
    if (state !== undefined && steps.length > 0) {
      const failures = await undoSteps({ ...state, steps }, spawnContext(context, lock.fd));
      if (failures.length > 0) throw new HostError(`cannot remove tap ${name}: ${failures.join('; ')}`);
      journal.undone(steps.map(({ id }) => id));
    }
    const { [name]: _, ...others } = record.taps ?? {};
    const { taps: __, ...rest } = record;
    await writeNetwork(context.roots, Object.keys(others).length === 0 ? rest : { ...rest, taps: others });
  } finally {
    lock.release();
  }
}
