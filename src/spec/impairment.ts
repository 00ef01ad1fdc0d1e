/** What a link is made worse by, in tc(8)'s words: `20ms`, `1%`, `10mbit`, `tso=off`. Words → numbers and back. Pure. */
import { InvalidInputError } from '../errors.ts';

/** Absent: not impaired in this. */
export interface Impairment {
  readonly delayUs?: number;
  readonly jitterUs?: number;
  readonly lossPercent?: number;
  readonly rateBits?: number;
}

const TIME_UNITS: Readonly<Record<string, number>> = { us: 1, usec: 1, ms: 1000, msec: 1000, s: 1e6, sec: 1e6 };
const MAX_DELAY_US = 60e6;

const RATE_UNITS: Readonly<Record<string, number>> = {
  ...{ bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9, tbit: 1e12 },
  ...{ kibit: 2 ** 10, mibit: 2 ** 20, gibit: 2 ** 30 },
  ...{ bps: 8, kbps: 8e3, mbps: 8e6, gbps: 8e9 },
};
/** Below, tbf's numbers for the bucket of one big frame no longer fit into its 32 bits. */
const MIN_RATE_BITS = 8e3;
const MAX_RATE_BITS = 1e12;

function numberAndUnit(text: string): readonly [number, string] {
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?|\.\d+)([a-z%]*)$/.exec(text.toLowerCase()) ?? [];
  return [digits === undefined ? Number.NaN : Number(digits), unit];
}

function refuse(option: string, text: string, cause: string, hint: string): InvalidInputError {
  return new InvalidInputError(`cannot use ${option} ${JSON.stringify(text)}: ${cause}`, { hint });
}

/** Microseconds. A number alone means something else to each tool, so it needs its unit. Throws InvalidInputError. */
export function parseTime(option: string, text: string): number {
  const [number, unit] = numberAndUnit(text);
  const factor = Object.hasOwn(TIME_UNITS, unit) ? TIME_UNITS[unit] : undefined;
  if (Number.isNaN(number) || factor === undefined) {
    const cause = unit === '' && !Number.isNaN(number) ? 'no unit' : 'no time';
    throw refuse(option, text, cause, 'for example 20ms; us, ms and s are the units');
  }
  const us = Math.round(number * factor);
  if (us > MAX_DELAY_US) throw refuse(option, text, 'more than a minute', 'for example 20ms');
  return us;
}

/** `1%` or `1`. Throws InvalidInputError. */
export function parsePercent(option: string, text: string): number {
  const [number, unit] = numberAndUnit(text);
  if (Number.isNaN(number) || !['', '%'].includes(unit)) throw refuse(option, text, 'no percentage', 'for example 1%');
  if (number > 100) throw refuse(option, text, 'more than 100 %', 'for example 1%');
  return number;
}

/** Bits a second. Throws InvalidInputError. */
export function parseRate(option: string, text: string): number {
  const [number, unit] = numberAndUnit(text);
  const factor = Object.hasOwn(RATE_UNITS, unit) ? RATE_UNITS[unit] : undefined;
  const hint = 'for example 10mbit; kbit, mbit and gbit are bits a second, kbps, mbps and gbps bytes';
  if (Number.isNaN(number) || factor === undefined) {
    throw refuse(option, text, unit === '' && !Number.isNaN(number) ? 'no unit' : 'no rate', hint);
  }
  const bits = Math.round(number * factor);
  if (bits < MIN_RATE_BITS || bits > MAX_RATE_BITS) throw refuse(option, text, 'not within 8kbit and 1tbit', hint);
  return bits;
}

/** `tso=off,gro=on`, by ethtool's names of features. Throws InvalidInputError. */
export function parseOffload(text: string): Map<string, boolean> {
  const settings = new Map<string, boolean>();
  for (const word of text.split(',')) {
    const [, feature, value] = /^([a-z0-9][a-z0-9_-]*)=(on|off)$/.exec(word) ?? [];
    if (feature === undefined) throw refuse('--offload', text, 'not FEATURE=on|off[,…]', 'for example tso=off,gro=off');
    settings.set(feature, value === 'on');
  }
  return settings;
}

export function timeWord(us: number): string {
  return us % 1000 === 0 ? `${us / 1000}ms` : `${us}us`;
}

/** Exact: the biggest unit of which it is a whole number. */
export function rateWord(bits: number): string {
  for (const [unit, factor] of [['gbit', 1e9] as const, ['mbit', 1e6] as const, ['kbit', 1e3] as const]) {
    if (bits % factor === 0) return `${bits / factor}${unit}`;
  }
  return `${bits}bit`;
}

export function percentWord(percent: number): string {
  return `${Number(percent.toFixed(6))}%`;
}
