/** Interfaces of the host, or in a namespace of /run/netns, by `ip -j`; /sys/class/net may show another namespace's. Reads only. */
import * as z from 'zod/mini';
import { firstLine, HostError } from '../errors.ts';
import { readToolOutput, type ToolOutput } from './tool-output.ts';

const link = z.object({
  ifindex: z.number(),
  ifname: z.string(),
  flags: z.array(z.string()),
  mtu: z.number(),
  txqlen: z.optional(z.number()),
  master: z.optional(z.string()),
  address: z.optional(z.string()),
  link_type: z.string(),
  ifalias: z.optional(z.string()),
});

export type NamespaceLink = z.infer<typeof link>;

function show(netns: string | undefined): Promise<ToolOutput | undefined> {
  return readToolOutput(['ip', ...(netns === undefined ? [] : ['-n', netns]), '-j', 'link', 'show']);
}

/** `whose` as in `cannot read … of web1`. Throws HostError. */
function parse(output: ToolOutput | undefined, whose: string): NamespaceLink[] {
  if (output === undefined) {
    throw new HostError(`cannot read ${whose}: ip: not found in PATH`, { hint: 'apt-get install iproute2' });
  }
  const parsed = z.array(link).safeParse(output.exitCode === 0 ? JSON.parse(output.stdout || '[]') : undefined);
  if (parsed.success) return parsed.data;
  throw new HostError(`cannot read ${whose}: ${firstLine(output.stderr) || 'ip says something else'}`);
}

/** All of a namespace, in the kernel's order. Throws HostError. */
export async function readNamespaceLinks(netns: string): Promise<NamespaceLink[]> {
  return parse(await show(netns), `the interfaces of ${netns}`);
}

export interface HostLink {
  readonly index: number;
  /** Bridge that the interface is a port of. */
  readonly master: string | undefined;
  /** Whose it is. */
  readonly alias: string | undefined;
  readonly isUp: boolean;
}

/** All interfaces by name, of the host or inside a container, which has none where its namespace is gone. */
export async function readLinks(netns?: string): Promise<Map<string, HostLink>> {
  const output = await show(netns);
  if (netns !== undefined && output !== undefined && output.exitCode !== 0) return new Map();
  const links = parse(output, "the host's interfaces");
  return new Map(
    links.map(({ ifindex, ifname, flags, master, ifalias }) => [
      ifname,
      { index: ifindex, master, alias: ifalias, isUp: flags.includes('UP') },
    ]),
  );
}

export interface Look {
  readonly links: ReadonlyMap<string, HostLink>;
  /** When it began, in milliseconds since 1970. */
  readonly atMs: number;
}

/**
 * All interfaces, and again where something seems to be missing: a look may fall into the middle of a change. The first one and
 * the second are had once, for many containers.
 */
export interface Looks {
  readonly first: () => Promise<Look>;
  readonly second: () => Promise<Look>;
  readonly next: () => Promise<Look>;
}

export function lookAtLinks(): Looks {
  const next = async (): Promise<Look> => ({ atMs: Date.now(), links: await readLinks() });
  const once = () => {
    let look: Promise<Look> | undefined;
    return () => {
      look ??= next();
      return look;
    };
  };
  return { first: once(), second: once(), next };
}
