/** Interfaces of another network namespace, by its name in /run/netns and `ip -j`. Reads only. */
import * as z from 'zod/mini';
import { firstLine, HostError } from '../errors.ts';
import { readToolOutput } from './tool-output.ts';

const link = z.object({
  ifindex: z.number(),
  ifname: z.string(),
  flags: z.array(z.string()),
  mtu: z.number(),
  txqlen: z.optional(z.number()),
  master: z.optional(z.string()),
  address: z.optional(z.string()),
  link_type: z.string(),
});

export type NamespaceLink = z.infer<typeof link>;

/** Throws HostError. */
export async function readNamespaceLinks(netns: string): Promise<NamespaceLink[]> {
  const output = await readToolOutput(['ip', '-n', netns, '-j', 'link', 'show']);
  const parsed = z.array(link).safeParse(output?.exitCode === 0 ? JSON.parse(output.stdout || '[]') : undefined);
  if (parsed.success) return parsed.data;
  const cause = output === undefined ? 'ip: not found in PATH' : firstLine(output.stderr) || 'ip says something else';
  throw new HostError(`cannot read the interfaces of ${netns}: ${cause}`);
}
