/**
 * The tree that an archive's members make, as far as it takes to see that none leaves it: which paths are folders, by a
 * member of theirs or for what is in them, and which are symlinks. Pure. Symlink targets are data and may point anywhere;
 * what counts is that nothing is written, or hard-linked, through one.
 */

/** Parts of a member's name without a leading slash (tar strips it) and dots; undefined where it has a `..`. */
function partsOf(name: string): string[] | undefined {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  return parts.includes('..') ? undefined : parts;
}

/** Each method returns what is wrong with the member (a phrase; `%` stands for its link's target), or undefined. */
export class TreeCheck {
  private readonly directories = new Set<string>();
  private readonly implied = new Set<string>();
  private readonly symlinks = new Set<string>();

  directory(name: string): string | undefined {
    const parts = partsOf(name);
    if (parts === undefined) return 'leads out by ..';
    const cause = this.throughSymlink(parts, parts.length);
    if (cause !== undefined) return cause;
    this.enter(parts, parts.length);
    this.implied.delete(parts.join('/'));
    return undefined;
  }

  /** Folders without a member of their own, an outer one before those in it; byte strings. */
  get impliedFolders(): string[] {
    return [...this.implied].sort();
  }

  /** Everything that is neither a folder nor a hard link. */
  other(name: string, isSymlink: boolean): string | undefined {
    const parts = partsOf(name);
    if (parts === undefined) return 'leads out by ..';
    const cause = this.place(parts);
    if (cause !== undefined) return cause;
    if (isSymlink) this.symlinks.add(parts.join('/'));
    else this.symlinks.delete(parts.join('/'));
    return undefined;
  }

  hardLink(name: string, target: string): string | undefined {
    const parts = partsOf(name);
    if (parts === undefined) return 'leads out by ..';
    const to = partsOf(target);
    if (to === undefined || to.length === 0) return 'is a hard link to %, which is outside';
    if (this.throughSymlink(to, to.length - 1) !== undefined)
      return 'is a hard link to %, which leads through a symlink';
    const cause = this.place(parts);
    if (cause !== undefined) return cause;
    // A second name of a symlink is a symlink, too.
    if (this.symlinks.has(to.join('/'))) this.symlinks.add(parts.join('/'));
    else this.symlinks.delete(parts.join('/'));
    return undefined;
  }

  private place(parts: readonly string[]): string | undefined {
    if (parts.length === 0) return 'would replace the root folder';
    const cause = this.throughSymlink(parts, parts.length - 1);
    if (cause !== undefined) return cause;
    // tar sets a folder's mode and owner last, by name: they must not meet a symlink there.
    if (this.directories.has(parts.join('/'))) return 'would replace a folder of an earlier member';
    this.enter(parts, parts.length - 1);
    return undefined;
  }

  private throughSymlink(parts: readonly string[], depth: number): string | undefined {
    if (this.symlinks.size === 0) return undefined;
    for (let end = 1; end <= depth; end += 1) {
      const path = parts.slice(0, end).join('/');
      if (this.symlinks.has(path)) return 'would be written through a symlink of an earlier member';
    }
    return undefined;
  }

  /** Folders come into being with what lies in them. */
  private enter(parts: readonly string[], depth: number): void {
    for (let end = depth; end > 0; end -= 1) {
      const path = parts.slice(0, end).join('/');
      if (this.directories.has(path)) return;
      this.directories.add(path);
      this.implied.add(path);
    }
  }
}
