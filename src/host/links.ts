/** Interfaces of this network namespace by `ip -j`; /sys/class/net may show another namespace's. */
import * as z from 'zod/mini';
import { HostError } from '../errors.ts';

const link = z.object({ ifname: z.string(), master: z.optional(z.string()) });

export interface HostLink {
  /** Bridge that the interface is a port of. */
  readonly master: string | undefined;
}

/** All interfaces by name. */
export function readLinks(): Map<string, HostLink> {
  const child = Bun.spawnSync(['ip', '-j', 'link', 'show'], { env: { ...process.env, LC_ALL: 'C' } });
  const parsed = z
    .array(link)
    .safeParse(child.exitCode === 0 ? JSON.parse(child.stdout.toString() || '[]') : undefined);
  if (!parsed.success) throw new HostError(`cannot read the host's interfaces: ${child.stderr.toString().trim()}`);
  return new Map(parsed.data.map(({ ifname, master }) => [ifname, { master }]));
}
