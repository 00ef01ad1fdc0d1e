/** Images and who uses them: what may be removed, and what is left over then. */
import { existsSync } from 'node:fs';
import { ConflictError, StateError } from '../errors.ts';
import { blobPath } from '../image/blobs.ts';
import { dropEntries } from '../image/build-cache.ts';
import {
  changeCatalog,
  descriptorOf,
  type Entry,
  nameOf,
  readCatalog,
  readDocuments,
  withName,
} from '../image/catalog.ts';
import { collectGarbage } from '../image/collect.ts';
import { parseImageName, shownName } from '../image/reference.ts';
import { getEntry } from '../image/store.ts';
import { type ContainerSpec, imagesOf, layersOf } from '../spec/container.ts';
import { lockImages } from '../state/locks.ts';
import { findContainer, listContainers } from '../state/store.ts';
import { moveToTrash, removeTree } from '../state/trash.ts';
import type { Context } from './context.ts';
import { unusedTrees } from './image-trees.ts';

/** Throws StateError for a damaged container.json: nobody can tell what it uses. */
async function allContainers({ roots }: Context): Promise<ContainerSpec[]> {
  // Undefined is one that was removed a moment ago.
  const specs = await Promise.all(listContainers(roots).map((name) => findContainer(roots, name)));
  return specs.filter((spec) => spec !== undefined);
}

function usersOf(entry: Entry, containers: readonly ContainerSpec[]): string[] {
  return containers.filter((spec) => imagesOf(spec).includes(entry.digest)).map(({ name }) => name);
}

/** Throws ConflictError where `ref`, a digest, stands for several names: as docker does. */
function refuseSeveral(entries: readonly Entry[], entry: Entry, ref: string): void {
  const names = entries
    .filter(({ digest }) => digest === entry.digest)
    .map((other) => shownName(nameOf(other) ?? other.digest));
  if (names.length === 1 || names.includes(ref) || nameOf(entry) === ref) return;
  throw new ConflictError(`cannot remove image ${ref}: it has several names (${names.join(', ')})`, {
    hint: `minict image rm ${names.join(' ')}`,
  });
}

/** The entries without the one that `ref` names. Throws NotFoundError, ConflictError while containers use it. */
async function withoutImage(context: Context, entries: readonly Entry[], ref: string): Promise<Entry[]> {
  const entry = getEntry(entries, ref, `remove image ${ref}`);
  refuseSeveral(entries, entry, ref);
  const others = entries.filter((other) => other !== entry);
  const users = usersOf(entry, await allContainers(context));
  if (users.length > 0 && !others.some(({ digest }) => digest === entry.digest)) {
    throw new ConflictError(`cannot remove image ${ref}: used by ${users.join(', ')}`, {
      hint: `minict rm ${users.join(' ')}`,
    });
  }
  return others;
}

/** Changes nothing; throws as removeImage does. */
export async function checkRemoval(context: Context, ref: string): Promise<void> {
  await withoutImage(context, await readCatalog(context.roots), ref);
}

/** Digests of what is in the layers of images; of a damaged one nobody knows. */
function diffIdsOf({ roots }: Context, entries: readonly Entry[]): Set<string> {
  return new Set(
    entries.flatMap(({ digest }) => {
      try {
        return readDocuments(roots, digest).config.rootfs.diff_ids;
      } catch (error) {
        if (error instanceof StateError) return [];
        throw error;
      }
    }),
  );
}

/**
 * Takes the name away, and what no other image has, with what builds keep of it. Throws NotFoundError, ConflictError while
 * containers use it.
 */
export async function removeImage(context: Context, ref: string): Promise<void> {
  await changeCatalog(context.roots, async (entries) => {
    const others = await withoutImage(context, entries, ref);
    const gone = diffIdsOf(
      context,
      entries.filter((entry) => !others.includes(entry)),
    );
    const left = diffIdsOf(context, others);
    dropEntries(context.roots, (diffId) => gone.has(diffId) && !left.has(diffId));
    return others;
  });
  await removeUnused(context);
}

