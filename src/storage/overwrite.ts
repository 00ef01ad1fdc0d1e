/**
 * What an archive's members may be written over: docker's rules. A file replaces a file or a symlink, directories are
 * merged, and neither takes the other's place. Nothing is written through a symlink that is there already: who made it may
 * have meant it for that. A file that is mounted is not replaced: the kernel lets a process of another mount namespace
 * unlink what is under it, and then takes the mount away wherever it is (rename(2) and unlink(2) since Linux 3.18).
 */
import { lstatSync } from 'node:fs';
import { pathAt, pathOf } from './tree.ts';

export class Overwriting {
  private readonly target: number;
  private readonly mountPoints: ReadonlySet<string>;
  /** Directories that are there; more are looked up on the way to each member. */
  private readonly directories = new Set<string>();

  /** Descriptor of the directory that members are written into; paths of mounts, as that one's is told. */
  constructor(target: number, mountPoints: ReadonlySet<string>) {
    this.target = target;
    this.mountPoints = mountPoints;
  }

  /** Why a member may not be written, as a phrase that follows its name. */
  refusal(name: string, isDirectory: boolean): string | undefined {
    const parts = name.split('/').filter((part) => part !== '' && part !== '.');
    for (let depth = 1; depth <= parts.length; depth += 1) {
      const path = parts.slice(0, depth).join('/');
      const isLast = depth === parts.length;
      if (this.directories.has(path)) {
        if (isLast && !isDirectory) return 'would overwrite a directory with a non-directory';
        continue;
      }
      const stat = lstatSync(pathAt(this.target, path), { throwIfNoEntry: false });
      if (stat === undefined) return undefined;
      if (stat.isDirectory()) {
        this.directories.add(path);
        if (isLast && !isDirectory) return 'would overwrite a directory with a non-directory';
      } else if (!isLast) {
        return stat.isSymbolicLink()
          ? 'would be written through a symlink that is there'
          : 'would overwrite a non-directory with a directory';
      } else if (isDirectory) return 'would overwrite a non-directory with a directory';
      else if (this.mountPoints.has(`${pathOf(this.target)}/${path}`)) return 'would overwrite what is mounted there';
    }
    return undefined;
  }
}
