/** Snapshots of a container's files: made, listed, gone back to, forgotten. */
import { existsSync } from 'node:fs';
import { ConflictError, NotFoundError } from '../errors.ts';
import type { ContainerSpec, Snapshot } from '../spec/container.ts';
import { lockContainer, releaseContainer } from '../state/locks.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer, writeContainer } from '../state/store.ts';
import type { Context } from './context.ts';
import { removeUnused } from './images.ts';
import { copyUpper, freezeUpper, replaceFiles, requireLayers, settle } from './own-layers.ts';
import { keepTree, restoreTree, treeOwner } from './own-trees.ts';
import { whileDown } from './while-down.ts';

/** Throws NotFoundError. */
export function getSnapshot({ name, snapshots = [] }: ContainerSpec, snapshot: string): Snapshot {
  const found = snapshots.find((other) => other.name === snapshot);
  if (found !== undefined) return found;
  throw new NotFoundError(`cannot find snapshot ${snapshot} of ${name}: no such snapshot`, {
    hint: `minict snapshot ls ${name}`,
  });
}

/** Of the files as they are made of `lower`. */
export function snapshotOf({ image, imageId }: ContainerSpec, name: string, lower: readonly string[]): Snapshot {
  return {
    name,
    createdAt: new Date().toISOString(),
    ...(image === undefined ? {} : { image }),
    ...(imageId === undefined ? {} : { imageId }),
    lower: [...lower],
  };
}

/** Constant time for a stopped container; of one that is up, the files are copied. Throws ConflictError, HostError. */
export async function createSnapshot(context: Context, instance: string, name: string, snapshot: string) {
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    const spec = settle(context, await getContainer(context.roots, name));
    requireLayers(spec, 'make a snapshot of');
    if (spec.snapshots?.some((other) => other.name === snapshot)) {
      throw new ConflictError(`cannot make snapshot ${snapshot} of ${name}: there is one of that name`, {
        hint: `minict snapshot rm ${name} ${snapshot}`,
      });
    }
    const added = (lower: readonly string[]) => [...(spec.snapshots ?? []), snapshotOf(spec, snapshot, lower)];
    const owner = treeOwner(context, instance, spec, lock.fd);
    if (owner !== undefined) {
      await keepTree(owner, (lower) => ({ ...spec, snapshots: added(lower) }));
    } else if (existsSync(containerPaths(context.roots, name).enter)) {
      await copyUpper(context, instance, spec, lock.fd, (lower) => ({ ...spec, snapshots: added(lower) }));
    } else {
      freezeUpper(context, spec, (frozen) => ({ ...frozen, snapshots: added(frozen.lower ?? []) }));
    }
  } finally {
    releaseContainer(context.roots, name, lock);
  }
}

/** The files become those of the snapshot; all that was written since is gone. */
export async function rollBack(
  context: Context,
  instance: string,
  name: string,
  snapshot: string,
  graceMs: number,
): Promise<void> {
  getSnapshot(await getContainer(context.roots, name), snapshot);
  await whileDown(context, instance, name, graceMs, async (spec, lockFd) => {
    const taken = getSnapshot(spec, snapshot);
    const { image, imageId, lower } = taken;
    const changed = {
      ...spec,
      lower,
      ...(image === undefined ? {} : { image }),
      ...(imageId === undefined ? {} : { imageId }),
    };
    const owner = treeOwner(context, instance, spec, lockFd);
    if (owner === undefined) replaceFiles(context, changed);
    else await restoreTree(owner, taken, changed);
  });
  await removeUnused(context);
}

/** Forgets snapshots; layers that nothing has any more go. Throws NotFoundError. */
export async function removeSnapshot(context: Context, name: string, snapshot: string): Promise<void> {
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    const spec = settle(context, await getContainer(context.roots, name));
    const gone = getSnapshot(spec, snapshot);
    writeContainer(context.roots, { ...spec, snapshots: spec.snapshots?.filter((other) => other !== gone) });
  } finally {
    releaseContainer(context.roots, name, lock);
  }
  await removeUnused(context);
}