/**
 * Lists the images that containers have and the catalog does not: of a container that was loaded, or is half-loaded by who
 * was killed. They get the name by which the container calls them where it is free.
 */
export async function listUsedImages(context: Context): Promise<void> {
  const { roots } = context;
  const lacking = (containers: readonly ContainerSpec[], entries: readonly Entry[]) => {
    const listed = new Set(entries.map(({ digest }) => digest));
    const used = containers.flatMap((spec) => [spec, ...(spec.snapshots ?? [])]);
    return used.flatMap(({ image, imageId }) =>
      imageId === undefined || listed.has(imageId) || !existsSync(blobPath(roots, imageId)) ? [] : [{ image, imageId }],
    );
  };
  const containers = await allContainers(context);
  if (lacking(containers, await readCatalog(roots)).length === 0) return;
  await changeCatalog(roots, (entries) => {
    let listed = entries;
    for (const { image, imageId } of lacking(containers, entries)) {
      if (!listed.some(({ digest }) => digest === imageId)) listed = withUsed(context, listed, image, imageId);
    }
    return listed;
  });
}

function withUsed(
  { roots }: Context,
  entries: readonly Entry[],
  image: string | undefined,
  digest: string,
): readonly Entry[] {
  const manifest = descriptorOf(roots, digest);
  const name = image === undefined || image.startsWith('sha256:') ? undefined : parseImageName(image);
  const isFree = name !== undefined && !entries.some((entry) => nameOf(entry) === name);
  return isFree ? withName(entries, name, manifest) : [...entries, manifest];
}

/** Blobs and layers without an image, and containers' own without a container. Returns their paths. */
export async function removeUnused(context: Context, dryRun = false): Promise<string[]> {
  // No create is between its look at an image and its container.json.
  const lock = lockImages(context.roots, 'exclusive');
  try {
    const containers = await allContainers(context);
    const use = { layers: new Set(containers.flatMap(layersOf)), images: containers.flatMap(imagesOf) };
    const trees = await unusedTrees(context.roots, containers);
    if (!dryRun) for (const path of trees) removeTree(moveToTrash(context.roots, path, 'tree'));
    return [...(await collectGarbage(context.roots, use, dryRun)), ...trees];
  } finally {
    lock.release();
  }
}

/** Adds images by `add`; of what it made when it failed, nothing is left that no image has. */
export async function addImages<T>(context: Context, add: () => Promise<T>): Promise<T> {
  try {
    return await add();
  } catch (error) {
    // Where that fails as well, or somebody else adds images, it is for the next prune.
    await removeUnused(context).catch(() => []);
    throw error;
  }
}

/**
 * Images without a name, or with `all` every one, that no container uses; and what builds keep that is in no image. Returns
 * the images' names or digests, and paths.
 */
export async function pruneImages(context: Context, all: boolean, dryRun: boolean): Promise<string[]> {
  const { roots } = context;
  const containers = await allContainers(context);
  const isUnused = (entry: Entry) => (all || nameOf(entry) === undefined) && usersOf(entry, containers).length === 0;
  const entries = await readCatalog(roots);
  const unused = entries.filter(isUnused);
  if (!dryRun && unused.length > 0) {
    await changeCatalog(roots, async (current) => {
      const now = await allContainers(context);
      return current.filter((entry) => !isUnused(entry) || usersOf(entry, now).length > 0);
    });
  }
  const left = diffIdsOf(context, dryRun ? entries.filter((entry) => !isUnused(entry)) : await readCatalog(roots));
  const { dropBuildahStorage } = await import('../image/dockerfile.ts');
  const builds = [...dropEntries(roots, (diffId) => !left.has(diffId), dryRun), ...dropBuildahStorage(roots, dryRun)];
  if (!dryRun) await removeUnused(context);
  return [...unused.map((entry) => shownName(nameOf(entry) ?? entry.digest)), ...builds];
}
