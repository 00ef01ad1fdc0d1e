/** overlay: the image's layers, read-only, under a directory of the container's own. Nothing is copied. */
import { statfsSync } from 'node:fs';
import { join } from 'node:path';
import { HostError } from '../errors.ts';
import type { Command } from '../step.ts';
import type { StorageDriver } from './driver.ts';
import { checkLayers, overlayOptions } from './overlay-options.ts';

/** f_type of statfs(2), from linux/magic.h. */
export const OVERLAYFS = 0x794c7630;
const NFS = 0x6969;

/** Throws HostError where an overlay's upper directory cannot be. */
export function checkUpper(dir: string): void {
  const type = statfsSync(dir).type;
  if (type === OVERLAYFS || type === NFS) {
    const name = type === NFS ? 'NFS' : 'overlayfs';
    throw new HostError(`cannot put containers into ${dir}: an overlay's upper directory does not work on ${name}`, {
      hint: '--storage copy works there; or name a folder on ext4, xfs, btrfs or tmpfs with --root DIR',
    });
  }
}

/** What the kernel leaves beside a volatile overlay is in it, and keeps it from mounting that again. */
export function markFolder(work: string): string {
  return join(work, 'work', 'incompat');
}

function removeMarks(work: string): Command[] {
  const incompat = markFolder(work);
  return [
    { kind: 'unlink', path: `${incompat}/volatile/dirty` },
    { kind: 'rmdir', path: `${incompat}/volatile` },
    { kind: 'rmdir', path: incompat },
  ];
}

export const overlay: StorageDriver = {
  validate(layers, dir) {
    checkUpper(dir);
    checkLayers(layers, dir);
  },
  folders: ({ upper, work, rootfs }) => [upper, work, rootfs],
  rootMount: ({ upper, work }, layers, { readOnly = false, volatile = false, isMarked = false }) => {
    const isVolatile = volatile && !readOnly;
    const { options, ...cwd } = overlayOptions({ lower: layers, upper, work, volatile: isVolatile });
    return {
      why: readOnly ? 'the image, read-only' : 'the image, read-only, under a layer of its own',
      source: 'overlay',
      fstype: 'overlay',
      options: readOnly ? `ro,${options}` : options,
      ...cwd,
      ...(isMarked ? { before: { kind: 'run', argv: ['rm', '-rf', '--', markFolder(work)] } } : {}),
      ...(isVolatile ? { after: removeMarks(work) } : {}),
    };
  },
};
