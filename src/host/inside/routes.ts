/** Routes: what the kernel's own look-up says of a packet that is sent, or comes in (`ip route get`), and those that there are. */
import * as z from 'zod/mini';
import type { Family } from '../../spec/address.ts';
import { type Inside, readInside, readJsonInside } from './run.ts';

const answer = z.array(
  z.object({
    type: z.optional(z.string()),
    dev: z.optional(z.string()),
    protocol: z.optional(z.string()),
    cache: z.optional(z.array(z.string())),
    gateway: z.optional(z.string()),
    via: z.optional(z.object({ host: z.string() })),
    prefsrc: z.optional(z.string()),
    metrics: z.optional(z.array(z.object({ mtu: z.optional(z.number()) }))),
  }),
);

export type RouteAnswer =
  | {
      readonly kind: 'route';
      readonly dev: string;
      /** Undefined where the destination is on the link. */
      readonly via: string | undefined;
      readonly source: string | undefined;
      /** It is for this namespace itself. */
      readonly isLocal: boolean;
      /** Of the route, or learnt from ICMP. */
      readonly mtuBytes: number | undefined;
      /** By an ICMP redirect the kernel sends it to this address for some minutes, whatever the routes say, which is here. */
      readonly redirectedTo: string | undefined;
    }
  | { readonly kind: 'none'; readonly error: string };

export interface Lookup {
  readonly family: Family;
  readonly to: string;
  readonly from?: string | undefined;
  /** The interface that the packet comes in by. */
  readonly incoming?: string | undefined;
}

export async function readRoute(inside: Inside, { family, to, from, incoming }: Lookup): Promise<RouteAnswer> {
  const source = from === undefined ? [] : ['from', from];
  const iif = incoming === undefined ? [] : ['iif', incoming];
  const get = async (...words: readonly string[]) => {
    const output = await readInside(inside, [
      'ip',
      '-j',
      `-${family}`,
      'route',
      'get',
      ...words,
      to,
      ...source,
      ...iif,
    ]);
    const [route] = answer.safeParse(output?.exitCode === 0 ? JSON.parse(output.stdout || '[]') : []).data ?? [];
    return { output, route };
  };
  const { output, route } = await get();
  if (route?.dev === undefined || ['unreachable', 'blackhole', 'prohibit'].includes(route.type ?? '')) {
    const error = output?.stderr.replace(/^RTNETLINK answers: /, '').trim();
    return { kind: 'none', error: error || route?.type || 'no answer' };
  }
  const isRedirected = route.cache?.includes('redirected') || route.protocol === 'redirect';
  const own = isRedirected ? ((await get('fibmatch')).route ?? route) : route;
  return {
    kind: 'route',
    dev: own.dev ?? route.dev,
    via: own.gateway ?? own.via?.host,
    source: route.prefsrc,
    isLocal: route.type === 'local',
    mtuBytes: route.metrics?.find(({ mtu }) => mtu !== undefined)?.mtu,
    redirectedTo: isRedirected ? route.gateway : undefined,
  };
}

/** Routes that refuse: `blackhole`, `unreachable`, `prohibit`, as their words for `ip route del`. */
export async function readRefusingRoutes(inside: Inside, family: Family, to: string): Promise<string[]> {
  const found = await readJsonInside(inside, ['ip', '-j', `-${family}`, 'route', 'show', 'match', to]);
  const routes = z.array(z.object({ type: z.optional(z.string()), dst: z.string() })).safeParse(found).data ?? [];
  return routes.flatMap(({ type, dst }) =>
    ['unreachable', 'blackhole', 'prohibit'].includes(type ?? '') ? `${type} ${dst}` : [],
  );
}
