/** Limits of a container: from words of the command line to container.json, and what makes sense of them on any host. Pure. */
import { InvalidInputError } from '../errors.ts';
import type { ContainerSpec } from './container.ts';
import { cpuNumbers } from './cpu-list.ts';

export type Limits = NonNullable<ContainerSpec['limits']>;
export type IoLimits = NonNullable<Limits['io']>[string];
export type Ulimits = NonNullable<ContainerSpec['ulimits']>;

/** As commander hands them over. */
export interface LimitOptions {
  readonly memory?: string;
  readonly memorySwap?: string;
  readonly cpus?: string;
  readonly cpuShares?: string;
  readonly cpusetCpus?: string;
  readonly pidsLimit?: string;
  readonly ioReadBps: readonly string[];
  readonly ioWriteBps: readonly string[];
  readonly ioReadIops: readonly string[];
  readonly ioWriteIops: readonly string[];
  readonly ulimit: readonly string[];
}

/** A limit's new value; null lifts it. */
type Change<T> = T | null;

/** What a command line says of limits; of others it says nothing. */
export interface LimitChanges {
  readonly limits: { readonly [Key in Exclude<keyof Limits, 'io'>]?: Change<NonNullable<Limits[Key]>> };
  readonly io: Readonly<Record<string, { readonly [Key in keyof IoLimits]?: Change<number> }>>;
  readonly ulimits: Readonly<Record<string, Change<Ulimits[string]>>>;
}

interface Range {
  readonly least: number;
  readonly most: number;
  /** How a value is shown. */
  readonly shown?: (value: number) => string;
}

const MIB = 2 ** 20;

const inUnits = (bytes: number) => (bytes % MIB === 0 ? `${bytes / MIB}m` : `${bytes} bytes`);

/** docker refuses less memory, too. Shares are those of cgroup v1; processes are what the kernel has numbers for (PID_MAX_LIMIT). */
const RANGES: Readonly<Record<'memoryBytes' | 'cpus' | 'cpuShares' | 'pids', Range>> = {
  memoryBytes: { least: 6 * MIB, most: 2 ** 53, shown: inUnits },
  cpus: { least: 0.01, most: 8192 },
  cpuShares: { least: 2, most: 262_144 },
  pids: { least: 1, most: 4_194_304 },
};

const OPTIONS: Readonly<Record<string, string>> = {
  memoryBytes: '-m',
  memorySwapBytes: '--memory-swap',
  cpus: '--cpus',
  cpuShares: '--cpu-shares',
  cpusetCpus: '--cpuset-cpus',
  pids: '--pids-limit',
  readBps: '--io-read-bps',
  writeBps: '--io-write-bps',
  readIops: '--io-read-iops',
  writeIops: '--io-write-iops',
};

/** The kernel counts operations in 32 bits (block/blk-throttle.c). */
const IO_RANGES: Readonly<Record<keyof IoLimits, Range>> = {
  readBps: { least: 1, most: 2 ** 53 },
  writeBps: { least: 1, most: 2 ** 53 },
  readIops: { least: 1, most: 2 ** 32 - 1 },
  writeIops: { least: 1, most: 2 ** 32 - 1 },
};

export const ULIMIT_NAMES = [
  ...['as', 'core', 'cpu', 'data', 'fsize', 'locks', 'memlock', 'msgqueue', 'nice', 'nofile', 'nproc', 'rss'],
  ...['rtprio', 'rttime', 'sigpending', 'stack'],
];

/** What docker and podman take for "none", and cgroup v2 itself. */
const LIFTING = ['0', '-1', 'max'];

function invalid(option: string, text: string, cause: string, hint?: string): InvalidInputError {
  return new InvalidInputError(`cannot use ${option} ${JSON.stringify(text)}: ${cause}`, hint ? { hint } : {});
}

const UNITS = 'bkmgtp';

