/**
 * btrfs subvolumes. rm(1) takes one for another file system, and leaves it; deleted as what it is, it goes at once, however
 * many files are in it.
 */
import { lstatSync, statfsSync } from 'node:fs';

/** f_type of statfs(2), from linux/magic.h. */
export const BTRFS = 0x9123683e;

/** Inode of every subvolume's root, and of nothing else on btrfs. */
const ROOT_INODE = 256;

export function isSubvolume(dir: string): boolean {
  const stat = lstatSync(dir, { throwIfNoEntry: false });
  return stat?.isDirectory() === true && stat.ino === ROOT_INODE && statfsSync(dir).type === BTRFS;
}

/** Those that a program in a container has made come first: one with another in it cannot be deleted. */
const REMOVE = `
status=0
for tree; do
  btrfs subvolume delete -- "$tree" >/dev/null 2>&1 && continue
  find "$tree" -xdev -mindepth 1 -type d -inum ${ROOT_INODE} -print0 | xargs -0r sh -c "$0" "$0"
  btrfs subvolume delete -- "$tree" >/dev/null 2>&1 || rm -rf --one-file-system -- "$tree" || status=1
done
exit "$status"`;

/** Removes directories that are subvolumes, or have some in them. */
export function removeSubvolumesArgv(dirs: readonly string[]): string[] {
  return ['sh', '-c', REMOVE, REMOVE, ...dirs];
}
