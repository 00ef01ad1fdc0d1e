/** diff: what a container changed of its image. */
import { existsSync } from 'node:fs';
import { InvalidInputError, NotFoundError } from '../errors.ts';
import { forgetLock, lockContainer } from '../state/locks.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer } from '../state/store.ts';
import { type Change, changesIn } from '../storage/changes.ts';
import type { Context } from './context.ts';

/** Throws NotFoundError, InvalidInputError (it has no layers). */
export async function diffContainer({ roots }: Context, name: string): Promise<Change[]> {
  const lock = lockContainer(roots, name, 'shared');
  let found = false;
  try {
    const { lower, inPlace } = await getContainer(roots, name);
    found = true;
    if (lower === undefined) {
      throw new InvalidInputError(`cannot diff ${name}: it has no layers, but ${inPlace} in place`, {
        hint: 'a container of an image has: minict create --image',
      });
    }
    const gone = lower.find((path) => !existsSync(path));
    if (gone !== undefined) {
      throw new NotFoundError(`cannot diff ${name}: ${gone} is not there any more`, { hint: `put ${gone} back` });
    }
    return changesIn(containerPaths(roots, name).upper, lower);
  } finally {
    lock.release();
    if (!found) forgetLock(roots, name);
  }
}
