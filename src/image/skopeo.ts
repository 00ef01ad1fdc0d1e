/**
 * skopeo(1), which speaks to registries and reads and writes archives. It works on an OCI layout in the staging folder;
 * what it leaves when it is killed lies there, too.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { firstLine, HostError } from '../errors.ts';
import { missingTool } from '../host/tool.ts';
import { imagePaths } from '../state/paths.ts';
import { readDocuments } from './catalog.ts';
import { refuseDamaged } from './damage.ts';
import { INDEX, REF_NAME } from './media-types.ts';
import type { Descriptor } from './oci.ts';
import type { Staging } from './staging.ts';

export interface TransferOptions {
  /** containers-auth.json(5) in place of the user's own. */
  readonly authfile?: string | undefined;
  /** Undefined: as docker does, all but registries on this machine have to have a certificate. */
  readonly tlsVerify?: boolean | undefined;
  /** Let skopeo show its progress on stderr. */
  readonly progress?: boolean;
}

/** Name of the one image in a layout that is made for a transfer. */
const TAG = 'transfer';

/** `localhost:5000` of `docker://localhost:5000/lab/web:1`. */
function registryOf(place: string): string | undefined {
  return /^docker:\/\/([^/]+)\//.exec(place)?.[1];
}

function isOnThisMachine(registry: string | undefined): boolean {
  return registry !== undefined && /^(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$/.test(registry);
}

/** What skopeo logs, without its wrapping: the cause is in the last `msg`, behind what it was doing. */
function causeOf(stderr: string): string {
  const messages = [...stderr.matchAll(/msg="((?:[^"\\]|\\.)*)"/g)].map(([, text = '']) =>
    text.replace(/\\(.)/g, '$1'),
  );
  return firstLine(messages.at(-1) ?? stderr).replace(
    /^(initializing source|trying to reuse blob) \S+( at destination)?: /,
    '',
  );
}

/** Causes that may be gone a moment later. A registry that nobody listens for is none. */
const PASSING = /\bEOF\b|connection reset|broken pipe|timeout|status( code from registry|:) 5\d\d/i;

const RETRY_AFTER_MS = [500, 2000];

/** What helps, by the cause. */
const HINTS: readonly (readonly [RegExp, (registry: string) => string])[] = [
  [/unauthorized|authentication required|denied/i, (registry) => `skopeo login ${registry}`],
  [/manifest unknown|name unknown|not found|no such/i, () => 'see if it is there: skopeo list-tags'],
  [
    /HTTP response to HTTPS client|x509|certificate/i,
    () => '--tls-verify=false takes a registry without a certificate',
  ],
  [/connection refused|no route|no such host/i, (registry) => `is there a registry? curl http://${registry}/v2/`],
  [PASSING, (registry) => `it failed ${RETRY_AFTER_MS.length + 1} times; look at the log of ${registry}`],
];

function failure(verb: string, cause: string, registry: string | undefined): HostError {
  const [, hint] = registry === undefined ? [] : (HINTS.find(([pattern]) => pattern.test(cause)) ?? []);
  return new HostError(
    `cannot ${verb}: ${cause || 'skopeo failed'}`,
    hint === undefined ? {} : { hint: hint(registry as string) },
  );
}

/** Returns what it said where it failed. */
async function runSkopeo(staging: Staging, argv: readonly string[], progress: boolean): Promise<string | undefined> {
  const scratch = join(staging.dir, 'tmp');
  mkdirSync(scratch, { recursive: true });
  const child = Bun.spawn([...argv], {
    stdio: ['ignore', progress ? 2 : 'ignore', 'pipe', staging.lockFd],
    env: { ...process.env, LC_ALL: 'C', TMPDIR: scratch },
  });
  const stderr = await new Response(child.stderr as ReadableStream).text();
  return (await child.exited) === 0 ? undefined : causeOf(stderr);
}

interface Copy {
  readonly verb: string;
  /** Where another one's image is, or is to be. */
  readonly place: string;
  /** Words of skopeo's own: of the layout, and from where to where. */
  readonly layout: readonly string[];
  readonly words: readonly [from: string, to: string];
}

async function copy(staging: Staging, { verb, place, layout, words }: Copy, options: TransferOptions): Promise<void> {
  if (Bun.which('skopeo') === null) throw missingTool('skopeo');
  const registry = registryOf(place);
  const { authfile, tlsVerify = !isOnThisMachine(registry), progress = false } = options;
  const argv = [
    ...['skopeo', 'copy', ...(progress ? [] : ['--quiet']), ...layout],
    ...(authfile === undefined ? [] : ['--authfile', authfile]),
    ...(tlsVerify ? [] : [`--${place === words[0] ? 'src' : 'dest'}-tls-verify=false`]),
    ...['--', ...words],
  ];
  for (const wait of [...RETRY_AFTER_MS, undefined]) {
    const cause = await runSkopeo(staging, argv, progress);
    if (cause === undefined) return;
    if (wait === undefined || registry === undefined || !PASSING.test(cause)) throw failure(verb, cause, registry);
    await Bun.sleep(wait);
  }
}

/** Makes a layout at `layout` that has the image; blobs are taken from, and put into, `blobs`. Throws HostError. */
export async function fetchImage(
  staging: Staging,
  verb: string,
  source: string,
  { layout, blobs }: { layout: string; blobs: string },
  options: TransferOptions,
): Promise<void> {
  const ours = ['--dest-shared-blob-dir', blobs, '--dest-oci-accept-uncompressed-layers'];
  await copy(staging, { verb, place: source, layout: ours, words: [source, `oci:${layout}:${TAG}`] }, options);
}

/** Of an image in the store. Throws HostError with skopeo's cause, StateError for a damaged blob. */
export async function sendImage(
  staging: Staging,
  verb: string,
  { mediaType, digest, size }: Descriptor,
  destination: string,
  options: TransferOptions,
): Promise<void> {
  // skopeo believes a manifest.
  readDocuments(staging.roots, digest);
  const layout = join(staging.dir, 'to-send');
  mkdirSync(layout);
  const manifests = [{ mediaType, digest, size, annotations: { [REF_NAME]: TAG } }];
  writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests }));
  const ours = ['--src-shared-blob-dir', dirname(imagePaths(staging.roots).blobs)];
  const words = [`oci:${layout}:${TAG}`, destination] as const;
  try {
    await copy(staging, { verb, place: destination, layout: ours, words }, options);
  } catch (error) {
    // skopeo tells of a damaged blob in many ways.
    await refuseDamaged(staging.roots, { mediaType, digest, size }, verb);
    throw error;
  }
}