/** As docker has it: units of 1024, `m`, `mb` and `MiB` alike. */
function parseBytes(option: string, text: string): number {
  const [, number, unit = 'b'] = /^(\d+(?:\.\d+)?)(?:([bkmgtp])(?:i?b)?)?$/i.exec(text) ?? [];
  if (number === undefined) throw invalid(option, text, 'not a size', 'for example 256m, 1g');
  return Math.floor(Number(number) * 1024 ** UNITS.indexOf(unit.toLowerCase()));
}

function parseNumber(option: string, text: string): number {
  if (!/^\d+$/.test(text)) throw invalid(option, text, 'not a whole number');
  return Number(text);
}

function parseCpus(option: string, text: string): number {
  if (!/^\d*\.?\d+$/.test(text)) throw invalid(option, text, 'not a number', 'for example 0.5');
  return Number(text);
}

function change<T>(option: string, text: string, parse: (option: string, text: string) => T): Change<T> {
  return LIFTING.includes(text) ? null : parse(option, text);
}

/** -1 is as much swap as there is. */
function parseSwap(text: string): Change<number> {
  return text === '-1' || text === 'max' ? -1 : change('--memory-swap', text, parseBytes);
}

function parseDevice(option: string, text: string): readonly [device: string, rate: string] {
  const [, device, rate] = /^(\/.+):([^:]*)$/.exec(text) ?? [];
  if (device === undefined || rate === undefined) {
    throw invalid(option, text, 'not a device and its limit', 'for example /dev/sda:10mb');
  }
  return [device, rate];
}

function parseUlimitValue(text: string, word: string): number {
  if (text === 'unlimited' || text === '-1') return -1;
  if (!/^\d{1,15}$/.test(text)) throw invalid('--ulimit', word, `${JSON.stringify(text)} is no number`);
  return Number(text);
}

function parseUlimit(word: string): readonly [name: string, limit: Change<Ulimits[string]>] {
  const [, name = '', soft, hard = soft] = /^([^=]*)=([^:]*)(?::(.*))?$/.exec(word) ?? [];
  if (soft === undefined || hard === undefined) {
    throw invalid('--ulimit', word, 'not a name and its limits', 'for example nofile=1024:4096');
  }
  if (word === `${name}=max`) return [name, null];
  return [name, { soft: parseUlimitValue(soft, word), hard: parseUlimitValue(hard, word) }];
}

/** Throws InvalidInputError. */
export function parseLimits(options: LimitOptions): LimitChanges {
  const { memory, memorySwap, cpus, cpuShares, cpusetCpus, pidsLimit } = options;
  const io: Record<string, Record<string, Change<number>>> = {};
  const addIo = (key: keyof IoLimits, words: readonly string[], parse: typeof parseNumber) => {
    const option = OPTIONS[key] as string;
    for (const word of words) {
      const [device, rate] = parseDevice(option, word);
      io[device] = { ...io[device], [key]: change(option, rate, parse) };
    }
  };
  addIo('readBps', options.ioReadBps, parseBytes);
  addIo('writeBps', options.ioWriteBps, parseBytes);
  addIo('readIops', options.ioReadIops, parseNumber);
  addIo('writeIops', options.ioWriteIops, parseNumber);
  return {
    limits: {
      ...(memory === undefined ? {} : { memoryBytes: change('-m', memory, parseBytes) }),
      ...(memorySwap === undefined ? {} : { memorySwapBytes: parseSwap(memorySwap) }),
      ...(cpus === undefined ? {} : { cpus: change('--cpus', cpus, parseCpus) }),
      ...(cpuShares === undefined ? {} : { cpuShares: change('--cpu-shares', cpuShares, parseNumber) }),
      // CPU 0 is one.
      ...(cpusetCpus === undefined ? {} : { cpusetCpus: ['max', '-1', ''].includes(cpusetCpus) ? null : cpusetCpus }),
      ...(pidsLimit === undefined ? {} : { pids: change('--pids-limit', pidsLimit, parseNumber) }),
    },
    io,
    ulimits: Object.fromEntries(options.ulimit.map(parseUlimit)),
  };
}

function withChanges<T extends object>(before: T, changes: object): T {
  const all = Object.entries({ ...before, ...changes }).filter(([, value]) => value !== null);
  return Object.fromEntries(all) as T;
}

