/**
 * What comes of a saved container, member by member, into the staging folder; what is here already is passed over. Nothing of
 * it is believed before it has the digest by which it was announced.
 */
import { existsSync, readFileSync, renameSync, statSync } from 'node:fs';
import { InvalidInputError } from '../errors.ts';
import { BlobWriter, blobPath, syncFile } from '../image/blobs.ts';
import { type Manifest, parseConfig, parseManifest } from '../image/oci.ts';
import type { Staging } from '../image/staging.ts';
import type { TarReader } from '../image/tar-stream.ts';
import { ensureLayers, unpackTree } from '../image/unpack-layer.ts';
import {
  LAYOUT,
  MANIFEST_NAME,
  parsePartName,
  parseSavedContainer,
  type SavedContainer,
  UPPER,
} from '../spec/saved-container.ts';
import { sharedLayerDir } from './own-layers.ts';

const MAX_DOCUMENT_BYTES = 16 << 20;

/** Throws InvalidInputError. */
export async function readSaved(reader: TarReader, verb: string): Promise<SavedContainer> {
  const first = await reader.next();
  if (first?.name !== MANIFEST_NAME) {
    throw new InvalidInputError(`cannot ${verb}: it is no saved container`, {
      hint: 'minict save-container makes one; an image is loaded by minict image load',
    });
  }
  return parseSavedContainer(await reader.text(MAX_DOCUMENT_BYTES), verb);
}

/** Where what has come lies until the container is made. */
export interface Received {
  readonly upper: string | undefined;
  /** Trees of layers that were not here, by their digests. */
  readonly layers: ReadonlyMap<string, string>;
  /** Trees of volumes' files, by their places. */
  readonly volumes: ReadonlyMap<number, string>;
}

class Receiver {
  private readonly staging: Staging;
  private readonly reader: TarReader;
  private readonly saved: SavedContainer;
  private readonly verb: string;
  /** Digests of blobs that may come, as far as the documents that name them are here. */
  private readonly expected = new Set<string>();
  /** Files of blobs that came. */
  private readonly blobs = new Map<string, string>();
  private readonly trees = new Map<string, string>();
  private readonly volumes = new Map<number, string>();
  private upper: string | undefined;

  constructor(staging: Staging, reader: TarReader, saved: SavedContainer, verb: string) {
    this.staging = staging;
    this.reader = reader;
    this.saved = saved;
    this.verb = verb;
    for (const image of this.images) this.expect(image);
  }

  async receive(): Promise<Received> {
    const seen = new Set<string>();
    for (let member = await this.reader.next(); member !== undefined; member = await this.reader.next()) {
      const { name } = member;
      if (seen.has(name)) throw this.refusal(`member ${name} comes twice`);
      seen.add(name);
      await this.take(name);
    }
    if (this.saved.upper !== undefined && this.upper === undefined) throw this.refusal(`${UPPER} is not in it`);
    for (const [index, digest] of volumeFiles(this.saved)) {
      if (!this.volumes.has(index)) throw this.lacking(`volume ${index},`, digest);
    }
    for (const digest of layersOf(this.saved)) {
      if (!this.trees.has(digest) && !this.isThere(digest)) throw this.lacking('layer', digest);
    }
    const lacking = [...this.expected].find((digest) => !this.hasBlob(digest));
    if (lacking !== undefined) throw this.lacking(this.images.has(lacking) ? 'image' : 'blob', lacking);
    for (const image of this.images) await this.unpackImage(image);
    for (const [digest, path] of this.blobs) renameSync(path, blobPath(this.staging.roots, digest));
    return { upper: this.upper, layers: this.trees, volumes: this.volumes };
  }

  private get images(): Set<string> {
    return new Set(filesOf(this.saved).flatMap(({ imageId }) => imageId ?? []));
  }

  private isThere(digest: string): boolean {
    return existsSync(sharedLayerDir(this.staging.roots, digest));
  }

  private hasBlob(digest: string): boolean {
    return existsSync(this.pathOf(digest));
  }

  private pathOf(digest: string): string {
    return this.blobs.get(digest) ?? blobPath(this.staging.roots, digest);
  }

