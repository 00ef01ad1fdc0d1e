/** net.* sysctls that a namespace has of its own: all values, and those that a new namespace has otherwise. */
import { readToolOutput, type ToolOutput } from '../host/tool-output.ts';
import type { Kind, Lines, NetnsPlace } from './kind.ts';

const DIR = '/proc/sys/net/';
/** What cannot be written is no setting. */
const READ = ['find', DIR, '-type', 'f', '-perm', '-u=w', '-exec', 'grep', '-Hs', '', '{}', '+'];

/** Older names of what is there in another unit, too; what follows the interface; a key, which is random. */
const ALIASES =
  /\/neigh\/[^/]+\/(base_reachable_time|retrans_time|unres_qlen)$|^ipv6\/conf\/[^/]+\/mtu$|\/tcp_fastopen_key$/;

/** By path below /proc/sys/net. */
type Values = ReadonlyMap<string, string>;

function valuesOf(output: ToolOutput | undefined): Values {
  // Files that nobody can read make grep and find fail, and are passed over.
  const lines = output?.stdout.split('\n') ?? [];
  return new Map(
    lines.flatMap((line) => {
      const [, path = '', value = ''] = /^\/proc\/sys\/net\/([^:]+):(.*)$/.exec(line) ?? [];
      return path === '' || ALIASES.test(path) ? [] : [[path, value.replace(/\s+/g, ' ').trim()] as const];
    }),
  );
}

/** sysctl(8)'s form: a dot in an interface's name is a slash there. */
function keyOf(path: string): string {
  return ['net', ...path.split('/')].map((part) => part.replaceAll('.', '/')).join('.');
}

function lineOf([path, value]: readonly [string, string]): string {
  return `${keyOf(path)} = ${value}`;
}

/** `key = value`, of a file of them. */
export function sysctlsOf(lines: Lines): Map<string, string> {
  return new Map(lines.map((line) => line.split(' = ', 2) as [string, string]));
}

/** What an interface has it from. */
function origin(path: string): string {
  return path.replace(/^(ipv[46]\/(?:conf|neigh)\/)(?!all\/|default\/|lo\/)[^/]+\//, '$1default/');
}

async function readAll({ file }: NetnsPlace): Promise<Values> {
  return valuesOf(await readToolOutput(['nsenter', `--net=${file}`, ...READ]));
}

/** Those that a namespace made just now would not have so. */
export async function readChangedSysctls(place: NetnsPlace): Promise<string[]> {
  const [now, fresh] = await Promise.all([
    readAll(place),
    readToolOutput(['unshare', '--net', ...READ]).then(valuesOf),
  ]);
  const isChanged = ([path, value]: readonly [string, string]) => {
    const usual = fresh.get(origin(path));
    return usual !== undefined && usual !== value;
  };
  return [...now].filter(isChanged).map(lineOf).sort();
}

export const sysctls: Kind = {
  name: 'sysctls',
  read: async (place) => [...(await readAll(place))].map(lineOf).sort(),
  restore: ({ netns }, then, now) => {
    const there = sysctlsOf(now);
    const words = [...sysctlsOf(then)].flatMap(([key, value]) => {
      const current = there.get(key);
      return current === undefined || current === value ? [] : [`${key}=${value}`];
    });
    if (words.length === 0) return [];
    const argv = ['sysctl', '--quiet', '--write', ...words];
    return [{ id: 'sysctls', why: 'sysctls as they were', run: { kind: 'run', argv, netns } }];
  },
};
