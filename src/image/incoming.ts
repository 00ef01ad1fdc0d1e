/**
 * An image that skopeo brings: into the staging folder, where it is checked and unpacked before the store knows of it. Of
 * blobs that the store has, skopeo gets second names; so it neither fetches them again nor writes into the store.
 */
import { linkSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { InvalidInputError } from '../errors.ts';
import type { Roots } from '../state/paths.ts';
import { blobPath, digestOf, syncFile, writeManifest } from './blobs.ts';
import { readCatalog, readDocuments } from './catalog.ts';
import { digestOfFile } from './damage.ts';
import { layerType } from './media-types.ts';
import { type Config, type Descriptor, type Manifest, parseConfig, parseIndex, parseManifest } from './oci.ts';
import { fetchImage, type TransferOptions } from './skopeo.ts';
import type { Staging } from './staging.ts';
import { compressionOfFile } from './unpack.ts';
import { ensureLayers } from './unpack-layer.ts';

/** Blobs that images have as layers; others may be manifests, into which skopeo would write. */
async function knownLayers(roots: Roots): Promise<Set<string>> {
  const digests = new Set<string>();
  for (const { digest } of await readCatalog(roots)) {
    try {
      for (const layer of readDocuments(roots, digest).manifest.layers) digests.add(layer.digest);
    } catch {
      // A damaged image has nothing to offer.
    }
  }
  return digests;
}

/** The blobs of a transfer, as an OCI layout has them. */
class Incoming {
  readonly blobs: string;
  private readonly linked = new Set<string>();

  constructor(dir: string) {
    this.blobs = join(dir, 'blobs');
    mkdirSync(join(this.blobs, 'sha256'), { recursive: true, mode: 0o700 });
  }

  pathOf(digest: string): string {
    return join(this.blobs, 'sha256', digest.slice('sha256:'.length));
  }

  link(roots: Roots, digests: Iterable<string>): void {
    for (const digest of digests) {
      try {
        linkSync(blobPath(roots, digest), this.pathOf(digest));
        this.linked.add(digest);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
  }

  /** Drops those of the store's that are damaged; whether there were any. */
  async dropDamaged(digests: readonly string[]): Promise<boolean> {
    let found = false;
    for (const digest of new Set(digests.filter((other) => this.linked.has(other)))) {
      if ((await digestOfFile(this.pathOf(digest))) === digest) continue;
      rmSync(this.pathOf(digest));
      this.linked.delete(digest);
      found = true;
    }
    return found;
  }

  /** Into the store, in place of a damaged one if there is. */
  publish(roots: Roots, digest: string): void {
    if (this.linked.has(digest)) return;
    renameSync(this.pathOf(digest), blobPath(roots, digest));
    this.linked.add(digest);
  }
}

interface Documents {
  readonly top: Descriptor;
  readonly manifest: Manifest;
  readonly config: Config;
}

/** Throws InvalidInputError where they are not what an image has to have. */
function readIncoming(incoming: Incoming, layout: string, what: string): Documents {
  const read = ({ digest }: Descriptor): string => {
    const content = readFileSync(incoming.pathOf(digest));
    if (digestOf(content) === digest) return content.toString('utf8');
    throw new InvalidInputError(`cannot use ${what}: ${digest} has other content than that`);
  };
  const [top] = parseIndex(readFileSync(join(layout, 'index.json'), 'utf8'), what);
  if (top === undefined) throw new InvalidInputError(`cannot use ${what}: it has no image`);
  const manifest = parseManifest(read(top), what);
  return { top, manifest, config: parseConfig(read(manifest.config), manifest, what) };
}

/** skopeo checks digests, and believes sizes. */
function checkSizes(incoming: Incoming, { config, layers }: Manifest, what: string): void {
  for (const { digest, size } of [config, ...layers]) {
    const real = statSync(incoming.pathOf(digest)).size;
    if (real === size) continue;
    throw new InvalidInputError(`cannot use ${what}: ${digest} has ${real} bytes, and not ${size}`);
  }
}

/** Layers with the types that they have: skopeo calls those of docker's archives compressed, which they are not. */
function trueLayers(incoming: Incoming, { layers }: Manifest, what: string): Descriptor[] {
  return layers.map((layer) => {
    const { name } = compressionOfFile(incoming.pathOf(layer.digest)) ?? {};
    if (name !== undefined && name !== 'gzip' && name !== 'zstd') {
      throw new InvalidInputError(`cannot use ${what}: layer ${layer.digest} is of an unknown kind (${name})`);
    }
    const isTrue = /[+.](gzip|zstd)$/.exec(layer.mediaType)?.[1] === name;
    return isTrue ? layer : { ...layer, mediaType: layerType(name) };
  });
}

/** Where an image is to be put: an OCI layout, whose blobs lie beside it. */
export interface TransferPlace {
  readonly layout: string;
  readonly blobs: string;
}

/**
 * Takes over the image that `fetch` puts into a layout. When it returns, all that the image is made of is in the store, but
 * no name. Throws what `fetch` throws, InvalidInputError for a hostile or damaged image. `what` is for messages.
 */
export async function takeLayout(
  staging: Staging,
  what: string,
  fetch: (place: TransferPlace) => Promise<void>,
): Promise<Descriptor> {
  const { roots } = staging;
  const dir = mkdtempSync(join(staging.dir, 'fetched-'));
  const layout = join(dir, 'layout');
  const incoming = new Incoming(dir);
  incoming.link(roots, await knownLayers(roots));
  const read = async () => {
    await fetch({ layout, blobs: incoming.blobs });
    return readIncoming(incoming, layout, what);
  };
  let documents = await read();
  const layersOf = ({ manifest }: Documents) => manifest.layers.map(({ digest }) => digest);
  if (await incoming.dropDamaged(layersOf(documents))) {
    rmSync(layout, { recursive: true });
    documents = await read();
  }
  const { top, manifest, config } = documents;
  checkSizes(incoming, manifest, what);
  const layers = trueLayers(incoming, manifest, what);
  await ensureLayers(staging, layers, config.rootfs.diff_ids, (digest) => incoming.pathOf(digest));
  for (const digest of [top.digest, manifest.config.digest]) syncFile(incoming.pathOf(digest));
  for (const digest of [...layersOf(documents), manifest.config.digest]) incoming.publish(roots, digest);
  if (layers.some((layer, i) => layer !== manifest.layers[i])) return writeManifest(staging, manifest.config, layers);
  incoming.publish(roots, top.digest);
  const { mediaType, digest, size } = top;
  return { mediaType, digest, size };
}

/** The same of an image that skopeo fetches from where it reads. Throws HostError with skopeo's cause, too. */
export async function takeImage(
  staging: Staging,
  verb: string,
  source: string,
  what: string,
  options: TransferOptions,
): Promise<Descriptor> {
  return takeLayout(staging, what, (place) => fetchImage(staging, verb, source, place, options));
}
