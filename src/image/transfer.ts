/**
 * Images to and from elsewhere: registries and whatever else skopeo has a transport for. What it brings is checked and
 * unpacked before the store knows of it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { InvalidInputError } from '../errors.ts';
import type { Roots } from '../state/paths.ts';
import { blobPath, digestOf } from './blobs.ts';
import { readCatalog } from './catalog.ts';
import { nameImage } from './compose.ts';
import { type Descriptor, parseConfig, parseIndex, parseManifest } from './oci.ts';
import { parseImageName, shownName } from './reference.ts';
import { fetchImage, sendImage, type TransferOptions } from './skopeo.ts';
import { type Staging, withStaging } from './staging.ts';
import { getEntry } from './store.ts';
import { ensureLayers } from './unpack-layer.ts';

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

/** Text of a document that skopeo brought. Throws InvalidInputError where it is not what its digest says. */
function readDocument(roots: Roots, { digest }: Pick<Descriptor, 'digest'>, what: string): string {
  const content = readFileSync(blobPath(roots, digest));
  if (digestOf(content) === digest) return content.toString('utf8');
  throw new InvalidInputError(`cannot use ${what}: ${digest} has other content than that`);
}

/** Checks and unpacks what is in the layout. Returns its manifest. */
export async function adoptImage(staging: Staging, layout: string, what: string): Promise<Descriptor> {
  const [found] = parseIndex(readFileSync(join(layout, 'index.json'), 'utf8'), what);
  if (found === undefined) throw new InvalidInputError(`cannot use ${what}: it has no image`);
  const { mediaType, digest, size } = found;
  await adoptBlobs(staging, found, what);
  return { mediaType, digest, size };
}

/** Checks and unpacks what is in the store. */
export async function adoptBlobs(staging: Staging, image: Pick<Descriptor, 'digest'>, what: string): Promise<void> {
  const { roots } = staging;
  const manifest = parseManifest(readDocument(roots, image, what), what);
  const config = parseConfig(readDocument(roots, manifest.config, what), manifest, what);
  await ensureLayers(staging, manifest.layers, config.rootfs.diff_ids);
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
    const layout = await fetchImage(staging, verb, source, options);
    await nameImage(roots, name, await adoptImage(staging, layout, source), verb, { move: true });
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
