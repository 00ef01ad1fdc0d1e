/** Blobs that are not what their names say. */
import { closeSync, openSync } from 'node:fs';
import { StateError } from '../errors.ts';
import type { Roots } from '../state/paths.ts';
import { blobPath } from './blobs.ts';
import { readDocuments } from './catalog.ts';
import type { Descriptor } from './oci.ts';
import { piecesOf } from './unpack.ts';

/** Digest of a file, whatever its size. Throws where it cannot be read. */
export async function digestOfFile(path: string): Promise<string> {
  const hasher = new Bun.CryptoHasher('sha256');
  const fd = openSync(path, 'r');
  try {
    for await (const piece of piecesOf(fd)) hasher.update(piece);
  } finally {
    closeSync(fd);
  }
  return `sha256:${hasher.digest('hex')}`;
}

/** Throws StateError, naming it, where a blob of the image is damaged or gone. `verb` is for messages. */
export async function refuseDamaged(roots: Roots, image: Descriptor, verb: string): Promise<void> {
  const { manifest } = readDocuments(roots, image.digest);
  for (const { digest } of manifest.layers) {
    const found = await digestOfFile(blobPath(roots, digest)).catch((error: Error) => error.message);
    if (found === digest) continue;
    const cause = found.startsWith('sha256:') ? 'its content has another digest' : found;
    throw new StateError(`cannot ${verb}: blob ${digest}: ${cause}`, { hint: 'pull or import it again' });
  }
}
