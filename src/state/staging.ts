/**
 * How a folder comes into being whole: as a private `.new-ID` beside its place, published by one rename. A lock file beside
 * it is held as long as anything writes into it, child processes included, so that what a killed minict left can be told
 * from what is being made, and reclaimed.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { HostError } from '../errors.ts';
import { takeLock } from '../host/exec-calls.ts';
import { removeTree } from './trash.ts';

const NEW_PREFIX = '.new-';
const LOCK_SUFFIX = '.lock';

/**
 * Makes a folder in `parent` and hands it over, with the lock's descriptor for child processes; `use` may rename it to its
 * place. What is left of it afterwards is removed.
 */
export async function inNewFolder<T>(
  parent: string,
  use: (folder: string, lockFd: number) => Promise<T> | T,
): Promise<T> {
  const id = Buffer.from(crypto.getRandomValues(new Uint8Array(6))).toString('hex');
  const folder = join(parent, `${NEW_PREFIX}${id}`);
  const lockPath = `${folder}${LOCK_SUFFIX}`;
  const lock = takeLock(lockPath, 'exclusive');
  if (lock === undefined) throw new HostError(`cannot lock ${lockPath}`);
  try {
    mkdirSync(folder, { mode: 0o755 });
    return await use(folder, lock.fd);
  } finally {
    try {
      if (existsSync(folder)) removeTree(folder);
    } finally {
      rmSync(lockPath, { force: true });
      lock.release();
    }
  }
}

/**
 * Removes what killed ones left in `parent`, and returns the folders' paths; with `dryRun` it only lists them. One that is
 * being made is left alone: its lock is held.
 */
export function removeStaleFolders(parent: string, dryRun = false): string[] {
  if (!existsSync(parent)) return [];
  const entries = readdirSync(parent).filter((entry) => entry.startsWith(NEW_PREFIX));
  const ids = new Set(
    entries.map((entry) => (entry.endsWith(LOCK_SUFFIX) ? entry.slice(0, -LOCK_SUFFIX.length) : entry)),
  );
  const stale: string[] = [];
  for (const id of [...ids].sort()) {
    const dir = join(parent, id);
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
