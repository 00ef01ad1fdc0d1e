/**
 * Cables between two containers that are being made or removed, a file each. Whoever is at it holds its file's lock, and
 * removes the file when both ends are as they should be: so what a killed one left of a cable is known by either container.
 */
import {
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { ConflictError } from '../errors.ts';
import { type Lock, takeLock } from '../host/exec-calls.ts';
import { cablesPath, type Roots } from './paths.ts';

/** Only this minict writes them, into a folder only root can write: no zod. */
export interface CableWork {
  /** Name of the cable. */
  readonly cable: string;
  readonly containers: readonly [string, string];
  readonly aim: 'made' | 'removed';
}

export interface Begun {
  /** Both ends are as they were, or as they should be. */
  end(): void;
  /** What is not at its end is a leftover from here on. */
  release(): void;
}

function begun(path: string, lock: Lock): Begun {
  return { end: () => rmSync(path, { force: true }), release: () => lock.release() };
}

/** Before the first change to one of the ends. Throws ConflictError. */
export function beginCable(roots: Roots, work: CableWork): Begun {
  const dir = cablesPath(roots);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, work.cable);
  const lock = takeLock(path, 'exclusive', false);
  if (lock === undefined) {
    const [one, other] = work.containers;
    throw new ConflictError(`cannot change the cable of ${one} and ${other}: another minict is just doing that`);
  }
  // Another's, which could not be settled, may be in it.
  ftruncateSync(lock.fd, 0);
  writeFileSync(lock.fd, JSON.stringify(work));
  fsyncSync(lock.fd);
  return begun(path, lock);
}

/** A torn one was never acted upon. */
function read(path: string): CableWork | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as CableWork;
  } catch {
    return undefined;
  }
}

/** What killed ones left, of cables of this container, or of all; held by the caller from here on. */
export function takeUnfinished(roots: Roots, container?: string): (CableWork & Begun)[] {
  const dir = cablesPath(roots);
  if (!existsSync(dir)) return [];
  return readdirSync(dir).flatMap((cable) => {
    const path = join(dir, cable);
    const isOthers = container !== undefined && read(path)?.containers.includes(container) === false;
    const lock = isOthers ? undefined : takeLock(path, 'exclusive', false);
    if (lock === undefined) return [];
    const work = read(path);
    if (work !== undefined) return [{ ...work, ...begun(path, lock) }];
    rmSync(path);
    lock.release();
    return [];
  });
}
