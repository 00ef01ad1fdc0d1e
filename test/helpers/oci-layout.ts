/** OCI image layouts written by hand (image-spec, image-layout.md): any number of layers, and what no tool would write. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';

const TYPES = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
};

export interface LayerFixture {
  readonly tar: Buffer;
  readonly compression?: 'gzip' | 'zstd';
  /** The tar packed in another way. */
  readonly packed?: Buffer;
  /** Lies, each in place of what is true. */
  readonly blob?: Buffer;
  readonly size?: number;
  readonly mediaType?: string;
  readonly diffId?: string;
}

export interface ImageFixture {
  readonly layers: readonly LayerFixture[];
  /** The member `config` of the configuration. */
  readonly settings?: object;
  /** Members of the configuration, and of the manifest, in place of the true ones; a text stands for the whole document. */
  readonly config?: object | string;
  readonly manifest?: object | string;
  /** In an index of its own, for this platform alone. */
  readonly platform?: { readonly os: string; readonly architecture: string };
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export function sha256(content: Buffer | string): string {
  return `sha256:${new Bun.CryptoHasher('sha256').update(content).digest('hex')}`;
}

export class Layout {
  readonly dir: string;
  private readonly manifests: object[] = [];

  constructor(dir: string) {
    this.dir = dir;
    mkdirSync(join(dir, 'blobs/sha256'), { recursive: true });
    writeFileSync(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  }

  blobPath(digest: string): string {
    return join(this.dir, 'blobs/sha256', digest.slice('sha256:'.length));
  }

  /** `content` under the digest of `claimed`. */
  private blob(mediaType: string, content: Buffer | string, claimed = content): Descriptor {
    const digest = sha256(claimed);
    writeFileSync(this.blobPath(digest), content);
    return { mediaType, digest, size: Buffer.byteLength(claimed) };
  }

  private layer({ tar, compression, blob, mediaType, size, ...rest }: LayerFixture): Descriptor {
    const packed = rest.packed ?? (compression === 'gzip' ? gzipSync(tar) : compression ? zstdCompressSync(tar) : tar);
    const type = mediaType ?? `${TYPES.layer}${compression === undefined ? '' : `+${compression}`}`;
    const descriptor = this.blob(type, blob ?? packed, packed);
    return { ...descriptor, size: size ?? descriptor.size };
  }

  /** Its manifest, or the index that names it. */
  add(tag: string, image: ImageFixture): Descriptor {
    const layers = image.layers.map((layer) => this.layer(layer));
    const config = {
      architecture: 'amd64',
      os: 'linux',
      config: image.settings ?? {},
      rootfs: { type: 'layers', diff_ids: image.layers.map(({ tar, diffId }) => diffId ?? sha256(tar)) },
      ...(typeof image.config === 'object' ? image.config : {}),
    };
    const text = typeof image.config === 'string' ? image.config : JSON.stringify(config);
    const manifest = {
      schemaVersion: 2,
      mediaType: TYPES.manifest,
      config: this.blob(TYPES.config, text),
      layers,
      ...(typeof image.manifest === 'object' ? image.manifest : {}),
    };
    let top = this.blob(TYPES.manifest, typeof image.manifest === 'string' ? image.manifest : JSON.stringify(manifest));
    if (image.platform !== undefined) {
      const manifests = [{ ...top, platform: image.platform }];
      top = this.blob(TYPES.index, JSON.stringify({ schemaVersion: 2, mediaType: TYPES.index, manifests }));
    }
    this.manifests.push({ ...top, annotations: { 'org.opencontainers.image.ref.name': tag } });
    writeFileSync(join(this.dir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: this.manifests }));
    return top;
  }

  /** As skopeo names it. */
  source(tag: string): string {
    return `oci:${this.dir}:${tag}`;
  }
}
