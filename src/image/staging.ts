/**
 * Where blobs and layers come into being: a private folder `images/.new-ID`, from which they are renamed into their place.
 * A lock file beside it is held as long as anything writes into it, the tools that unpack included, so that what a killed
 * minict left can be told from what is being made, and reclaimed.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { HostError, MinictError } from '../errors.ts';
import { takeLock } from '../host/syscalls.ts';
import { lockImageFiles } from '../state/locks.ts';
import { imagePaths, type Roots } from '../state/paths.ts';
import { removeTree } from './tree.ts';

const PREFIX = '.new-';
const LOCK_SUFFIX = '.lock';

export interface Staging {
  readonly roots: Roots;
  readonly dir: string;
  /** Child processes that write into `dir` inherit it. */
  readonly lockFd: number;
}

/** An error of a system call in the user's terms; a full disk by its name. */
function asKnown(error: unknown, verb: string, roots: Roots): unknown {
  if (error instanceof MinictError) {
    return /no space left on device|ENOSPC/i.test(error.message) ? fullDisk(verb, roots) : error;
  }
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === undefined) return error;
  return code === 'ENOSPC' ? fullDisk(verb, roots) : new HostError(`cannot ${verb}: ${message}`, { cause: error });
}

function fullDisk(verb: string, roots: Roots): HostError {
  return new HostError(`cannot ${verb}: no space left on the disk of ${roots.root}`, { hint: `df -h ${roots.root}` });
}

/**
 * What `make` puts into its place stays, also where no image has it yet: nobody removes it until `make` has ended. The
 * rest of the folder goes, however it ends. `verb` is for messages ("import web.tar").
 */
export async function withStaging<T>(roots: Roots, verb: string, make: (staging: Staging) => Promise<T>): Promise<T> {
  const images = imagePaths(roots).dir;
  try {
    const files = lockImageFiles(roots);
    const dir = join(images, `${PREFIX}${randomBytes(6).toString('hex')}`);
    const lockPath = `${dir}${LOCK_SUFFIX}`;
    const lock = takeLock(lockPath, 'exclusive');
    try {
      mkdirSync(dir, { mode: 0o700 });
      return await make({ roots, dir, lockFd: lock?.fd as number });
    } finally {
      if (existsSync(dir)) removeTree(dir);
      rmSync(lockPath, { force: true });
      lock?.release();
      files.release();
    }
  } catch (error) {
    throw asKnown(error, verb, roots);
  }
}

/**
 * Removes what killed ones left in `images/`, and returns the folders' paths; with `dryRun` it only lists them. One that
 * is being filled is left alone: its lock is held.
 */
export function removeStaleStagings(roots: Roots, dryRun = false): string[] {
  const images = imagePaths(roots).dir;
  if (!existsSync(images)) return [];
  const entries = readdirSync(images).filter((entry) => entry.startsWith(PREFIX));
  const ids = new Set(
    entries.map((entry) => (entry.endsWith(LOCK_SUFFIX) ? entry.slice(0, -LOCK_SUFFIX.length) : entry)),
  );
  const stale: string[] = [];
  for (const id of [...ids].sort()) {
    const dir = join(images, id);
    const lockPath = `${dir}${LOCK_SUFFIX}`;
    const orphan = !existsSync(lockPath);
    // A dry run makes no lock file; without one, nobody is at work in the folder.
    const lock = dryRun && orphan ? undefined : takeLock(lockPath, 'exclusive', false);
    if (lock === undefined && !(dryRun && orphan)) continue;
    try {
      if (existsSync(dir)) {
        if (!dryRun) removeTree(dir);
        stale.push(dir);
      }
      if (!dryRun) rmSync(lockPath, { force: true });
    } finally {
      lock?.release();
    }
  }
  return stale;
}
