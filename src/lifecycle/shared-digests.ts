/** What two hosts may both have of a container: digests, told by the one that loads to the one that saves. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { InvalidInputError, systemCause } from '../errors.ts';
import { shortName } from '../image/layers.ts';
import { digestPrefix } from '../image/reference.ts';
import { imagePaths, ownLayersPath, type Roots } from '../state/paths.ts';

/** Of documents and layers of images; of containers' layers, as far as their names have it. */
export function digestsHere(roots: Roots): string[] {
  const names = [imagePaths(roots).blobs, ownLayersPath(roots)].flatMap((dir) =>
    existsSync(dir) ? readdirSync(dir) : [],
  );
  const digests = names.map((name) => `sha256:${name}`);
  // A layer that was made here has a name of its own.
  return digests.filter((digest) => shortName(digest).length === shortName(`sha256:${'0'.repeat(64)}`).length);
}

/** Whether a list that digestsHere made, in a file or `-` for standard input, has a digest. Throws InvalidInputError. */
export function readDigests(file: string): (digest: string) => boolean {
  let text: string;
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new InvalidInputError(`cannot read ${file}: ${systemCause(error)}`);
  }
  const lines = text.split('\n').filter((line) => line !== '');
  const odd = lines.find((line) => digestPrefix(line) === undefined);
  if (odd !== undefined) throw new InvalidInputError(`cannot use ${file}: ${JSON.stringify(odd)} is no digest`);
  const digests = new Set(lines.map(digestPrefix));
  return (digest) => digests.has(digest) || digests.has(`sha256:${shortName(digest)}`);
}
