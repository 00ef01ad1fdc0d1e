/** The published ports of a container from elsewhere: as they were, or as they can be here. */
import { ConflictError, InvalidInputError } from '../errors.ts';
import { networksOf } from '../spec/container.ts';
import { formatPort, hostEnd, type Port, type PortRequest, requestOf } from '../spec/port.ts';
import type { SavedContainer } from '../spec/saved-container.ts';
import { lockNetworks } from '../state/locks.ts';
import { type Member, readNetworks } from '../state/network.ts';
import type { Context } from './context.ts';
import { writeMember } from './nics.ts';
import { assignPorts } from './ports.ts';

type SavedPort = NonNullable<SavedContainer['ports']>[number];

/** What can be had, the best first. */
function wishes(saved: SavedPort): PortRequest[] {
  const same = requestOf(saved);
  const here = { ...same, ip: '127.0.0.1' };
  return [same, { ...same, choice: undefined }, here, { ...here, choice: undefined }];
}

/** Reserves them for a container whose interfaces are; what became of them in notes. */
export async function leasePorts(
  context: Context,
  member: Member,
  saved: readonly SavedPort[],
): Promise<{ ports: Port[]; notes: string[] }> {
  const lock = lockNetworks(context.roots);
  const ports: Port[] = [];
  const notes: string[] = [];
  try {
    const networks = await readNetworks(context.roots, networksOf(member.nics));
    for (const each of saved) {
      const causes: string[] = [];
      const lease = async (): Promise<Port | undefined> => {
        for (const wish of wishes(each)) {
          try {
            return (await assignPorts(context, { ...member, ports }, networks, [wish]))[0];
          } catch (error) {
            if (!(error instanceof InvalidInputError || error instanceof ConflictError)) throw error;
            causes.push(error.message);
          }
        }
        return undefined;
      };
      const port = await lease();
      if (port !== undefined) ports.push(port);
      if (port === undefined) notes.push(`${member.name} publishes no ${each.to}/${each.protocol}: ${causes[0]}`);
      else if (hostEnd(port) !== hostEnd(each)) notes.push(`${member.name} has ${formatPort(port)}: ${causes[0]}`);
    }
    if (ports.length > 0) await writeMember(context, { ...member, ports }, networks);
    return { ports, notes };
  } finally {
    lock.release();
  }
}
