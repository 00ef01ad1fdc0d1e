/**
 * save-container: all of a container as one tar, written while it is read. First what it says of itself, then what its
 * programs wrote, so that the container is let go; then the layers of its own, and its images' documents and layers.
 */
import { existsSync } from 'node:fs';
import { readCatalog } from '../image/catalog.ts';
import { INDEX } from '../image/media-types.ts';
import { withStaging } from '../image/staging.ts';
import { TarWriter } from '../image/tar-stream.ts';
import { type ContainerSpec, imagesOf, type NicSpec, networkOf } from '../spec/container.ts';
import { derivedMac } from '../spec/name.ts';
import {
  LAYOUT,
  MANIFEST_NAME,
  partName,
  SAVED_VERSION,
  type SavedContainer,
  type SavedNic,
  UPPER,
} from '../spec/saved-container.ts';
import { plainAddress, readNetwork } from '../state/network.ts';
import { containerPaths, type Roots } from '../state/paths.ts';
import type { Context } from './context.ts';
import { type Held, holdAlone, holdContainer } from './hold.ts';
import { blobsOf, fromBlob, ownLayers, type Part, readLayers, readWritten, type Written } from './saved-parts.ts';
import { cgroupOf } from './status.ts';

export interface SaveOptions {
  /** Files of named volumes come along. */
  readonly volumes: boolean;
  /** The images' documents and layers are left out: the other side has to have them. */
  readonly withoutImage: boolean;
  /** Whether the other side has the layer, or document of an image, of a digest. */
  readonly isThere: (digest: string) => boolean;
}

/** What was asked for by its user: elsewhere, the rest is that network's. */
async function nicOf(roots: Roots, instance: string, container: string, nic: NicSpec): Promise<SavedNic[]> {
  const { name, addresses, gateways, mac, mtuBytes } = nic;
  const network = networkOf(nic);
  if (network === undefined) return cableOf(instance, container, nic);
  const record = await readNetwork(roots, network);
  const usual = (record?.subnets ?? []).flatMap(({ gateway }) => gateway ?? []);
  const [first] = addresses;
  const derived = first === undefined ? [container, name] : [network, plainAddress(first)];
  const isUsual = gateways.every((gateway) => usual.includes(gateway));
  return [
    {
      network,
      name,
      addresses,
      ...(isUsual ? {} : { gateways }),
      ...(mac === derivedMac(instance, ...(derived as [string, string])) ? {} : { mac }),
      ...(mtuBytes === undefined || mtuBytes === record?.mtuBytes ? {} : { mtuBytes }),
    },
  ];
}

/** The end of a cable, which leads to the container of that name elsewhere. A network card stays on its host. */
function cableOf(instance: string, container: string, nic: NicSpec): SavedNic[] {
  if (nic.kind !== 'p2p') return [];
  const { peer, name, addresses, gateways, mac, mtuBytes } = nic;
  return [
    {
      kind: 'p2p',
      peer,
      name,
      addresses,
      ...(gateways.length === 0 ? {} : { gateways }),
      ...(mac === derivedMac(instance, container, name) ? {} : { mac }),
      ...(mtuBytes === undefined ? {} : { mtuBytes }),
    },
  ];
}

/** Its parts, and where they are from. */
interface Parts extends Written {
  /** By their directories. */
  readonly layers: ReadonlyMap<string, Part>;
}

async function describe(roots: Roots, instance: string, spec: ContainerSpec, parts: Parts): Promise<SavedContainer> {
  const {
    version: _,
    lower,
    inPlace,
    image,
    imageId,
    nics: __,
    snapshots = [],
    pending: ___,
    ownHosts: _____,
    autoRemove: ______,
    volatile: _______,
    ...rest
  } = spec;
  // Elsewhere, its files are layers.
  const { volumes = [], storage: ____, ports, userns, ...settings } = rest;
  const filesOf = (dirs: readonly string[], name: string | undefined, id: string | undefined) => ({
    layers: ownLayers(roots, dirs, id).map((dir) => (parts.layers.get(dir) as Part).digest),
    // Without a digest it is a directory of this host.
    ...(id === undefined ? {} : { imageId: id, ...(name === undefined ? {} : { image: name }) }),
  });
  const nics = (await Promise.all(spec.nics.map((nic) => nicOf(roots, instance, spec.name, nic)))).flat();
  return {
    version: SAVED_VERSION,
    ...settings,
    // Chosen anew there.
    ...(userns === undefined ? {} : { userns: { hostId: 0 as const } }),
    ...filesOf(lower ?? [inPlace as string], image, imageId),
    ...(lower === undefined || parts.root === undefined ? {} : { upper: parts.root.digest }),
    nics,
    // Where they lead follows from its interfaces.
    ...(ports === undefined ? {} : { ports: ports.map(({ address: _, ...port }) => port) }),
    volumes: volumes.map((volume, index) => {
      const files = parts.volumes.get(index)?.digest;
      return volume.type === 'volume' && files !== undefined ? { ...volume, files } : volume;
    }),
    snapshots: snapshots.map((taken) => {
      const { name, createdAt } = taken;
      return { name, createdAt, ...filesOf(taken.lower, taken.image, taken.imageId) };
    }),
  };
}

/** First what programs write into: the rest can wait, the container cannot. */
async function sendParts(
  writer: TarWriter,
  { lower }: ContainerSpec,
  { root, volumes, layers }: Parts,
  isThere: SaveOptions['isThere'],
  letGo: () => void,
): Promise<void> {
  if (lower !== undefined && root !== undefined) await writer.add(UPPER, root, root.pieces());
  for (const [index, part] of volumes) await writer.add(partName({ kind: 'volume', index }), part, part.pieces());
  if (lower !== undefined) letGo();
  // Two directories may have the same in them.
  for (const part of new Map([...layers.values()].map((each) => [each.digest, each])).values()) {
    const { digest } = part;
    if (!isThere(digest)) await writer.add(partName({ kind: 'layer', digest }), part, part.pieces());
  }
  letGo();
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
  for (const blob of wanted) {
    const { digest } = blob;
    await writer.add(partName({ kind: 'blob', digest }), blob, fromBlob(roots, digest));
  }
}

function isUp({ roots }: Context, name: string): boolean {
  return existsSync(containerPaths(roots, name).enter);
}

/** Beside others that read; alone where its programs are held still: the first to end would let them go. */
async function hold(context: Context, name: string): Promise<Held> {
  if (!isUp(context, name)) {
    const held = await holdContainer(context, name);
    if (!isUp(context, name)) return held;
    held.lock.release();
  }
  return holdAlone(context, name, false);
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
  const { spec, lock } = await hold(context, name);
  let isHeld = true;
  const letGo = () => {
    if (isHeld) lock.release();
    isHeld = false;
  };
  try {
    // Layers that are being read are nobody's to remove, whatever becomes of the container.
    return await withStaging(roots, verb, async (staging) => {
      const payload = isUp(context, name) ? cgroupOf(instance, name).payload : undefined;
      const written = await readWritten(context, staging, verb, spec, { payload, named: options.volumes });
      if (payload !== undefined) letGo();
      const parts = { ...written, layers: await readLayers(context, staging, verb, spec, written) };
      const writer = new TarWriter(fd, verb);
      const saved = await describe(roots, instance, spec, parts);
      await writer.addText(MANIFEST_NAME, `${JSON.stringify(saved, null, 2)}\n`);
      await sendParts(writer, spec, parts, options.isThere, letGo);
      await sendImages(roots, writer, spec, options);
      await writer.end();
      return spec;
    });
  } finally {
    letGo();
  }
}
