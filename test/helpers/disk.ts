/** A disk of a throwaway host's own: a file, mounted in its mount namespace alone, and gone with it. */
import { join } from 'node:path';
import type { Host } from './host.ts';

export type FileSystem = 'ext4' | 'btrfs';

/** The state folder on a new one. Files in it are seen from inside of the host only. */
export function mountStateDisk(host: Host, type: FileSystem, mebibytes: number): void {
  const image = join(host.dir, 'disk');
  const script = `truncate -s ${mebibytes}M "$0"; mkfs.${type} -q "$0"; mount -o loop "$0" "$1"; chmod 700 "$1"`;
  const { status, stderr } = host.run(['sh', '-ec', script, image, host.root]);
  if (status !== 0) throw new Error(stderr);
}

/** The same one, after a reboot. */
export function mountStateDiskAgain(host: Host): void {
  host.run(['mount', '-o', 'loop', join(host.dir, 'disk'), host.root]);
}
