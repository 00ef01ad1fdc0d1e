/** A container held as it is, by its lock, for who reads or writes its files; whole, also after a killed minict. */
import { ConflictError, NotFoundError } from '../errors.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { forgetLock, type Lock, lockContainer, tryLockContainer } from '../state/locks.ts';
import { getContainer } from '../state/store.ts';
import type { Context } from './context.ts';
import { settle } from './own-layers.ts';

export interface Held {
  readonly spec: ContainerSpec;
  readonly lock: Lock;
}

async function held(context: Context, name: string, lock: Lock, isAlone: boolean): Promise<Held> {
  try {
    const spec = await getContainer(context.roots, name);
    return { spec: isAlone ? settle(context, spec) : spec, lock };
  } catch (error) {
    lock.release();
    if (error instanceof NotFoundError) forgetLock(context.roots, name);
    throw error;
  }
}

/** Beside others that do the same. `hurried`: whoever has it alone may be waiting for this one. Throws NotFoundError, StateError, ConflictError. */
export async function holdContainer(context: Context, name: string, hurried = false): Promise<Held> {
  for (;;) {
    const lock = hurried ? await lockSoon(context, name, 'shared') : lockContainer(context.roots, name, 'shared');
    const found = await held(context, name, lock, false);
    if (found.spec.pending === undefined) return found;
    // What a killed minict began is finished by who is alone.
    found.lock.release();
    (await holdAlone(context, name, false)).lock.release();
  }
}

const SOON_MS = 2000;

/** Without others. `hurried`: whoever has it may be waiting for this one. Throws NotFoundError, StateError, ConflictError. */
export async function holdAlone(context: Context, name: string, hurried: boolean): Promise<Held> {
  const lock = hurried ? await lockSoon(context, name, 'exclusive') : lockContainer(context.roots, name, 'exclusive');
  return held(context, name, lock, true);
}

async function lockSoon(context: Context, name: string, mode: 'shared' | 'exclusive'): Promise<Lock> {
  for (const end = performance.now() + SOON_MS; performance.now() < end; await Bun.sleep(10)) {
    const lock = tryLockContainer(context.roots, name, mode);
    if (lock !== undefined) return lock;
  }
  const does = mode === 'shared' ? 'read' : 'write';
  throw new ConflictError(`cannot ${does} files of ${name}: it is stopped, and another minict is at work on it`, {
    hint: `minict start ${name}, or take a file in between`,
  });
}
