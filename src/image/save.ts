/** An image as one file, which `docker load` and `podman load` take. */
import { chmodSync, existsSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { InvalidInputError } from '../errors.ts';
import { isTerminal } from '../host/exec-calls.ts';
import { statUserPath } from '../host/user-path.ts';
import type { Roots } from '../state/paths.ts';
import { nameOf, readCatalog } from './catalog.ts';
import { copyFile } from './copy-file.ts';
import { shownName } from './reference.ts';
import { sendImage } from './skopeo.ts';
import { withStaging } from './staging.ts';
import { getEntry } from './store.ts';

const FORMATS = ['docker-archive', 'oci-archive'] as const;

/** Puts a file to the user's path, where half of one is never seen; a pipe or a device gets what is in it. */
async function deliver(verb: string, file: string, output: string, lockFd: number): Promise<void> {
  const path = existsSync(output) ? realpathSync(output) : output;
  if (existsSync(path) && !statSync(path).isFile()) return copyFile(verb, file, path, lockFd);
  chmodSync(file, 0o666 & ~process.umask());
  try {
    return renameSync(file, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
  }
  const beside = join(dirname(path), `.${basename(path)}.${process.pid}.minict`);
  try {
    await copyFile(verb, file, beside, lockFd);
    renameSync(beside, path);
  } finally {
    rmSync(beside, { force: true });
  }
}

/** docker's grammar is a narrower one (distribution, reference.go). */
const DOCKER_NAME = /^[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*:/;

function requireDockerName(name: string | undefined, verb: string): void {
  if (name === undefined || DOCKER_NAME.test(name)) return;
  throw new InvalidInputError(`cannot ${verb}: docker takes no such name`, {
    hint: `minict image tag ${shownName(name)} NAME, in lower case`,
  });
}

/** Throws InvalidInputError, NotFoundError where the file cannot be there. */
function requireOutput(output: string | undefined, verb: string): void {
  if (output === undefined) {
    if (!isTerminal(1)) return;
    throw new InvalidInputError(`cannot ${verb}: standard output is a terminal`, { hint: '-o FILE' });
  }
  if (
    !statUserPath(dirname(output), `${verb} to ${output}`).isDirectory() ||
    statSync(output, { throwIfNoEntry: false })?.isDirectory()
  ) {
    throw new InvalidInputError(`cannot ${verb} to ${output}: not the name of a file`);
  }
}

/**
 * To a file, or to standard output; by way of the staging folder, so that no odd path gets to skopeo. Throws
 * InvalidInputError, NotFoundError, HostError.
 */
export async function saveImage(roots: Roots, ref: string, output: string | undefined, format: string): Promise<void> {
  const verb = `save ${ref}`;
  if (!(FORMATS as readonly string[]).includes(format)) {
    throw new InvalidInputError(`cannot use --format ${format}: ${FORMATS.join(' or ')}`);
  }
  requireOutput(output, verb);
  const entry = getEntry(await readCatalog(roots), ref, verb);
  const name = nameOf(entry);
  requireDockerName(name, verb);
  await withStaging(roots, verb, async (staging) => {
    const archive = join(staging.dir, 'archive.tar');
    await sendImage(staging, verb, entry, `${format}:${archive}${name === undefined ? '' : `:${name}`}`, {});
    if (output === undefined) await copyFile(verb, archive, '-', staging.lockFd);
    else await deliver(verb, archive, output, staging.lockFd);
  });
}
