/** The neighbour table: who answered ARP (or IPv6's neighbour discovery), and with which MAC address. */
import * as z from 'zod/mini';
import { type Inside, readJsonInside } from './run.ts';

const schema = z.array(
  z.object({ dst: z.string(), dev: z.string(), lladdr: z.optional(z.string()), state: z.array(z.string()) }),
);

export interface Neighbour {
  readonly ip: string;
  readonly dev: string;
  readonly mac: string | undefined;
  readonly states: readonly string[];
}

export async function readNeighbours(inside: Inside): Promise<Neighbour[]> {
  const parsed = schema.safeParse(await readJsonInside(inside, ['ip', '-j', 'neigh', 'show']));
  return (parsed.data ?? []).map(({ dst, dev, lladdr, state }) => ({ ip: dst, dev, mac: lladdr, states: state }));
}
