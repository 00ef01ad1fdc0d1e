/**
 * save-container: all of a container as one tar, written while it is read. First what it says of itself, then what its
 * programs wrote, so that the container is let go; then the layers of its own, and its images' documents and layers.
 */
import { existsSync } from 'node:fs';
import { readCatalog } from '../image/catalog.ts';
import { INDEX } from '../image/media-types.ts';
import { withStaging } from '../image/staging.ts';
import { TarWriter } from '../image/tar-stream.ts';
import { type ContainerSpec, imagesOf } from '../spec/container.ts';
import { derivedMac } from '../spec/name.ts';
import { LAYOUT, MANIFEST_NAME, partName, SAVED_VERSION, type SavedContainer, UPPER } from '../spec/saved-container.ts';
import { lockContainer, releaseContainer } from '../state/locks.ts';
import { readNetwork } from '../state/network.ts';
import { containerPaths, type Roots } from '../state/paths.ts';
import { getContainer } from '../state/store.ts';
import type { Context } from './context.ts';
import { settle } from './own-layers.ts';
import { blobsOf, fromBlob, ownLayers, type Part, type Parts, readParts, readWritten } from './saved-parts.ts';
import { cgroupOf } from './status.ts';

export interface SaveOptions {
  /** The images' documents and layers are left out: the other side has to have them. */
  readonly withoutImage: boolean;
  /** Whether the other side has the layer, or document of an image, of a digest. */
  readonly isThere: (digest: string) => boolean;
}

/** What was asked for by its user: elsewhere, the rest is that network's. */
async function nicOf(roots: Roots, instance: string, { nic }: ContainerSpec): Promise<SavedContainer['nic']> {
  if (nic === undefined) return undefined;
  const { network, address, prefix, gateway, mac, mtuBytes } = nic;
  const usual = (await readNetwork(roots, network))?.gateway ?? gateway;
  return {
    address: `${address}/${prefix}`,
    ...(gateway === usual ? {} : { gateway }),
    ...(mac === derivedMac(instance, network, address) ? {} : { mac }),
    ...(mtuBytes === undefined ? {} : { mtuBytes }),
  };
}

async function describe(
  roots: Roots,
  instance: string,
  spec: ContainerSpec,
  { upper, layers }: Parts,
): Promise<SavedContainer> {
  const { version: _, lower, inPlace, image, imageId, nic: __, snapshots = [], pending: ___, ...rest } = spec;
  // Elsewhere, its files are layers.
  const { storage: ____, ...settings } = rest;
  const filesOf = (dirs: readonly string[], name: string | undefined, id: string | undefined) => ({
    layers: ownLayers(roots, dirs, id).map((dir) => (layers.get(dir) as Part).digest),
    // Without a digest it is a directory of this host.
    ...(id === undefined ? {} : { imageId: id, ...(name === undefined ? {} : { image: name }) }),
  });
  const nic = await nicOf(roots, instance, spec);
  return {
    version: SAVED_VERSION,
    ...settings,
    ...filesOf(lower ?? [inPlace as string], image, imageId),
    ...(upper === undefined ? {} : { upper: upper.digest }),
    ...(nic === undefined ? {} : { nic }),
    snapshots: snapshots.map((taken) => {
      const { name, createdAt } = taken;
      return { name, createdAt, ...filesOf(taken.lower, taken.image, taken.imageId) };
    }),
  };
}

/** Two directories may have the same in them. */
function byDigest(layers: Parts['layers']): Map<string, Part> {
  return new Map([...layers.values()].map((part) => [part.digest, part]));
}

async function sendImages(roots: Roots, writer: TarWriter, spec: ContainerSpec, options: SaveOptions): Promise<void> {
  if (options.withoutImage) return;
  const blobs = blobsOf(roots, imagesOf(spec));
  const wanted = blobs.filter(({ digest }) => !options.isThere(digest));
  // With these the tar is an archive of its images, as others know it, too.
  if (wanted.length === blobs.length && blobs.length > 0) {
    const manifests = (await readCatalog(roots)).filter(({ digest }) => imagesOf(spec).includes(digest));
    await writer.addText(LAYOUT.marker, '{"imageLayoutVersion":"1.0.0"}\n');
    await writer.addText(LAYOUT.index, `${JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests })}\n`);
  }
  for (const blob of wanted) await writer.add(partName('blob', blob.digest), blob, fromBlob(roots, blob.digest));
}

/**
 * Writes it to `fd`; returns what was saved. Throws NotFoundError, ConflictError, HostError: then the tar has no end, and
 * nobody takes it.
 */
export async function saveContainer(
  context: Context,
  instance: string,
  name: string,
  fd: number,
  options: SaveOptions,
): Promise<ContainerSpec> {
  const { roots } = context;
  const verb = `save ${name}`;
  const lock = lockContainer(roots, name, 'exclusive');
  let isHeld = true;
  const letGo = () => {
    if (isHeld) releaseContainer(roots, name, lock);
    isHeld = false;
  };
  try {
    // Layers that are being read are nobody's to remove, whatever becomes of the container.
    return await withStaging(roots, verb, async (staging) => {
      const spec = settle(context, await getContainer(roots, name));
      const isUp = existsSync(containerPaths(roots, name).enter);
      const written = await readWritten(
        context,
        staging,
        verb,
        spec,
        isUp ? cgroupOf(instance, name).payload : undefined,
      );
      if (isUp) letGo();
      const parts = await readParts(context, staging, verb, spec, written);
      const writer = new TarWriter(fd, verb);
      const saved = await describe(roots, instance, spec, parts);
      await writer.addText(MANIFEST_NAME, `${JSON.stringify(saved, null, 2)}\n`);
      if (parts.upper !== undefined) await writer.add(UPPER, parts.upper, parts.upper.pieces());
      if (spec.inPlace === undefined) letGo();
      for (const part of byDigest(parts.layers).values()) {
        if (!options.isThere(part.digest)) await writer.add(partName('layer', part.digest), part, part.pieces());
      }
      letGo();
      await sendImages(roots, writer, spec, options);
      await writer.end();
      return spec;
    });
  } finally {
    letGo();
  }
}
