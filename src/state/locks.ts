/** flock(2) on files under the run dir: they die with their holders. Containers in name order, then the networks. */
import { mkdirSync, unlinkSync } from 'node:fs';
import { type Lock, takeLock } from '../host/syscalls.ts';
import { containerPaths, networkPaths, type Roots } from './paths.ts';

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

/** For what containers share: addresses and bridges. */
export function lockNetworks(roots: Roots): Lock {
  return lock(roots, networkPaths(roots, '').lock, 'exclusive');
}

/** The lock of a container that is no more; whoever waits for it sees that the file is gone, and takes a new one. */
export function unlinkLock(roots: Roots, name: string): void {
  try {
    unlinkSync(containerPaths(roots, name).lock);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
