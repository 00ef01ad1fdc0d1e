/** flock(2) on files under the run dir: they die with their holders. Containers in name order, then the networks, then the host. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { type Lock, takeLock } from '../host/syscalls.ts';
import { containerPaths, hostJournalPath, networkPaths, type Roots } from './paths.ts';

export type { Lock } from '../host/syscalls.ts';

function lock(roots: Roots, path: string, mode: 'shared' | 'exclusive'): Lock {
  try {
    return takeLock(path, mode) as Lock;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    mkdirSync(roots.runDir, { recursive: true, mode: 0o700 });
    return takeLock(path, mode) as Lock;
  }
}

export function lockContainer(roots: Roots, name: string, mode: 'shared' | 'exclusive'): Lock {
  return lock(roots, containerPaths(roots, name).lock, mode);
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

/** For what is made once a boot. */
export function lockHost(roots: Roots): Lock {
  return lock(roots, hostJournalPath(roots), 'exclusive');
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
