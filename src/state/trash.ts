/** How a folder ceases to be: by one rename into `.trash`, from where its files are removed; prune takes what is left there. */
import { existsSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { ConflictError, firstLine, HostError } from '../errors.ts';
import { mountsIn } from '../host/facts.ts';
import { isSubvolume, removeSubvolumesArgv } from '../host/subvolume.ts';
import type { Roots } from './paths.ts';

function trashPath(roots: Roots): string {
  return join(roots.root, '.trash');
}

/** Several may go in one millisecond. */
let moved = 0;

/** Returns where it is now, to be removed. */
export function moveToTrash(roots: Roots, dir: string, kind: string): string {
  moved += 1;
  const trash = join(trashPath(roots), `${kind}-${process.pid}-${Date.now()}-${moved}`);
  mkdirSync(trashPath(roots), { recursive: true, mode: 0o700 });
  renameSync(dir, trash);
  return trash;
}

/** What is in there was renamed into it to be removed. */
export function trashedFolders(roots: Roots): string[] {
  const trash = trashPath(roots);
  return existsSync(trash) ? readdirSync(trash).map((entry) => join(trash, entry)) : [];
}

/** Throws ConflictError while something is mounted in it. */
export function refuseMounted(dir: string): void {
  const mounts = mountsIn([dir]).get(dir)?.join(' ');
  if (mounts) throw new ConflictError(`cannot remove ${dir}: mounted in it: ${mounts}`, { hint: `umount ${mounts}` });
}

/** Throws ConflictError while something is mounted in it, HostError. */
export function removeTree(dir: string): void {
  refuseMounted(dir);
  if (!isSubvolume(dir) && Bun.spawnSync(['rm', '-rf', '--one-file-system', '--', dir]).exitCode === 0) return;
  const { exitCode, stderr } = Bun.spawnSync(removeSubvolumesArgv([dir]));
  if (exitCode !== 0) throw new HostError(`cannot remove ${dir}: ${firstLine(stderr.toString())}`);
}
