/** How a container is asked whether it works. Pure. */
import { InvalidInputError } from '../errors.ts';
import { parseSpanMs } from './time.ts';

/** As container.json has it. */
export interface HealthSpec {
  /** For /bin/sh -c, inside. */
  readonly command: string;
  /** Between the end of one check and the next. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** So many failures in a row make it unhealthy. */
  readonly retries: number;
}

const MAX_RETRIES = 1000;
const MIN_MS = 100;
const MAX_MS = 86_400_000;

/** `30s`. Throws InvalidInputError. */
export function parseHealthSpan(option: string): (text: string) => number {
  return (text) => {
    const ms = parseSpanMs(text);
    if (ms !== undefined && ms >= MIN_MS && ms <= MAX_MS) return ms;
    throw new InvalidInputError(`cannot use ${option} ${JSON.stringify(text)}: not a time from 100ms to 1d`, {
      hint: 'for example 500ms, 30s or 1m30s',
    });
  };
}

/** Throws InvalidInputError. */
export function parseHealthRetries(text: string): number {
  const retries = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (retries >= 1 && retries <= MAX_RETRIES) return retries;
  throw new InvalidInputError(
    `cannot use --health-retries ${JSON.stringify(text)}: not a number from 1 to ${MAX_RETRIES}`,
  );
}
