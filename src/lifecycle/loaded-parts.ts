/**
 * What comes of a saved container, member by member: layers are unpacked into the staging folder, blobs of images go into the
 * store. What is here already is passed over. Nothing of it is believed before it has the digest by which it was announced.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { InvalidInputError } from '../errors.ts';
import { BlobWriter, blobPath, readBlob } from '../image/blobs.ts';
import { parseManifest } from '../image/oci.ts';
import type { Staging } from '../image/staging.ts';
import type { TarReader } from '../image/tar-stream.ts';
import { adoptBlobs } from '../image/transfer.ts';
import { unpackPieces } from '../image/unpack.ts';
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
}

class Receiver {
  private readonly staging: Staging;
  private readonly reader: TarReader;
  private readonly saved: SavedContainer;
  private readonly verb: string;
  /** Digests of blobs that may come, as far as the documents that name them are here. */
  private readonly blobs = new Set<string>();
  private readonly trees = new Map<string, string>();
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
    for (const digest of layersOf(this.saved)) {
      if (!this.trees.has(digest) && !this.isThere(digest)) throw this.lacking('layer', digest);
    }
    for (const image of this.images) await this.adopt(image);
    return { upper: this.upper, layers: this.trees };
  }

  private get images(): Set<string> {
    return new Set(filesOf(this.saved).flatMap(({ imageId }) => imageId ?? []));
  }

  private isThere(digest: string): boolean {
    return existsSync(sharedLayerDir(this.staging.roots, digest));
  }

  private hasBlob(digest: string): boolean {
    return existsSync(blobPath(this.staging.roots, digest));
  }

  private async take(name: string): Promise<void> {
    const part = parsePartName(name);
    if (name === UPPER && this.saved.upper !== undefined) this.upper = await this.unpack(UPPER, this.saved.upper);
    else if (part?.kind === 'layer' && layersOf(this.saved).has(part.digest)) {
      if (!this.isThere(part.digest))
        this.trees.set(part.digest, await this.unpack(`layer ${part.digest}`, part.digest));
    } else if (part?.kind === 'blob' && this.blobs.has(part.digest)) await this.takeBlob(part.digest);
    else if (!(Object.values(LAYOUT) as string[]).includes(name)) throw this.refusal(`member ${name} is no part of it`);
  }

  private async takeBlob(digest: string): Promise<void> {
    if (this.hasBlob(digest)) return;
    const writer = new BlobWriter(this.staging);
    for await (const piece of this.reader.content()) writer.write(piece);
    writer.publish('', digest);
    if (this.images.has(digest)) this.expect(digest);
  }

  /** The image's manifest, and what it names. */
  private expect(image: string): void {
    this.blobs.add(image);
    if (!this.hasBlob(image)) return;
    const { config, layers } = parseManifest(readBlob(this.staging.roots, image), `image ${image}`);
    for (const { digest } of [config, ...layers]) this.blobs.add(digest);
  }

  private async adopt(image: string): Promise<void> {
    if (!this.hasBlob(image)) throw this.lacking('image', image);
    const lacking = [...this.blobs].find((digest) => !this.hasBlob(digest));
    if (lacking !== undefined) throw this.lacking('blob', lacking);
    await adoptBlobs(this.staging, { digest: image }, `image ${image}`);
  }

  private async unpack(what: string, digest: string): Promise<string> {
    const tree = join(this.staging.dir, what === UPPER ? 'upper' : digest.slice('sha256:'.length));
    mkdirSync(tree, { mode: 0o755 });
    const hasher = new Bun.CryptoHasher('sha256');
    const tap = (piece: Buffer) => void hasher.update(piece);
    await unpackPieces(this.reader.content(), what, tree, this.staging.lockFd, tap);
    if (`sha256:${hasher.digest('hex')}` !== digest) throw this.refusal(`${what} has other content than was announced`);
    return tree;
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

function layersOf(saved: SavedContainer): Set<string> {
  return new Set(filesOf(saved).flatMap(({ layers }) => layers));
}

/** Throws InvalidInputError (damaged, cut short, hostile, incomplete), HostError. */
export function receiveParts(
  staging: Staging,
  reader: TarReader,
  saved: SavedContainer,
  verb: string,
): Promise<Received> {
  return new Receiver(staging, reader, saved, verb).receive();
}
