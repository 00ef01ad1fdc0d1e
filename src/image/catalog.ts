/**
 * Which images there are: index.json of the store, an OCI image index, and what a manifest of it says. The one file that
 * changes; who changes it holds the images' lock.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { z } from 'zod/mini';
import { StateError } from '../errors.ts';
import type { images } from '../spec/schema.ts';
import { readJson, writeJson } from '../state/json-file.ts';
import { lockImages } from '../state/locks.ts';
import { imagePaths, type Roots } from '../state/paths.ts';
import { readBlob } from './blobs.ts';
import { INDEX, MANIFEST, REF_NAME } from './media-types.ts';
import type { Config, Descriptor, Manifest } from './oci.ts';

type Catalog = z.infer<typeof images>;
export type Entry = Catalog['manifests'][number];

export function nameOf(entry: Entry): string | undefined {
  return entry.annotations?.[REF_NAME];
}

/** Entries of all images, in the order of their names; those without a name were called like a newer one. */
export async function readCatalog(roots: Roots): Promise<readonly Entry[]> {
  return (await readJson(imagePaths(roots).index, 'images', 'store'))?.manifests ?? [];
}

/** Whether an image has the digest: a look into the text, for who has read the catalog a moment ago. */
export function isListed(roots: Roots, digest: string): boolean {
  return readFileSync(imagePaths(roots).index).includes(`"${digest}"`);
}

function writeCatalog(roots: Roots, entries: readonly Entry[]): void {
  const { dir, marker, index } = imagePaths(roots);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  if (!existsSync(marker)) writeFileSync(marker, '{"imageLayoutVersion":"1.0.0"}\n', { mode: 0o600 });
  const manifests = entries.toSorted((a, b) => (nameOf(a) ?? '').localeCompare(nameOf(b) ?? ''));
  writeJson(index, { version: 1, schemaVersion: 2, mediaType: INDEX, manifests });
}

/** Changes the catalog under its lock; `change` gets the entries and returns the new ones, or throws. */
export async function changeCatalog(
  roots: Roots,
  change: (entries: readonly Entry[]) => readonly Entry[] | Promise<readonly Entry[]>,
): Promise<void> {
  const lock = lockImages(roots, 'exclusive');
  try {
    writeCatalog(roots, await change(await readCatalog(roots)));
  } finally {
    lock.release();
  }
}

/** The entries with `name` for this manifest. What was called so stays without a name, unless it has another one. */
export function withName(entries: readonly Entry[], name: string, manifest: Descriptor): Entry[] {
  const before = entries.find((entry) => nameOf(entry) === name);
  const others = entries.filter(
    (entry) => entry !== before && !(nameOf(entry) === undefined && entry.digest === manifest.digest),
  );
  const { mediaType, digest, size } = manifest;
  const named = { mediaType, digest, size, annotations: { [REF_NAME]: name } };
  return [...others, named, ...(before === undefined ? [] : unnamed(others, before, digest))];
}

function unnamed(others: readonly Entry[], { mediaType, digest, size }: Entry, but: string): Entry[] {
  if (digest === but || others.some((entry) => entry.digest === digest)) return [];
  return [{ mediaType, digest, size }];
}

/** Of the manifest of a digest, which the store has. Throws StateError. */
export function descriptorOf(roots: Roots, digest: string): Descriptor {
  const content = readBlob(roots, digest);
  const { mediaType } = JSON.parse(content) as { mediaType?: unknown };
  return { mediaType: typeof mediaType === 'string' ? mediaType : MANIFEST, digest, size: Buffer.byteLength(content) };
}

/** Manifest and configuration, checked when they came into the store. Throws StateError. */
export function readDocuments(roots: Roots, digest: string): { manifest: Manifest; config: Config } {
  const parse = <T>(blob: string): T => {
    try {
      return JSON.parse(readBlob(roots, blob)) as T;
    } catch (error) {
      if (error instanceof SyntaxError) throw new StateError(`cannot read blob ${blob}: not JSON`);
      throw error;
    }
  };
  const manifest = parse<Manifest>(digest);
  return { manifest, config: parse<Config>(manifest.config.digest) };
}
