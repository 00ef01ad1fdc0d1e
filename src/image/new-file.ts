/** A file of the user's that appears when it is whole. */
import { closeSync, constants, fsyncSync, openSync, realpathSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { firstLine, HostError, InvalidInputError } from '../errors.ts';
import { statUserPath } from '../host/user-path.ts';

/** open(2); Node's constants lack it. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

/** A file without a name, which goes with its last descriptor; undefined where the file system has no such files. */
function openNameless(folder: string): number | undefined {
  try {
    return openSync(folder, O_TMPFILE | constants.O_WRONLY, 0o600);
  } catch (error) {
    if (['EOPNOTSUPP', 'EISDIR', 'EINVAL'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

/** ln(1) replaces what has the name in one go. */
async function giveName(fd: number, path: string, verb: string): Promise<void> {
  fsyncSync(fd);
  const ln = Bun.spawn(['ln', '--force', '--logical', '--no-target-directory', '--', '/proc/self/fd/3', path], {
    stdio: ['ignore', 'ignore', 'pipe', fd],
    env: { ...process.env, LC_ALL: 'C' },
  });
  const complaint = firstLine(await new Response(ln.stderr as ReadableStream).text());
  if ((await ln.exited) !== 0) throw new HostError(`cannot ${verb}: ${complaint.replace('ln: ', '')}`);
}

/**
 * What `write` writes becomes the file `path`, in place of one that is there; what fails or is killed leaves none. A device
 * or a pipe is written as it is. `verb` is for messages: `save web1`. Throws InvalidInputError, NotFoundError, HostError.
 */
export async function writeNewFile<T>(path: string, verb: string, write: (fd: number) => Promise<T>): Promise<T> {
  statUserPath(dirname(path), `${verb} to ${path}`);
  const there = statSync(path, { throwIfNoEntry: false });
  if (there?.isDirectory()) throw new InvalidInputError(`cannot ${verb}: ${path} is a directory`);
  const isPlain = there === undefined || there.isFile();
  const place = there === undefined ? path : realpathSync(path);
  const nameless = isPlain ? openNameless(dirname(place)) : undefined;
  const fd = nameless ?? openSync(place, 'w', 0o600);
  let isWhole = false;
  try {
    const result = await write(fd);
    if (nameless !== undefined) await giveName(fd, place, verb);
    isWhole = true;
    return result;
  } finally {
    closeSync(fd);
    if (!isWhole && isPlain && nameless === undefined) rmSync(place, { force: true });
  }
}
