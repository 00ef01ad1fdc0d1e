/** Another name for an image. */
import type { Roots } from '../state/paths.ts';
import { changeCatalog, withName } from './catalog.ts';
import { parseImageName } from './reference.ts';
import { getEntry } from './store.ts';

/** Takes the name from an image that has it, as docker does. Throws NotFoundError, InvalidInputError. */
export async function tagImage(roots: Roots, ref: string, rawName: string): Promise<void> {
  const name = parseImageName(rawName);
  await changeCatalog(roots, (entries) => withName(entries, name, getEntry(entries, ref, `tag image ${ref}`)));
}
