/** Why `exec` finds nothing to enter. */
import { existsSync } from 'node:fs';
import { ConflictError, type MinictError, NotFoundError } from '../errors.ts';
import { forgetLock, type Lock } from '../state/locks.ts';
import { containerPaths, type Roots } from '../state/paths.ts';

/** Lets go of the lock; that of a name that no container has goes. */
export function notUp(roots: Roots, name: string, lock: Lock | undefined): MinictError {
  lock?.release();
  if (existsSync(containerPaths(roots, name).json)) {
    return new ConflictError(`cannot exec in ${name}: it is stopped`, { hint: `minict start ${name}` });
  }
  if (lock !== undefined) forgetLock(roots, name);
  return new NotFoundError(`cannot find container ${name}: no such container`, { hint: 'minict ps -a' });
}
