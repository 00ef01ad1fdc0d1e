/**
 * Folders that a layer names only on the way to what is in them (`a/b/file` without an `a/b/`). In an overlay theirs would
 * be the attributes that show, so they get those that the layers below show: `/tmp` stays what it was.
 */
import { chmodSync, lchownSync, lstatSync } from 'node:fs';
import { mergedAt } from '../host/layered.ts';
import { listXattrs, readXattr, setTimes, writeXattr } from '../host/syscalls.ts';

function copyAttributes(from: string | Buffer, to: string | Buffer): void {
  const stat = lstatSync(from, { bigint: true });
  lchownSync(to, Number(stat.uid), Number(stat.gid));
  // After the owner, since chown(2) takes setgid away; the path is a folder, and no symlink.
  chmodSync(to, Number(stat.mode & 0o7777n));
  for (const name of listXattrs(from)) {
    const value = name.startsWith('trusted.overlay.') ? undefined : readXattr(from, name);
    if (value !== undefined) writeXattr(to, name, value);
  }
  setTimes(to, stat);
}

/**
 * `folders` are byte strings; `lower` the directories below, the top one first. Those that are new, or hide what is below,
 * stay as they are.
 */
export function completeFolders(tree: string, folders: readonly string[], lower: readonly string[]): void {
  for (const folder of folders) {
    const [own, below] = mergedAt([tree, ...lower], Buffer.from(folder, 'latin1'));
    if (own !== undefined && below !== undefined) copyAttributes(below, own);
  }
}
