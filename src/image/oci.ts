/**
 * The documents of the OCI image format that minict reads and writes (image-spec: manifest.md, config.md, image-index.md),
 * docker's of the same content included. Whatever comes from outside is checked here; unknown members are kept out.
 */
import * as z from 'zod/mini';
import { InvalidInputError } from '../errors.ts';
import { namesTo } from '../spec/names-to.ts';
import { layerType, REF_NAME } from './media-types.ts';

const LAYER_TYPES: ReadonlySet<string> = new Set([
  ...[undefined, 'gzip' as const, 'zstd' as const].map(layerType),
  'application/vnd.docker.image.rootfs.diff.tar',
  'application/vnd.docker.image.rootfs.diff.tar.gzip',
]);

export const digest = z.string().check(z.regex(/^sha256:[0-9a-f]{64}$/, 'not a sha256 digest'));
export const descriptor = z.object({ mediaType: z.string(), digest, size: z.number() });
export type Descriptor = z.infer<typeof descriptor>;

const manifestSchema = z.object({ config: descriptor, layers: z.array(descriptor) });
export type Manifest = z.infer<typeof manifestSchema>;

/** What goes to execve(2) in the end. */
const words = z.string().check(z.regex(/^[^\0]*$/, 'has a NUL'));
const list = z.nullish(z.array(words));
const emptyObjects = z.nullish(z.record(z.string(), z.unknown()));
const configSchema = z.object({
  created: z.optional(z.string()),
  architecture: z.string(),
  os: z.string(),
  config: z.nullish(
    z.object({
      Env: list,
      Cmd: list,
      Entrypoint: list,
      WorkingDir: z.nullish(words),
      User: z.nullish(words),
      StopSignal: z.nullish(words),
      ExposedPorts: emptyObjects,
      Volumes: emptyObjects,
      Labels: z.nullish(namesTo(z.string(), z.string())),
    }),
  ),
  rootfs: z.object({ type: z.literal('layers'), diff_ids: z.array(digest) }),
  history: z.nullish(
    z.array(
      z.object({
        created: z.optional(z.string()),
        created_by: z.optional(z.string()),
        comment: z.optional(z.string()),
        empty_layer: z.optional(z.boolean()),
      }),
    ),
  ),
});
export type Config = z.infer<typeof configSchema>;

/** Throws InvalidInputError; `what` is for messages. */
export function parseJson<T>(schema: z.ZodMiniType<T>, text: string, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new InvalidInputError(`cannot use ${what}: not JSON`);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new InvalidInputError(`cannot use ${what}: ${issue?.path.join('.')}: ${issue?.message}`);
}

/** Throws InvalidInputError; `what` is for messages. */
export function parseManifest(text: string, what: string): Manifest {
  const manifest = parseJson(manifestSchema, text, what);
  const odd = manifest.layers.find(({ mediaType }) => !LAYER_TYPES.has(mediaType));
  if (odd === undefined) return manifest;
  throw new InvalidInputError(`cannot use ${what}: layer ${odd.digest} is of an unknown kind (${odd.mediaType})`);
}

/** Throws InvalidInputError where it does not fit the manifest, too. */
export function parseConfig(text: string, manifest: Manifest, what: string): Config {
  const config = parseJson(configSchema, text, what);
  if (config.rootfs.diff_ids.length === manifest.layers.length) return config;
  throw new InvalidInputError(`cannot use ${what}: its layers and the digests of their content are not as many`);
}

/** Throws InvalidInputError. The manifests that an index names, with their names. */
export function parseIndex(text: string, what: string): (Descriptor & { name: string | undefined })[] {
  const schema = z.object({
    manifests: z.array(z.extend(descriptor, { annotations: z.nullish(z.record(z.string(), z.string())) })),
  });
  return parseJson(schema, text, what).manifests.map(({ annotations, ...rest }) => ({
    ...rest,
    name: annotations?.[REF_NAME],
  }));
}
