/**
 * How a container's root is looked into from outside: by a short-lived process that has it mounted in a mount namespace of
 * its own, and waits at a pipe; when the pipe closes, or its reader is killed, process, namespace and mounts are gone.
 */
import type { MountPoint } from '../host/facts.ts';
import { ISOLATION_FOLDERS, NETNS_DIR, UTSNS_DIR } from '../state/paths.ts';
import { type Overlay, overlayOptions } from './overlay-options.ts';

export interface ViewPlan {
  /** Where the root is seen. */
  readonly rootfs: string;
  /** The container's, where it is up and has one: the root with all that is mounted in it. */
  readonly mntns: string | undefined;
  /** What to mount first, where the container is stopped. */
  readonly overlay: Overlay | undefined;
  /** What keeps the kernel from mounting it: of a start that did not come to its end. */
  readonly mark?: string;
  /** Nothing is written but into what is mounted in it. */
  readonly readOnly: boolean;
  /** Nothing that is mounted in it shows. */
  readonly bare: boolean;
  /** Mounts, with all below them, that do not show. */
  readonly without: readonly string[];
}

/** What the process writes back is its sign that all is mounted. */
const WAIT = 'exec cat';
/** Copies of namespaces' files would keep those alive: under a shared /run each is there in its folder's own mount, and below. */
export const TRIM = `for dir in ${[NETNS_DIR, UTSNS_DIR, ...ISOLATION_FOLDERS].join(' ')}; do umount --lazy "$dir"; umount --lazy "$dir"/*; done 2>/dev/null;`;
const MOUNT = `cd -- "$1" && { [ $# = 3 ] || rm -rf -- "$4"; } && mount -t overlay -o "$2" overlay "$3" && ${WAIT}`;
/** A mount of its own, whose flags can be changed. */
const BIND = `mount "$1" "$2" "$2" && shift 2 && { [ $# = 0 ] || umount --lazy "$@"; } && ${WAIT}`;

export function viewArgv({ rootfs, mntns, overlay, mark, bare, without }: ViewPlan): string[] {
  const argv = [
    ...(mntns === undefined ? [] : ['nsenter', `--mount=${mntns}`]),
    ...['unshare', '--mount', '--propagation', 'private', 'sh', '-c'],
  ];
  if (overlay !== undefined) {
    const { options, cwd = '/' } = overlayOptions(overlay);
    return [...argv, TRIM + MOUNT, 'sh', cwd, options, rootfs, ...(mark === undefined ? [] : [mark])];
  }
  return [...argv, TRIM + BIND, 'sh', bare ? '--bind' : '--rbind', rootfs, ...(bare ? [] : without)];
}

const SEAL = 'while [ $# -gt 0 ]; do mount -o "$1" "$2" || exit; shift 2; done';
const SEALED = 'nosymfollow';

/**
 * From then on the kernel follows no symlink in the process's mounts: where an archiver works in them by paths, nobody
 * inside can lead it out with a symlink that was not there a moment ago. The other options stay: a read-only mount is one.
 */
export function sealArgv(pid: number, { rootfs, readOnly }: ViewPlan, mounts: readonly MountPoint[]): string[] {
  const words = mounts.flatMap(({ target, options }) => {
    const flags = ['remount', 'bind', SEALED, options, ...(readOnly && target === rootfs ? ['ro'] : [])];
    return [flags.join(','), target];
  });
  return ['nsenter', `--mount=/proc/${pid}/ns/mnt`, 'sh', '-c', SEAL, 'sh', ...words];
}

export function isSealed({ options }: MountPoint): boolean {
  return options.split(',').includes(SEALED);
}
