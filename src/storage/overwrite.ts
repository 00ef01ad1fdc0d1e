/**
 * What an archive's members may be written over: docker's rules. A file replaces a file or a symlink, directories are
 * merged, and neither takes the other's place. Nothing is written through a symlink that is there already: who made it may
 * have meant it for that.
 */
import { lstatSync } from 'node:fs';
import { pathAt } from './tree.ts';

export class Overwriting {
  private readonly target: number;
  /** Directories that are there; more are looked up on the way to each member. */
  private readonly directories = new Set<string>();

  /** Descriptor of the directory that members are written into. */
  constructor(target: number) {
    this.target = target;
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
    }
    return undefined;
  }
}
