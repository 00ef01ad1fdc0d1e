/**
 * What builds keep for the next one: of each step, by a digest of all that went into it, which layer it made. An entry keeps
 * its layer in the store until it is dropped. It is a cache: a damaged one counts as none.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { takeLock } from '../host/exec-calls.ts';
import { buildCachePaths, type Roots } from '../state/paths.ts';
import { blobPath, digestOf } from './blobs.ts';
import type { Layer } from './compose.ts';
import { ownDir } from './layers.ts';
import { descriptor, digest } from './oci.ts';
import type { Staging } from './staging.ts';

const LOCK_SUFFIX = '.lock';

const entrySchema = z.object({
  version: z.literal(1),
  blob: descriptor,
  diffId: digest,
  createdBy: z.string(),
  created: z.string(),
});

type Entry = z.infer<typeof entrySchema>;

function readEntry(path: string): Entry | undefined {
  try {
    return entrySchema.safeParse(JSON.parse(readFileSync(path, 'utf8'))).data;
  } catch {
    return undefined;
  }
}

export interface CachedLayer {
  readonly layer: Entry;
  readonly reused: boolean;
}

/**
 * The layer that was made of the same `inputs` before, or the one that `make` makes; who wants the same meanwhile waits for
 * it. With `fresh` it is made in any case.
 */
export async function cachedLayer(
  staging: Staging,
  inputs: readonly unknown[],
  fresh: boolean,
  make: () => Promise<Layer>,
): Promise<CachedLayer> {
  const { roots } = staging;
  const { steps } = buildCachePaths(roots);
  mkdirSync(steps, { recursive: true, mode: 0o700 });
  const key = digestOf(JSON.stringify([process.arch, ...inputs])).slice('sha256:'.length);
  const path = join(steps, key);
  const lockPath = `${path}${LOCK_SUFFIX}`;
  const lock = takeLock(lockPath, 'exclusive');
  try {
    const entry = fresh ? undefined : readEntry(path);
    const isWhole = entry && existsSync(ownDir(roots, entry.diffId)) && existsSync(blobPath(roots, entry.blob.digest));
    if (isWhole) return { layer: entry, reused: true };
    const layer: Entry = { version: 1, ...(await make()), created: new Date().toISOString() };
    const temporary = join(staging.dir, 'entry');
    writeFileSync(temporary, JSON.stringify(layer), { mode: 0o600 });
    renameSync(temporary, path);
    return { layer, reused: false };
  } finally {
    rmSync(lockPath, { force: true });
    lock?.release();
  }
}

/** Paths of entries, with their layers; a damaged one has none. */
function entries(roots: Roots): { path: string; layer: Entry | undefined }[] {
  const { steps } = buildCachePaths(roots);
  const names = existsSync(steps) ? readdirSync(steps).filter((name) => !name.endsWith(LOCK_SUFFIX)) : [];
  return names.sort().map((name) => ({ path: join(steps, name), layer: readEntry(join(steps, name)) }));
}

/** Blobs and layers that entries keep. */
export function pathsInCache(roots: Roots): string[] {
  return entries(roots).flatMap(({ layer }) =>
    layer === undefined ? [] : [blobPath(roots, layer.blob.digest), ownDir(roots, layer.diffId)],
  );
}

/** Drops entries by the digest of their layer's content, and damaged ones. Returns their paths, with `dryRun` only those. */
export function dropEntries(roots: Roots, isDropped: (diffId: string) => boolean, dryRun = false): string[] {
  const dropped = entries(roots).filter(({ layer }) => layer === undefined || isDropped(layer.diffId));
  if (!dryRun) for (const { path } of dropped) rmSync(path, { force: true });
  return dropped.map(({ path }) => path);
}

/** Locks of steps that a killed build was at. Returns their paths, with `dryRun` only those. */
export function removeStaleLocks(roots: Roots, dryRun = false): string[] {
  const { steps } = buildCachePaths(roots);
  const names = existsSync(steps) ? readdirSync(steps).filter((name) => name.endsWith(LOCK_SUFFIX)) : [];
  return names.sort().flatMap((name) => {
    const path = join(steps, name);
    const lock = takeLock(path, 'exclusive', false);
    if (lock === undefined) return [];
    if (!dryRun) rmSync(path, { force: true });
    lock.release();
    return [path];
  });
}