  private async take(name: string): Promise<void> {
    const { upper } = this.saved;
    const part = parsePartName(name);
    const files = part?.kind === 'volume' ? volumeFiles(this.saved).get(part.index) : undefined;
    if (name === UPPER && upper !== undefined) this.upper = await this.unpack(UPPER, upper);
    else if (part?.kind === 'volume' && files !== undefined) {
      this.volumes.set(part.index, await this.unpack(name, files, true));
    } else if (part?.kind === 'layer' && layersOf(this.saved).has(part.digest)) {
      const { digest } = part;
      if (!this.isThere(digest)) this.trees.set(digest, await this.unpack(`layer ${digest}`, digest));
    } else if (part?.kind === 'blob' && this.expected.has(part.digest)) await this.takeBlob(part.digest);
    else if (!(Object.values(LAYOUT) as string[]).includes(name)) throw this.refusal(`member ${name} is no part of it`);
  }

  private async takeBlob(digest: string): Promise<void> {
    if (this.hasBlob(digest)) return;
    const writer = new BlobWriter(this.staging);
    for await (const piece of this.reader.content()) writer.write(piece);
    if (writer.close().digest !== digest) throw this.changed(`blob ${digest}`);
    this.blobs.set(digest, writer.path);
    if (this.images.has(digest)) this.expect(digest);
  }

  /** The image's manifest, and what it names. */
  private expect(image: string): void {
    this.expected.add(image);
    if (!this.hasBlob(image)) return;
    const { config, layers } = this.manifestOf(image);
    for (const { digest } of [config, ...layers]) this.expected.add(digest);
  }

  private manifestOf(image: string): Manifest {
    return parseManifest(readFileSync(this.pathOf(image), 'utf8'), `image ${image}`);
  }

  private async unpackImage(image: string): Promise<void> {
    const manifest = this.manifestOf(image);
    for (const { digest, size } of [manifest.config, ...manifest.layers]) {
      if (statSync(this.pathOf(digest)).size !== size) throw this.refusal(`blob ${digest} is not of ${size} bytes`);
    }
    const document = this.pathOf(manifest.config.digest);
    const config = parseConfig(readFileSync(document, 'utf8'), manifest, `image ${image}`);
    await ensureLayers(this.staging, manifest.layers, config.rootfs.diff_ids, (digest) => this.pathOf(digest));
    for (const path of [document, this.pathOf(image)]) syncFile(path);
  }

  private async unpack(what: string, digest: string, isPlain = false): Promise<string> {
    const hasher = new Bun.CryptoHasher('sha256');
    const { tree } = await unpackTree(this.staging, this.reader.content(), {
      verb: `unpack ${what}`,
      isLayer: true,
      isPlain,
      tap: (piece) => void hasher.update(piece),
    });
    if (`sha256:${hasher.digest('hex')}` !== digest) throw this.changed(what);
    return tree;
  }

  private changed(what: string): InvalidInputError {
    return this.refusal(`it is damaged: ${what} has other content than was announced`);
  }

  private refusal(cause: string): InvalidInputError {
    return new InvalidInputError(`cannot ${this.verb}: ${cause}`);
  }

  private lacking(what: string, digest: string): InvalidInputError {
    return new InvalidInputError(`cannot ${this.verb}: ${what} ${digest} is neither in it nor here`, {
      hint: 'save it without --without-image and --have',
    });
  }
}

function filesOf(saved: SavedContainer) {
  return [saved, ...saved.snapshots];
}

/** Digests of volumes' files that come along, by their places. */
function volumeFiles({ volumes }: SavedContainer): Map<number, string> {
  const files = volumes.map((volume, index) => [index, volume.type === 'volume' ? volume.files : undefined] as const);
  return new Map(files.flatMap(([index, digest]) => (digest === undefined ? [] : [[index, digest] as const])));
}

function layersOf(saved: SavedContainer): Set<string> {
  return new Set(filesOf(saved).flatMap(({ layers }) => layers));
}

/**
 * When it returns, the store has what the images are made of, under no name yet. Throws InvalidInputError (damaged, cut
 * short, hostile, incomplete), HostError.
 */
export function receiveParts(
  staging: Staging,
  reader: TarReader,
  saved: SavedContainer,
  verb: string,
): Promise<Received> {
  return new Receiver(staging, reader, saved, verb).receive();
}
