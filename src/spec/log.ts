/** How much of a main command's output is kept, and in which form. Pure. */
import { InvalidInputError } from '../errors.ts';

/** As container.json has it where something was asked for. */
export interface LogSpec {
  readonly maxBytes?: number | undefined;
  readonly maxFiles?: number | undefined;
  /** Each line has its time. */
  readonly timestamps?: true | undefined;
}

/** Its files grow to `maxBytes` each; there are `maxFiles` of them at most. */
export const DEFAULT_LOG = { maxBytes: 10 * 1024 ** 2, maxFiles: 3 };

const UNITS: Readonly<Record<string, number>> = { '': 1, b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };
const MIN_BYTES = 4096;
const MAX_FILES = 100;

/** `10m`, as docker takes it. Throws InvalidInputError. */
export function parseLogBytes(text: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,12})([bkmg]?)$/i.exec(text) ?? [];
  const bytes = digits === '' ? 0 : Number(digits) * (UNITS[unit.toLowerCase()] ?? 0);
  if (bytes >= MIN_BYTES && Number.isSafeInteger(bytes)) return bytes;
  throw new InvalidInputError(`cannot use --log-max-size ${JSON.stringify(text)}: not a size of 4k or more`, {
    hint: 'for example 500k, 10m or 1g',
  });
}

/** Throws InvalidInputError. */
export function parseLogFiles(text: string): number {
  const files = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  // With one there would be nothing but what came since it was full.
  if (files >= 2 && files <= MAX_FILES) return files;
  throw new InvalidInputError(
    `cannot use --log-max-files ${JSON.stringify(text)}: not a number from 2 to ${MAX_FILES}`,
  );
}
