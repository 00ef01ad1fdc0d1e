/** Names that the OCI image format gives to its documents (image-spec, media-types.md and annotations.md). */
export const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const CONFIG = 'application/vnd.oci.image.config.v1+json';
export const INDEX = 'application/vnd.oci.image.index.v1+json';

/** Annotation with an image's name, in an index. */
export const REF_NAME = 'org.opencontainers.image.ref.name';

/** Of a layer that is compressed so. */
export function layerType(compression: 'gzip' | 'zstd' | undefined): string {
  const plain = 'application/vnd.oci.image.layer.v1.tar';
  return compression === undefined ? plain : `${plain}+${compression}`;
}
