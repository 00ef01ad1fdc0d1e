/** Points in time as people give them, and how long ago one is. Pure. */
import { InvalidInputError } from '../errors.ts';

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `5m` or `1h30m`; undefined for anything else. */
export function parseSpanMs(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) return undefined;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)];
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * (UNIT_MS[unit as string] ?? 0), 0);
}

/** `5m` or `1h30m` before now; RFC 3339, or a date; seconds since 1970. In milliseconds since 1970. Throws InvalidInputError. */
export function parseTimeMs(text: string, option: string, nowMs: number): number {
  const span = parseSpanMs(text);
  if (span !== undefined) return nowMs - span;
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const parsed = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/.test(text)
    ? Date.parse(text)
    : Number.NaN;
  if (!Number.isNaN(parsed)) return parsed;
  throw new InvalidInputError(`cannot use ${option} ${JSON.stringify(text)}: not a time`, {
    hint: 'for example 5m, 1h30m, 2026-01-31, 2026-01-31T12:00:00Z, or seconds since 1970',
  });
}

const NAMES: readonly (readonly [number, string])[] = [
  [86_400_000, 'day'],
  [3_600_000, 'hour'],
  [60_000, 'minute'],
  [1000, 'second'],
];

/** `3 minutes`: in the largest unit of which it has one. */
export function formatSpan(ms: number): string {
  const [unitMs, name] = NAMES.find(([unit]) => ms >= unit) ?? [1000, 'second'];
  const count = Math.max(0, Math.floor(ms / unitMs));
  return `${count} ${name}${count === 1 ? '' : 's'}`;
}