const orAbsent = <Key extends string, T extends object>(key: Key, value: T) =>
  (Object.keys(value).length === 0 ? {} : { [key]: value }) as { [K in Key]?: T };

/** Throws InvalidInputError where they do not go together. */
export function changedLimits(
  before: Pick<ContainerSpec, 'limits' | 'ulimits'>,
  changes: LimitChanges,
): Pick<ContainerSpec, 'limits' | 'ulimits'> {
  const { io: ioBefore = {}, ...plainBefore } = before.limits ?? {};
  // With the memory's limit goes that of swap, which means nothing without.
  const swap = changes.limits.memoryBytes === null ? { memorySwapBytes: null } : {};
  const plain = withChanges(plainBefore, { ...swap, ...changes.limits });
  const devices = [...new Set([...Object.keys(ioBefore), ...Object.keys(changes.io)])];
  const io = Object.fromEntries(
    devices
      .map((device) => [device, withChanges(ioBefore[device] ?? {}, changes.io[device] ?? {})] as const)
      .filter(([, limits]) => Object.keys(limits).length > 0),
  );
  const limits = { ...plain, ...orAbsent('io', io) };
  const ulimits = withChanges(before.ulimits ?? {}, changes.ulimits);
  checkLimits({ limits, ulimits });
  return { ...orAbsent('limits', limits), ...orAbsent('ulimits', ulimits) };
}

/** For a new container, which has none to be lifted. Throws InvalidInputError. */
export function newLimits(options: LimitOptions): Pick<ContainerSpec, 'limits' | 'ulimits'> {
  const changes = parseLimits(options);
  const lifted = [changes.limits, ...Object.values(changes.io), changes.ulimits].flatMap((those) =>
    Object.entries(those).flatMap(([key, value]) => (value === null ? [key] : [])),
  );
  const [key] = lifted;
  if (key === undefined) return changedLimits({}, changes);
  throw new InvalidInputError(`cannot use ${OPTIONS[key] ?? '--ulimit'}: 0, -1 and max are no limit`, {
    hint: 'leave it out',
  });
}

function checkRange(key: string, value: number | undefined, { least, most, shown = String }: Range): void {
  if (value === undefined) return;
  const option = OPTIONS[key] as string;
  if (key !== 'cpus' && !Number.isInteger(value)) throw invalid(option, String(value), 'not a whole number');
  if (value < least) throw invalid(option, shown(value), `less than ${shown(least)}`);
  if (value > most) throw invalid(option, shown(value), `more than ${shown(most)}`);
}

/** Throws InvalidInputError. */
export function checkLimits({ limits = {}, ulimits = {} }: Pick<ContainerSpec, 'limits' | 'ulimits'>): void {
  for (const [key, range] of Object.entries(RANGES)) {
    checkRange(key, limits[key as keyof typeof RANGES], range);
  }
  for (const device of Object.values(limits.io ?? {})) {
    for (const [key, range] of Object.entries(IO_RANGES)) checkRange(key, device[key as keyof IoLimits], range);
  }
  if (limits.cpusetCpus !== undefined) cpuNumbers(limits.cpusetCpus);
  checkSwap(limits);
  for (const [name, { soft, hard }] of Object.entries(ulimits)) {
    if (!ULIMIT_NAMES.includes(name)) {
      throw invalid('--ulimit', name, 'no limit of that name', ULIMIT_NAMES.join(', '));
    }
    if (hard !== -1 && (soft === -1 || soft > hard))
      throw invalid('--ulimit', name, 'the soft limit is above the hard one');
  }
}

function checkSwap({ memoryBytes, memorySwapBytes }: Limits): void {
  if (memorySwapBytes === undefined) return;
  const hint = 'it is memory and swap together, as docker has it';
  if (memoryBytes === undefined) throw new InvalidInputError('cannot use --memory-swap without -m', { hint });
  if (memorySwapBytes !== -1 && memorySwapBytes < memoryBytes) {
    throw invalid('--memory-swap', inUnits(memorySwapBytes), `less than -m ${inUnits(memoryBytes)}`, hint);
  }
}
