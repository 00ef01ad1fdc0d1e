/** YAML as data: Bun's parser, with the line of a mistake, and without what only swells a document. Pure. */
import { InvalidInputError } from '../errors.ts';

/** Larger ones are none that somebody wrote. */
export const MAX_YAML_BYTES = 64 << 10;

function parses(text: string): boolean {
  try {
    Bun.YAML.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The parser does not say where it stopped: the longest beginning of whole lines that it takes ends before that. */
function lineOfMistake(text: string): number {
  const lines = text.split('\n');
  for (let count = lines.length - 1; count > 0; count -= 1) {
    if (parses(lines.slice(0, count).join('\n'))) return count + 1;
  }
  return 1;
}

/** Path of a list or mapping that is in the value twice; anchors of plain values do no harm. */
function sharedPath(value: unknown, path: string, seen: Set<object>): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (seen.has(value)) return path;
  seen.add(value);
  for (const [key, member] of Object.entries(value)) {
    const found = sharedPath(member, path === '' ? key : `${path}.${key}`, seen);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The parser takes the last one; a list of steps that is silently lost is no small thing. */
function repeatedKey(text: string): string | undefined {
  const keys = [...text.matchAll(/^([A-Za-z][\w-]*)\s*:(?=\s|$)/gm)].map(([, key]) => key as string);
  return keys.find((key, index) => keys.indexOf(key) !== index);
}

/** `what` is for messages. Throws InvalidInputError, with the line or the path of the mistake. */
export function parseYaml(text: string, what: string): unknown {
  let value: unknown;
  try {
    value = Bun.YAML.parse(text);
  } catch (error) {
    const cause = (error as Error).message.replace(/^YAML Parse error: /, '');
    // A bomb is parsed once, and no more.
    if (!(error instanceof SyntaxError) || cause.startsWith('Excessive')) {
      throw new InvalidInputError(`${what}: ${error instanceof SyntaxError ? cause : 'too deep'}`);
    }
    throw new InvalidInputError(`${what}: line ${lineOfMistake(text)}: ${cause}`, {
      hint: 'text with a colon, or one that begins with & * ! [ or {, goes in quotes',
    });
  }
  const repeated = repeatedKey(text);
  if (repeated !== undefined) throw new InvalidInputError(`${what}: ${repeated}: is there twice`);
  const shared = sharedPath(value, '', new Set());
  if (shared === undefined) return value;
  throw new InvalidInputError(`${what}: ${shared}: is an alias of another list or mapping; write it out`);
}
