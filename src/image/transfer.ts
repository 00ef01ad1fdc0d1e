/** Images to and from elsewhere: registries and whatever else skopeo has a transport for. */
import { InvalidInputError } from '../errors.ts';
import type { Roots } from '../state/paths.ts';
import { readCatalog } from './catalog.ts';
import { nameImage } from './compose.ts';
import { takeImage } from './incoming.ts';
import { parseImageName, shownName } from './reference.ts';
import { sendImage, type TransferOptions } from './skopeo.ts';
import { withStaging } from './staging.ts';
import { getEntry } from './store.ts';

/** `docker://localhost:5000/lab/web:1` → `web:1`. Throws InvalidInputError where no name can be made of it. */
export function nameFrom(source: string): string {
  const place = source.replace(/@sha256:[0-9a-f]+$/, '');
  const base = (place.split('/').at(-1) ?? '').replace(/^[a-z-]+:(?=.)/, (transport) =>
    place.startsWith(transport) ? '' : transport,
  );
  try {
    return parseImageName(base.replace(/\.(tar|tgz|tar\.gz)(?=:|$)/, ''));
  } catch {
    throw new InvalidInputError(`cannot pull ${source}: no name can be made of it`, {
      hint: `minict image pull ${source} NAME`,
    });
  }
}

function requireTransport(text: string, verb: string, command: string): void {
  if (/^[a-z-]+:./.test(text) && !/^[a-z-]+:\d/.test(text)) return;
  throw new InvalidInputError(`cannot ${verb}: it names no transport`, { hint: `${command} docker://${text}` });
}

/** Returns the name it has now. Throws HostError (skopeo's cause), InvalidInputError (a hostile or damaged image). */
export async function pullImage(
  roots: Roots,
  source: string,
  rawName: string | undefined,
  options: TransferOptions,
): Promise<string> {
  const verb = `pull ${source}`;
  requireTransport(source, verb, 'minict image pull');
  const name = rawName === undefined ? nameFrom(source) : parseImageName(rawName);
  await withStaging(roots, verb, async (staging) => {
    await nameImage(roots, name, await takeImage(staging, verb, source, source, options), verb, { move: true });
  });
  return shownName(name);
}

/** Throws NotFoundError, InvalidInputError, HostError (skopeo's cause). */
export async function pushImage(
  roots: Roots,
  ref: string,
  destination: string,
  options: TransferOptions,
): Promise<void> {
  const verb = `push ${ref} to ${destination}`;
  requireTransport(destination, verb, `minict image push ${ref}`);
  const entry = getEntry(await readCatalog(roots), ref, verb);
  await withStaging(roots, verb, (staging) => sendImage(staging, verb, entry, destination, options));
}
