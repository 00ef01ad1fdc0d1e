/**
 * How a container's root is looked into from outside: by a short-lived process that has it mounted in a mount namespace of
 * its own, and waits at a pipe; when the pipe closes, or its reader is killed, process, namespace and mounts are gone.
 */
import type { MountPoint } from '../host/facts.ts';
import { isWithin } from '../spec/root-paths.ts';
import type { PlacedVolume } from './mount-points.ts';
import { type Overlay, overlayOptions } from './overlay-options.ts';

export interface ViewPlan {
  /** Where the root is seen. */
  readonly rootfs: string;
  /** The container's, where it is up and has one: the root with all that is mounted in it. */
  readonly mntns: string | undefined;
  /** What to mount first, where the container is stopped. */
  readonly overlay: Overlay | undefined;
  /** Nothing that is mounted in it shows. */
  readonly bare: boolean;
  /** Mounts, with all below them, that do not show. */
  readonly without: readonly string[];
  /** Of a stopped one: what is to be seen in it, but for what is only in memory. */
  readonly volumes: readonly PlacedVolume[];
}

/** What the process writes back is its sign that all is mounted. */
const WAIT = 'exec cat';
const BIND_EACH = 'while [ $# -gt 0 ]; do mount -o "$1" "$2" "$3" || exit; shift 3; done';
const MOUNT = `cd -- "$1" && mount -t overlay -o "$2" overlay "$3" && shift 3 && { ${BIND_EACH}; } && ${WAIT}`;
const MOUNT_IN_PLACE = `mount --rbind "$1" "$1" && shift && { ${BIND_EACH}; } && ${WAIT}`;
/** A mount of its own, whose flags can be changed. */
const BIND = `mount "$1" "$2" "$2" && shift 2 && { [ $# = 0 ] || umount --lazy "$@"; } && ${WAIT}`;

/** Words for BIND_EACH; what has its place in a tmpfs is not there now. */
function bindWords(rootfs: string, volumes: readonly PlacedVolume[]): string[] {
  const memory = volumes.filter(({ source }) => source === undefined).map(({ target }) => target);
  return volumes.flatMap(({ volume, source, target, toMake }) => {
    if (source === undefined || toMake || memory.some((dir) => isWithin(target, dir))) return [];
    const readOnly = volume.type !== 'tmpfs' && volume.readOnly;
    // What is mounted in the source would be writable.
    return [readOnly ? 'bind,ro' : 'rbind', source, `${rootfs}${target}`];
  });
}

export function viewArgv({ rootfs, mntns, overlay, bare, without, volumes }: ViewPlan): string[] {
  const argv = [
    ...(mntns === undefined ? [] : ['nsenter', `--mount=${mntns}`]),
    ...['unshare', '--mount', '--propagation', 'private', 'sh', '-c'],
  ];
  if (overlay !== undefined) {
    const { options, cwd = '/' } = overlayOptions(overlay);
    return [...argv, MOUNT, 'sh', cwd, options, rootfs, ...bindWords(rootfs, volumes)];
  }
  if (volumes.length > 0) return [...argv, MOUNT_IN_PLACE, 'sh', rootfs, ...bindWords(rootfs, volumes)];
  return [...argv, BIND, 'sh', bare ? '--bind' : '--rbind', rootfs, ...(bare ? [] : without)];
}

const SEAL = 'while [ $# -gt 0 ]; do mount -o "$1" "$2" || exit; shift 2; done';
const SEALED = 'nosymfollow';

/**
 * From then on the kernel follows no symlink in the process's mounts: where an archiver works in them by paths, nobody
 * inside can lead it out with a symlink that was not there a moment ago. The other options stay: a read-only mount is one.
 */
export function sealArgv(pid: number, mounts: readonly MountPoint[]): string[] {
  const words = mounts.flatMap(({ target, options }) => [`remount,bind,${SEALED},${options}`, target]);
  return ['nsenter', `--mount=/proc/${pid}/ns/mnt`, 'sh', '-c', SEAL, 'sh', ...words];
}

export function isSealed({ options }: MountPoint): boolean {
  return options.split(',').includes(SEALED);
}
