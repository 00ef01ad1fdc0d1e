/** `-e K=V`, `-e K` (taken from the caller's environment), as docker has it. */
import { InvalidInputError } from '../errors.ts';

export function parseEnv(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const at = word.indexOf('=');
      const key = at < 0 ? word : word.slice(0, at);
      if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(key)) throw new InvalidInputError(`cannot use -e '${word}': not K=V`);
      return [key, at < 0 ? (process.env[key] ?? '') : word.slice(at + 1)];
    }),
  );
}
