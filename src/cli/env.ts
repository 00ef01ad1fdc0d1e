/** `-e K=V`, `-e K` (taken from the caller's environment, if it has one) and `--env-file`, as docker has them. */
import { readFileSync } from 'node:fs';
import { InvalidInputError, systemCause } from '../errors.ts';

/** With its end, MAX_ARG_STRLEN of linux/binfmts.h. */
const MAX_STRING_BYTES = 128 * 1024;

/** Throws InvalidInputError. */
function parseEnv(words: readonly string[], source = '-e'): Record<string, string> {
  const entries = words.flatMap((word) => {
    const at = word.indexOf('=');
    const key = at < 0 ? word : word.slice(0, at);
    if (!/^\S+$/.test(key) || word.includes('\0')) {
      throw new InvalidInputError(`cannot use ${source} '${word}': not K=V`);
    }
    const inherited = Object.hasOwn(process.env, key) ? process.env[key] : undefined;
    const value = at < 0 ? inherited : word.slice(at + 1);
    if (value !== undefined && Buffer.byteLength(`${key}=${value}`) >= MAX_STRING_BYTES) {
      throw new InvalidInputError(
        `cannot use ${source}: ${key.slice(0, 64)} is longer than 128 KiB, which no program takes`,
      );
    }
    return value === undefined ? [] : [[key, value] as const];
  });
  return Object.fromEntries(entries);
}

/** A setting a line; blank lines and those that begin with # are left out, a value is taken as it stands. */
function readEnvFile(file: string): Record<string, string> {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file));
  } catch (error) {
    throw new InvalidInputError(`cannot read env file ${file}: ${systemCause(error)}`);
  }
  const lines = text.split(/\r?\n/).map((line) => line.trimStart());
  const settings = lines.filter((line) => line !== '' && !line.startsWith('#'));
  return parseEnv(settings, `line of ${file}`);
}

/** Of files and words; the latter go before. One may be called __proto__: so by entries. Throws InvalidInputError. */
export function environmentFrom(files: readonly string[], words: readonly string[]): Record<string, string> {
  return Object.fromEntries([...files.map(readEnvFile), parseEnv(words)].flatMap(Object.entries<string>));
}

/** `-l K=V`, or `-l K` for an empty one. */
export function parseLabels(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const [key = '', ...value] = word.split('=');
      if (key === '') throw new InvalidInputError(`cannot use --label '${word}': not K=V`);
      return [key, value.join('=')];
    }),
  );
}
