/** Whether a machine that minict does not know has an address: by ARP (RFC 5227), or by Neighbour Solicitation. Reads only. */
import { HostError } from '../errors.ts';
import { solicit } from './solicitation.ts';
import { missingTool } from './tool.ts';
import { readToolOutput } from './tool-output.ts';

/** Its MAC address; undefined where nobody answers within a second. Throws HostError. */
export async function findDuplicate(link: string, address: string): Promise<string | undefined> {
  return address.includes(':') ? solicit(link, address) : arping(link, address);
}

async function arping(link: string, address: string): Promise<string | undefined> {
  const output = await readToolOutput(['arping', '-D', '-f', '-c', '1', '-w', '1', '-I', link, address]);
  if (output === undefined) throw missingTool('arping');
  const [, mac] = /\[([0-9A-Fa-f:]{17})\]/.exec(output.stdout) ?? [];
  if (mac !== undefined) return mac.toLowerCase();
  if (output.exitCode === 0) return undefined;
  const verb = `look for ${address} on ${link}`;
  // It says so on stdout.
  if (/ is down$/m.test(output.stdout)) {
    throw new HostError(`cannot ${verb}: it is down`, { hint: `ip link set dev ${link} up` });
  }
  throw new HostError(`cannot ${verb}: ${output.stderr.trim() || `arping ended with ${output.exitCode}`}`);
}
