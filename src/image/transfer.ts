/** Images to and from elsewhere: registries and whatever else skopeo has a transport for. */
import { InvalidInputError } from '../errors.ts';
import type { Roots } from '../state/paths.ts';
import { readCatalog } from './catalog.ts';
import { nameImage } from './compose.ts';
import { takeImage } from './incoming.ts';
import { nameOfTarball, parseImageName, shownName } from './reference.ts';
import { sendImage, type TransferOptions } from './skopeo.ts';
import { withStaging } from './staging.ts';
import { getEntry } from './store.ts';

const lastPart = (path: string) => path.split('/').at(-1) ?? '';

/** What a place calls its image, without the folders or the registry around it. */
function calledAt(place: string): string {
  const [, transport, path, reference] = /^(docker-archive|oci-archive|oci):([^:]+)(?::(.+))?$/.exec(place) ?? [];
  // Others have the image's name at their end: docker://localhost:5000/lab/web:1, docker-daemon:web:1, dir:web
  if (path === undefined) return lastPart(place).replace(/^(docker-daemon|dir):/, '');
  const file = nameOfTarball(path);
  if (reference === undefined || reference.startsWith('@')) return file;
  // In a layout that may be a tag alone.
  return transport === 'docker-archive' || /[/:]/.test(reference) ? lastPart(reference) : `${file}:${reference}`;
}

/** `docker://localhost:5000/lab/web:1` → `web:1`. Throws InvalidInputError where no name can be made of it. */
export function nameFrom(source: string): string {
  try {
    return parseImageName(calledAt(source.replace(/@sha256:[0-9a-f]+$/, '')));
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
