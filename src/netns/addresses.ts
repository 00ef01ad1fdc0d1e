/** Addresses: `address add 192.0.2.1/24 … dev eth0`. What IPv6 makes up by itself is not among them. */
import * as z from 'zod/mini';
import { HostError } from '../errors.ts';
import type { Step } from '../step.ts';
import type { Kind, Lines, NetnsPlace } from './kind.ts';
import { readIn, restoreSet, toolStep } from './kind.ts';

const FOREVER = 0xffffffff;
const FLAGS = ['noprefixroute', 'nodad', 'home', 'mngtmpaddr', 'autojoin'] as const;
const flag = z.optional(z.boolean());

const address = z.object({
  family: z.string(),
  local: z.string(),
  address: z.optional(z.string()),
  prefixlen: z.number(),
  broadcast: z.optional(z.string()),
  scope: z.string(),
  label: z.optional(z.string()),
  metric: z.optional(z.number()),
  preferred_life_time: z.number(),
  valid_life_time: z.number(),
  dynamic: flag,
  temporary: flag,
  'stable-privacy': flag,
  ...{ noprefixroute: flag, nodad: flag, home: flag, mngtmpaddr: flag, autojoin: flag },
});
type Address = z.infer<typeof address>;

const device = z.object({ ifname: z.optional(z.string()), addr_info: z.optional(z.array(address)) });

/** Link-local ones made of a MAC address (EUI-64) or of a secret, and those of router advertisements. */
function isAutomatic(a: Address): boolean {
  if (a.family !== 'inet6') return false;
  const isEui64 = /^fe80::(?:[0-9a-f]{1,4}:)[0-9a-f]{0,2}ff:fe[0-9a-f]{2}:[0-9a-f]{1,4}$/.test(a.local);
  return (
    (a.scope === 'link' && (isEui64 || a['stable-privacy'] === true)) || a.dynamic === true || a.temporary === true
  );
}

function place(a: Address): string {
  return a.address === undefined ? `${a.local}/${a.prefixlen}` : `${a.local} peer ${a.address}/${a.prefixlen}`;
}

function line(dev: string, a: Address): string {
  const isDeprecated = a.preferred_life_time === 0 && a.valid_life_time === FOREVER;
  return [
    `address add ${place(a)} dev ${dev}`,
    ...(a.broadcast === undefined ? [] : [`broadcast ${a.broadcast}`]),
    `scope ${a.scope}`,
    ...(a.label === undefined || a.label === dev ? [] : [`label ${a.label}`]),
    ...(a.metric === undefined ? [] : [`metric ${a.metric}`]),
    ...FLAGS.filter((name) => a[name] === true),
    ...(isDeprecated ? ['preferred_lft 0'] : []),
  ].join(' ');
}

function removal(text: string): string {
  return text.replace(/^address add (.* dev \S+).*$/, 'address del $1');
}

function deviceOf(text: string): string {
  return / dev (\S+)/.exec(text)?.[1] ?? '';
}

const isIpv4 = (text: string) => /^address add [\d.]+[ /]/.test(text);

/** Of IPv4 the first in a subnet is the primary one, which takes the others along: what comes after a change is made anew. */
function restoreIpv4(netns: NetnsPlace, then: Lines, now: Lines): Step[] {
  const devices = new Set([...then, ...now].map(deviceOf));
  return [...devices].flatMap((dev) => {
    const of = (lines: Lines) => lines.filter((text) => deviceOf(text) === dev);
    const [wanted, there] = [of(then), of(now)];
    let same = 0;
    while (same < wanted.length && wanted[same] === there[same]) same += 1;
    return [
      ...there
        .slice(same)
        .toReversed()
        .map((text) => toolStep(netns, 'ip', 'an address that was not there, or in another order', removal(text))),
      ...wanted.slice(same).map((text) => toolStep(netns, 'ip', 'an address', text)),
    ];
  });
}

export const addresses: Kind = {
  name: 'addresses',
  read: async (netns) => {
    const parsed = z.array(device).safeParse(JSON.parse((await readIn(netns, ['ip', '-j', 'address'])) || '[]'));
    if (!parsed.success) throw new HostError(`cannot read the addresses of ${netns.netns}: ip says something else`);
    const byName = parsed.data.toSorted((a, b) => ((a.ifname ?? '') < (b.ifname ?? '') ? -1 : 1));
    const lines = byName.flatMap(({ ifname = '', addr_info = [] }) =>
      addr_info.filter((a) => !isAutomatic(a)).map((a) => line(ifname, a)),
    );
    return [...lines.filter(isIpv4), ...lines.filter((text) => !isIpv4(text)).sort()];
  },
  restore: (netns, then, now) => [
    ...restoreIpv4(netns, then.filter(isIpv4), now.filter(isIpv4)),
    ...restoreSet(
      netns,
      'an address',
      then.filter((text) => !isIpv4(text)),
      now.filter((text) => !isIpv4(text)),
      removal,
    ),
  ],
};
