/** Interfaces of this network namespace by `ip -j`; /sys/class/net may show another namespace's. */
import * as z from 'zod/mini';
import { HostError } from '../errors.ts';
import { readToolOutput } from './tool-output.ts';

const link = z.object({
  ifname: z.string(),
  flags: z.array(z.string()),
  master: z.optional(z.string()),
  ifalias: z.optional(z.string()),
});

export interface HostLink {
  /** Bridge that the interface is a port of. */
  readonly master: string | undefined;
  /** Whose it is. */
  readonly alias: string | undefined;
  readonly isUp: boolean;
}

/** All interfaces by name, of the host or inside a container, which has none where its namespace is gone. */
export async function readLinks(netns?: string): Promise<Map<string, HostLink>> {
  const output = await readToolOutput(['ip', ...(netns === undefined ? [] : ['-n', netns]), '-j', 'link', 'show']);
  if (netns !== undefined && output !== undefined && output.exitCode !== 0) return new Map();
  const parsed = z.array(link).safeParse(output?.exitCode === 0 ? JSON.parse(output.stdout || '[]') : undefined);
  if (!parsed.success) {
    throw new HostError(`cannot read the host's interfaces: ${output?.stderr.trim() ?? 'ip: not found in PATH'}`, {
      hint: 'apt-get install iproute2',
    });
  }
  return new Map(
    parsed.data.map(({ ifname, flags, master, ifalias }) => [
      ifname,
      { master, alias: ifalias, isUp: flags.includes('UP') },
    ]),
  );
}

/** All interfaces, and once more where something seems to be missing: a look may fall into the middle of a change. */
export interface TwoLooks {
  readonly first: () => Promise<ReadonlyMap<string, HostLink>>;
  readonly second: () => Promise<ReadonlyMap<string, HostLink>>;
}

export function lookAtLinks(): TwoLooks {
  const once = () => {
    let links: Promise<ReadonlyMap<string, HostLink>> | undefined;
    return () => {
      links ??= readLinks();
      return links;
    };
  };
  return { first: once(), second: once() };
}
