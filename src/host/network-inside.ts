/** Addresses and routes in a network namespace of /run/netns, by `ip -j`. Reads only. */
import * as z from 'zod/mini';
import { firstLine, HostError } from '../errors.ts';
import { type Family, formatIp, parseIp } from '../spec/address.ts';
import { missingTool } from './tool.ts';
import { readToolOutput } from './tool-output.ts';

const links = z.array(
  z.object({
    ifname: z.string(),
    flags: z.array(z.string()),
    addr_info: z.array(z.object({ local: z.optional(z.string()), prefixlen: z.number() })),
  }),
);
const routes = z.array(z.object({ dst: z.string() }));

export interface NetworkInside {
  readonly interfaces: ReadonlyMap<string, { readonly isUp: boolean; readonly addresses: ReadonlySet<string> }>;
  /** Of the main table's routes, all with their lengths. */
  readonly destinations: ReadonlySet<string>;
}

export const EVERYWHERE = { 4: '0.0.0.0/0', 6: '::/0' } as const;

async function read<T>(netns: string, words: readonly string[], schema: z.ZodMiniType<T>): Promise<T> {
  const output = await readToolOutput(['ip', '-n', netns, '-j', ...words]);
  if (output === undefined) throw missingTool('ip');
  const parsed = schema.safeParse(output.exitCode === 0 ? JSON.parse(output.stdout || '[]') : undefined);
  if (parsed.success) return parsed.data;
  const cause = firstLine(output.stderr) || 'ip says something else';
  throw new HostError(`cannot read the addresses and routes of ${netns}: ${cause}`);
}

async function readDestinations(netns: string, family: Family): Promise<string[]> {
  const all = await read(netns, [`-${family}`, 'route', 'show', 'table', 'main'], routes);
  return all.map(({ dst }) => {
    if (dst === 'default') return EVERYWHERE[family];
    return dst.includes('/') ? dst : `${dst}/${family === 4 ? 32 : 128}`;
  });
}

/** Routes of these families. Throws HostError. */
export async function readNetworkInside(netns: string, families: readonly Family[]): Promise<NetworkInside> {
  const [all, ...destinations] = await Promise.all([
    read(netns, ['addr', 'show'], links),
    ...families.map((family) => readDestinations(netns, family)),
  ]);
  const interfaces = all.map(({ ifname, flags, addr_info }) => {
    const addresses = addr_info.flatMap(({ local, prefixlen }) =>
      local === undefined ? [] : `${formatIp(parseIp(local))}/${prefixlen}`,
    );
    return [ifname, { isUp: flags.includes('UP'), addresses: new Set(addresses) }] as const;
  });
  return { interfaces: new Map(interfaces), destinations: new Set(destinations.flat()) };
}
