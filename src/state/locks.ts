/** flock(2) on files under the run dir: they die with their holders. Containers in name order, then images, volumes, networks, the host. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { type Lock, takeLock } from '../host/exec-calls.ts';
import {
  containerPaths,
  hostJournalPath,
  ID_RANGES_LOCK,
  imageFilesLockPath,
  imagesLockPath,
  imageTreesLockPath,
  networkPaths,
  type Roots,
  volumesLockPath,
} from './paths.ts';

export type { Lock } from '../host/exec-calls.ts';

function tryLock(roots: Roots, path: string, mode: 'shared' | 'exclusive', wait: boolean): Lock | undefined {
  try {
    return takeLock(path, mode, wait);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    mkdirSync(roots.runDir, { recursive: true, mode: 0o700 });
    return takeLock(path, mode, wait);
  }
}

function lock(roots: Roots, path: string, mode: 'shared' | 'exclusive'): Lock {
  return tryLock(roots, path, mode, true) as Lock;
}

export function lockContainer(roots: Roots, name: string, mode: 'shared' | 'exclusive'): Lock {
  return lock(roots, containerPaths(roots, name).lock, mode);
}

/** The lock; undefined where somebody else has one that keeps it. */
export function tryLockContainer(
  roots: Roots,
  name: string,
  mode: 'shared' | 'exclusive' = 'exclusive',
): Lock | undefined {
  return tryLock(roots, containerPaths(roots, name).lock, mode, false);
}

/** Whether somebody is at work on the container. */
export function isLocked(roots: Roots, name: string): boolean {
  const path = containerPaths(roots, name).lock;
  if (!existsSync(path)) return false;
  const lock = takeLock(path, 'shared', false);
  lock?.release();
  return lock === undefined;
}

/** For what containers share: addresses and bridges. */
export function lockNetworks(roots: Roots): Lock {
  return lock(roots, networkPaths(roots, '').lock, 'exclusive');
}

/** For what root file systems are made of; exclusive for who removes an image, or is to write into a directory in place. */
export function lockImages(roots: Roots, mode: 'shared' | 'exclusive'): Lock {
  return lock(roots, imagesLockPath(roots), mode);
}

/** For named volumes; exclusive for who removes one, or has made one that no container has yet. */
export function lockVolumes(roots: Roots, mode: 'shared' | 'exclusive'): Lock {
  return lock(roots, volumesLockPath(roots), mode);
}

/** For blobs and layers: shared for who adds some, until an image has them; exclusive for who removes those without one. */
export function lockImageFiles(roots: Roots): Lock {
  return lock(roots, imageFilesLockPath(roots), 'shared');
}

/** The exclusive one; undefined while somebody adds. */
export function tryLockImageFiles(roots: Roots): Lock | undefined {
  return tryLock(roots, imageFilesLockPath(roots), 'exclusive', false);
}

/** For images that are kept as trees, made one at a time. */
export function lockImageTrees(roots: Roots): Lock {
  return lock(roots, imageTreesLockPath(roots), 'exclusive');
}

/** For who chooses ids of the host for a user namespace, until a container has them. */
export function lockIdRanges(): Lock {
  return takeLock(ID_RANGES_LOCK, 'exclusive') as Lock;
}

/** For what is made once a boot. */
export function lockHost(roots: Roots): Lock {
  return lock(roots, hostJournalPath(roots), 'exclusive');
}

/** Leaves no lock file of a name that nobody has. Only who holds it alone may unlink it: others wait on that very file. */
export function forgetLock(roots: Roots, name: string): void {
  const lock = takeLock(containerPaths(roots, name).lock, 'exclusive', false);
  if (lock !== undefined) releaseContainer(roots, name, lock);
}

/**
 * Lets go of a container's exclusive lock. A name that nobody has keeps no lock file: whoever waits for it sees that the
 * file is gone, and takes a new one. A damaged container.json counts as a container.
 */
export function releaseContainer(roots: Roots, name: string, lock: Lock): void {
  const paths = containerPaths(roots, name);
  if (!existsSync(paths.json)) rmSync(paths.lock, { force: true });
  lock.release();
}
