/**
 * skopeo(1), which speaks to registries and reads and writes archives. It works on an OCI layout in the staging folder
 * whose blobs are the store's own.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { firstLine, HostError } from '../errors.ts';
import { missingTool } from '../host/tool.ts';
import { imagePaths } from '../state/paths.ts';
import { INDEX, REF_NAME } from './media-types.ts';
import type { Descriptor } from './oci.ts';
import type { Staging } from './staging.ts';

export interface TransferOptions {
  /** containers-auth.json(5) in place of the user's own. */
  readonly authfile?: string | undefined;
  readonly tlsVerify?: boolean;
  /** Let skopeo show its progress on stderr. */
  readonly progress?: boolean;
}

/** Name of the one image in a layout that is made for a transfer. */
const TAG = 'transfer';

/** What skopeo logs, without its wrapping: the cause is in the last `msg`. */
function causeOf(stderr: string): string {
  const messages = [...stderr.matchAll(/msg="((?:[^"\\]|\\.)*)"/g)].map(([, text = '']) =>
    text.replace(/\\(.)/g, '$1'),
  );
  return firstLine(messages.at(-1) ?? stderr);
}

async function copy(
  { roots, lockFd }: Staging,
  verb: string,
  side: 'src' | 'dest',
  words: readonly string[],
  { authfile, tlsVerify, progress }: TransferOptions,
): Promise<void> {
  if (Bun.which('skopeo') === null) throw missingTool('skopeo');
  const other = side === 'src' ? 'dest' : 'src';
  const argv = [
    ...['skopeo', 'copy', '--retry-times', '3', ...(progress ? [] : ['--quiet'])],
    ...[`--${side}-shared-blob-dir`, dirname(imagePaths(roots).blobs)],
    ...(side === 'dest' ? ['--dest-oci-accept-uncompressed-layers'] : []),
    ...(authfile === undefined ? [] : ['--authfile', authfile]),
    ...(tlsVerify === false ? [`--${other}-tls-verify=false`] : []),
    ...['--', ...words],
  ];
  const child = Bun.spawn(argv, {
    stdio: ['ignore', progress ? 2 : 'ignore', 'pipe', lockFd],
    env: { ...process.env, LC_ALL: 'C' },
  });
  const stderr = await new Response(child.stderr as ReadableStream).text();
  if ((await child.exited) !== 0) throw new HostError(`cannot ${verb}: ${causeOf(stderr) || 'skopeo failed'}`);
}

/** Returns the folder of a layout that has the image. Throws HostError with skopeo's cause. */
export async function fetchImage(
  staging: Staging,
  verb: string,
  source: string,
  options: TransferOptions,
): Promise<string> {
  const layout = join(staging.dir, 'fetched');
  await copy(staging, verb, 'dest', [source, `oci:${layout}:${TAG}`], options);
  return layout;
}

/** Throws HostError with skopeo's cause; a damaged blob is named in it. */
export async function sendImage(
  staging: Staging,
  verb: string,
  { mediaType, digest, size }: Descriptor,
  destination: string,
  options: TransferOptions,
): Promise<void> {
  const layout = join(staging.dir, 'to-send');
  mkdirSync(layout);
  const manifests = [{ mediaType, digest, size, annotations: { [REF_NAME]: TAG } }];
  writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests }));
  await copy(staging, verb, 'src', [`oci:${layout}:${TAG}`, destination], options);
}
