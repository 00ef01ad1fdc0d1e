/** Where blobs and layers come into being: a private folder in `images/`, from which they are renamed into their place. */
import { HostError, MinictError } from '../errors.ts';
import { lockImageFiles } from '../state/locks.ts';
import { imagePaths, type Roots } from '../state/paths.ts';
import { inNewFolder, removeStaleFolders } from '../state/staging.ts';

export interface Staging {
  readonly roots: Roots;
  readonly dir: string;
  /** Child processes that write into `dir` inherit it. */
  readonly lockFd: number;
}

/** An error of a system call in the user's terms; a full disk by its name. */
function asKnown(error: unknown, verb: string, roots: Roots): unknown {
  if (error instanceof MinictError) {
    return /no space left on device|ENOSPC/i.test(error.message) ? fullDisk(verb, roots) : error;
  }
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === undefined) return error;
  return code === 'ENOSPC' ? fullDisk(verb, roots) : new HostError(`cannot ${verb}: ${message}`, { cause: error });
}

function fullDisk(verb: string, roots: Roots): HostError {
  return new HostError(`cannot ${verb}: no space left on the disk of ${roots.root}`, { hint: `df -h ${roots.root}` });
}

/** What a Ctrl-C or a kill left may be as large as an image. */
function forgetInterrupted(dir: string): void {
  try {
    removeStaleFolders(dir);
  } catch {
    // It stands in nobody's way: `system prune` tries again, and says what hinders it.
  }
}

/**
 * What `make` puts into its place stays, also where no image has it yet: nobody removes it until `make` has ended. The
 * rest of the folder goes, however it ends. `verb` is for messages ("import web.tar").
 */
export async function withStaging<T>(roots: Roots, verb: string, make: (staging: Staging) => Promise<T>): Promise<T> {
  try {
    forgetInterrupted(imagePaths(roots).dir);
    const files = lockImageFiles(roots);
    try {
      return await inNewFolder(imagePaths(roots).dir, (dir, lockFd) => make({ roots, dir, lockFd }));
    } finally {
      files.release();
    }
  } catch (error) {
    throw asKnown(error, verb, roots);
  }
}
