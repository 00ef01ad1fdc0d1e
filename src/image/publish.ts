/** How an image comes into being: all or nothing, in a private folder in `images/` (see state/staging.ts). */
import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { ConflictError, HostError, MinictError } from '../errors.ts';
import { writeJson } from '../state/json-file.ts';
import { imagePaths, type Roots } from '../state/paths.ts';
import { inNewFolder } from '../state/staging.ts';
import { findImage, type Image, parseImageName } from './store.ts';

/** What fills a new image: gets the empty root folder and the lock's descriptor, which its child processes inherit. */
export type Fill = (rootfs: string, lockFd: number) => Promise<void>;

/** Throws ConflictError where an image of that name is there. */
export async function requireNewName(roots: Roots, name: string, verb: string): Promise<void> {
  if ((await findImage(roots, name)) !== undefined) throw taken(name, verb);
}

function taken(name: string, verb: string): ConflictError {
  return new ConflictError(`cannot ${verb}: image ${name} exists already`, { hint: `minict image rm ${name}` });
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

/**
 * Makes image `name` by `fill`; all or nothing. `verb` is for messages ("import web.tar"), `source` for the record.
 * Throws ConflictError where the name is taken, also by one who was quicker.
 */
export async function publishImage(
  roots: Roots,
  name: string,
  source: string,
  verb: string,
  fill: Fill,
): Promise<Image> {
  const paths = imagePaths(roots, parseImageName(name));
  await requireNewName(roots, name, verb);
  try {
    await inNewFolder(join(roots.root, 'images'), async (folder, lockFd) => {
      mkdirSync(join(folder, 'rootfs'), { mode: 0o755 });
      await fill(join(folder, 'rootfs'), lockFd);
      writeJson(join(folder, 'image.json'), { version: 1, name, source, createdAt: new Date().toISOString() });
      renameSync(folder, paths.dir);
    });
  } catch (error) {
    // rename(2) does not replace a folder that has something in it: another one was quicker.
    if (['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw taken(name, verb);
    throw asKnown(error, verb, roots);
  }
  return { name, rootfs: paths.rootfs };
}
