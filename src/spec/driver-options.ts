/** `--option KEY=VALUE`: settings of one driver. Pure. */
import { InvalidInputError } from '../errors.ts';

/** Throws InvalidInputError for one that is no pair, or a second one of its key. */
export function parseOptions(texts: readonly string[]): ReadonlyMap<string, string> {
  const options = new Map<string, string>();
  for (const text of texts) {
    const [, key, value] = /^([a-z_]+)=(.+)$/.exec(text) ?? [];
    if (key === undefined || value === undefined) {
      throw new InvalidInputError(`cannot use option ${JSON.stringify(text)}: not KEY=VALUE`, {
        hint: '-o mode=bridge',
      });
    }
    if (options.has(key))
      throw new InvalidInputError(`cannot use option ${key}: it is there twice`, { hint: 'take one of them' });
    options.set(key, value);
  }
  return options;
}
