/** Blobs of the image store: files named by the sha256 digest of their content. */
import { closeSync, fsyncSync, openSync, readFileSync, readSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { StateError } from '../errors.ts';
import { imagePaths, type Roots } from '../state/paths.ts';
import { MANIFEST } from './media-types.ts';
import type { Descriptor } from './oci.ts';
import type { Staging } from './staging.ts';

export function blobPath(roots: Roots, digest: string): string {
  return join(imagePaths(roots).blobs, digest.slice('sha256:'.length));
}

export function digestOf(content: string | Buffer): string {
  return `sha256:${new Bun.CryptoHasher('sha256').update(content).digest('hex')}`;
}

/** Text of a small blob. Throws StateError where it is not there, or not what its name says. */
export function readBlob(roots: Roots, digest: string): string {
  let content: Buffer;
  try {
    content = readFileSync(blobPath(roots, digest));
  } catch (error) {
    throw new StateError(`cannot read blob ${digest}: ${(error as Error).message}`, {
      hint: 'pull or import it again',
    });
  }
  if (digestOf(content) !== digest) {
    throw new StateError(`cannot read blob ${digest}: its content has another digest`, {
      hint: 'pull or import it again',
    });
  }
  return content.toString('utf8');
}

/** Onto the disk. */
export function syncFile(path: string): void {
  const fd = openSync(path, 'r');
  fsyncSync(fd);
  closeSync(fd);
}

export function writeAll(fd: number, piece: Buffer): void {
  for (let at = 0; at < piece.length; ) at += writeSync(fd, piece, at);
}

/** Of a file that grows: what is read at a time, and how long what is not there yet is waited for. */
const FOLLOW_BYTES = 256 << 10;
const FOLLOW_MS = 1;

let blobsWritten = 0;

/** A blob that is being written, piece by piece. */
export class BlobWriter {
  private readonly roots: Roots;
  readonly path: string;
  private readonly fd: number;
  private readonly hasher = new Bun.CryptoHasher('sha256');
  private size = 0;

  constructor({ roots, dir }: Staging) {
    this.roots = roots;
    blobsWritten += 1;
    this.path = join(dir, `blob-${blobsWritten}`);
    this.fd = openSync(this.path, 'wx', 0o600);
  }

  write(piece: Buffer): void {
    this.hasher.update(piece);
    this.size += piece.length;
    writeAll(this.fd, piece);
  }

  /**
   * Lets others write to the descriptor, and reads what they write as it comes: so it is hashed by one CPU while the other
   * one packs.
   */
  async follow(write: (fd: number) => Promise<void>): Promise<void> {
    let isOver = false;
    const written = write(this.fd).finally(() => {
      isOver = true;
    });
    // It is awaited in the end, whatever it came to.
    written.catch(() => {});
    const reader = openSync(this.path, 'r');
    const buffer = Buffer.alloc(FOLLOW_BYTES);
    try {
      for (;;) {
        const wasOver = isOver;
        const length = readSync(reader, buffer, 0, buffer.length, this.size);
        this.hasher.update(buffer.subarray(0, length));
        this.size += length;
        if (length === 0 && wasOver) break;
        if (length < buffer.length) await Bun.sleep(FOLLOW_MS);
      }
    } finally {
      closeSync(reader);
      await written;
    }
  }

  /** Onto the disk: for the small ones that all depends on; a layer's content is checked when it is read. */
  sync(): void {
    fsyncSync(this.fd);
  }

  /** Tells what was written; the file stays where it is. */
  close(): { digest: string; size: number } {
    closeSync(this.fd);
    return { digest: `sha256:${this.hasher.digest('hex')}`, size: this.size };
  }

  /** Puts it into its place; one that is there already may be damaged. */
  publish(mediaType: string): Descriptor {
    const { digest, size } = this.close();
    renameSync(this.path, blobPath(this.roots, digest));
    return { mediaType, digest, size };
  }
}

/** Of an image whose parts are there. */
export function writeManifest(staging: Staging, config: Descriptor, layers: readonly Descriptor[]): Descriptor {
  return writeBlob(staging, MANIFEST, JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST, config, layers }));
}

export function writeBlob(staging: Staging, mediaType: string, content: string): Descriptor {
  const writer = new BlobWriter(staging);
  writer.write(Buffer.from(content));
  writer.sync();
  return writer.publish(mediaType);
}
