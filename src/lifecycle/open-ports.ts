/** Makes the host ready for what a container publishes, and for networks with NAT. Loads nothing where there is neither. */
import type { Port, PortRequest } from '../spec/port.ts';
import { joined, type Member, type NetworkRecord } from '../state/network.ts';
import type { Context } from './context.ts';

/**
 * Chooses the ports of a container with these networks, and has the host lead there; the caller holds the networks' lock.
 * Throws InvalidInputError, ConflictError, StepError.
 */
export async function openPorts(
  context: Context,
  instance: string,
  member: Member,
  networks: readonly NetworkRecord[],
  publish: readonly PortRequest[],
  lockFd: number,
): Promise<readonly Port[]> {
  const { ports: own = [], name } = member;
  if (publish.length === 0 && own.length === 0 && !networks.some(({ nat }) => nat)) return own;
  const [{ assignPorts }, { ensureGateway }] = await Promise.all([import('./ports.ts'), import('./gateway.ts')]);
  const ports = publish.length === 0 ? own : await assignPorts(context, member, networks, publish);
  const coming = { name, networks: joined({ ...member, ports }, networks) };
  await ensureGateway(context, instance, lockFd, { coming });
  return ports;
}
