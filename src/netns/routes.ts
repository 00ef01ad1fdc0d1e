/** Routes of all tables, rules, permanent neighbours: what `ip … show` prints, as `ip … add` takes it. */
import type { Kind, Lines, NetnsPlace } from './kind.ts';
import { linesOf, readIn, restoreSet } from './kind.ts';

const FAMILIES = ['-4', '-6'] as const;
const option = (family: string) => (family === '-6' ? '-6 ' : '');

/** How a route is doing just now, or what it is made of beside what follows. */
const STATE =
  / (?:linkdown|dead|offload|offload_failed|rt_offload|rt_offload_failed|rt_trap|trap|pervasive|unresolved|notify|nhid \d+|expires -?\d+sec|error -?\d+)\b/g;

/** The kernel has these by itself, as soon as there is an address or an IPv6 interface; or a router told of them. */
function isDerived(line: string): boolean {
  return (
    /\btable local proto kernel\b/.test(line) ||
    /^(fe80::\/64|(multicast )?ff00::\/8|unreachable default) .*proto kernel\b/.test(line) ||
    /\bproto (ra|redirect)\b/.test(line)
  );
}

function asArguments(line: string): string {
  return line
    .replace(/\\\s*/g, ' ')
    .replace(/segs \d+ \[ (.*?) \]/, (_, segments: string) => `segs ${segments.trim().split(/\s+/).join(',')}`)
    .replace(STATE, '')
    .replace(/\s+/g, ' ')
    .trim();
}

/** A gateway has to be reachable first, by a route without one. */
function connectedFirst(lines: Lines): string[] {
  const isDirect = (line: string) => !/ via /.test(line);
  return [...lines.filter(isDirect), ...lines.filter((line) => !isDirect(line))];
}

async function both(place: NetnsPlace, words: Lines): Promise<[string, string[]][]> {
  return Promise.all(
    FAMILIES.map(
      async (family) => [family, linesOf(await readIn(place, ['ip', family, '-o', ...words]))] as [string, string[]],
    ),
  );
}

const addToDel = (line: string) => line.replace(/^(-6 )?(route|rule) add /, '$1$2 del ');

export const routes: Kind = {
  name: 'routes',
  read: async (place) =>
    (await both(place, ['route', 'show', 'table', 'all'])).flatMap(([family, lines]) =>
      connectedFirst(
        lines
          .filter((line) => !isDerived(line))
          .map((line) => `${option(family)}route add ${asArguments(line)}`)
          .sort(),
      ),
    ),
  restore: (place, then, now) => restoreSet(place, 'a route', then, now, addToDel),
};

export const rules: Kind = {
  name: 'rules',
  read: async (place) =>
    (await both(place, ['rule', 'show'])).flatMap(([family, lines]) =>
      lines.map((line) => {
        const [, preference = '', rest = ''] = /^(\d+):\s*(.*)$/.exec(line) ?? [];
        return `${option(family)}rule add pref ${preference} ${rest.replace(/ \[detached\]/g, '').trim()}`;
      }),
    ),
  restore: (place, then, now) => restoreSet(place, 'a rule', then, now, addToDel),
};

export const neighbours: Kind = {
  name: 'neighbours',
  read: async (place) => {
    const permanent = await readIn(place, ['ip', 'neigh', 'show', 'nud', 'permanent']);
    const proxies = await readIn(place, ['ip', 'neigh', 'show', 'proxy']);
    return [
      ...linesOf(permanent).map(
        (line) => `neigh replace ${line.replace(/ (extern_learn|PERMANENT)\b/g, '')} nud permanent`,
      ),
      ...linesOf(proxies).map((line) => `neigh replace proxy ${line.replace(/ proxy$/, '')}`),
    ].sort();
  },
  restore: (place, then, now) =>
    restoreSet(place, 'a neighbour', then, now, (line) =>
      line.replace(/^neigh replace (proxy )?(\S+ dev \S+).*$/, 'neigh del $1$2'),
    ),
};

export const mptcp: Kind = {
  name: 'mptcp',
  read: async (place) => {
    const [limits, endpoints] = await Promise.all([
      // A kernel without MPTCP has neither.
      readIn(place, ['ip', 'mptcp', 'limits', 'show']).catch(() => ''),
      readIn(place, ['ip', 'mptcp', 'endpoint', 'show']).catch(() => ''),
    ]);
    return [
      ...linesOf(limits).map((line) => `mptcp limits set ${line}`),
      ...linesOf(endpoints)
        .filter((line) => !/ implicit\b/.test(line))
        .map((line) => `mptcp endpoint add ${line}`),
    ];
  },
  restore: (place, then, now) => {
    const isLimit = (line: string) => line.startsWith('mptcp limits');
    const endpoints = (lines: Lines) => lines.filter((line) => !isLimit(line));
    const limits = then.filter((line) => isLimit(line) && !now.includes(line));
    return [
      ...restoreSet(place, 'the limits of MPTCP', limits, [], String),
      ...restoreSet(place, 'an endpoint of MPTCP', endpoints(then), endpoints(now), (line) =>
        line.replace(/^mptcp endpoint add .*\bid (\d+).*$/, 'mptcp endpoint delete id $1'),
      ),
    ];
  },
};
