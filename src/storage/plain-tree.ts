/** All files of a container in one tree: made of layers, and mounted as its root. */
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Command } from '../step.ts';
import type { Writing } from './driver.ts';
import { overlayOptions } from './overlay-options.ts';
import type { RootMount } from './rootfs.ts';
import { TRIM } from './view.ts';

/** Private: in the host's table, what is mounted in the root would show in the tree itself. */
export function treeMount(files: string, { readOnly }: Writing): RootMount {
  const options = readOnly ? 'bind,ro,private' : 'bind,private';
  return { why: "the container's files", source: files, fstype: 'none', options };
}

/**
 * Whiteouts, opaque directories and all: as the kernel's overlayfs shows the layers to cp(1), in a mount namespace that ends
 * with the script, so that nothing stays mounted whatever kills it. Files share their blocks with the layers' only where they are copied within one overlay: so they are copied into it, to
 * a name that no image can know, and moved from its upper directory to their place. An overlay that is only read serves
 * where it cannot be written (the upper directory is on an overlay itself, or on NFS).
 */
const MERGE = `${TRIM}
set -e
layers=$1 read=$2 write=$3 scratch=$4 tree=$5
rm -rf -- "$scratch"
mkdir -- "$scratch" "$scratch/none" "$scratch/upper" "$scratch/work" "$scratch/merged"
copy=$(mktemp -d -- "$scratch/upper/.XXXXXXXXXX")
name=\${copy##*/}
cd -- "$layers"
if [ -n "$write" ] && mount -t overlay -o "$write" overlay "$scratch/merged" 2>/dev/null; then copy=./$name
else mount -t overlay -o "$read" overlay "$scratch/merged"; fi
cd -- "$scratch/merged"
find . -mindepth 1 -maxdepth 1 ! -name "$name" -exec cp -a --reflink=auto -t "$copy" -- {} +
cd /
umount -- "$scratch/merged"
find "$scratch/upper/$name" -mindepth 1 -maxdepth 1 -exec mv -t "$tree" -- {} +
rm -rf -- "$scratch"`;

/** Of a directory that is yet to be made, that of the one it will be in. */
function deviceOf(dir: string): number {
  return statSync(dir, { throwIfNoEntry: false })?.dev ?? deviceOf(dirname(dir));
}

/** Whether all are on one device; btrfs has one for each subvolume, and inode numbers of its own in it. */
function onOneDevice(dirs: readonly string[]): boolean {
  return new Set(dirs.map(deviceOf)).size === 1;
}

/**
 * Fills the empty directory `tree` with what `layers` have, the top one first. Throws InvalidInputError where they are too
 * many.
 */
export function mergeCommand(layers: readonly string[], tree: string): Command {
  const scratch = `${tree}.merge`;
  // One alone makes no overlay that is only read.
  const read = overlayOptions({ lower: [...layers, `${scratch}/none`] });
  const write = overlayOptions({ lower: layers, upper: `${scratch}/upper`, work: `${scratch}/work` });
  // Inode numbers of several devices are alike to cp, which takes two files for one.
  const canWrite = onOneDevice([...layers, dirname(tree)]);
  const cwd = read.cwd ?? write.cwd ?? '/';
  const words = [cwd, read.options, canWrite ? `${write.options},volatile` : '', scratch, tree];
  return { kind: 'run', argv: ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', MERGE, 'sh', ...words] };
}
