/**
 * Import of a directory or a tarball. Tarballs are untrusted: a member's header is read and checked before its bytes
 * go on to GNU tar, so the archive is read once, whatever its size, and tar never sees a member that leads out.
 */
import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import { firstLine, HostError, InvalidInputError } from '../errors.ts';
import { statUserPath } from '../host/user-path.ts';
import type { Roots } from '../state/paths.ts';
import { compressionOf, inflate, MAGIC_BYTES } from './compression.ts';
import { publishImage } from './publish.ts';
import type { Image } from './store.ts';
import { TarMembers } from './tar-members.ts';
import { feedTar } from './unpack.ts';

const CHUNK_BYTES = 256 << 10;

/** Messages in English, names as plain bytes. */
const env = () => ({ ...process.env, LC_ALL: 'C' });

/** Pieces of a file. Its buffer is used again: a consumer must be done with a piece before it asks for the next. */
async function* piecesOf(fd: number): AsyncGenerator<Buffer> {
  const buffer = Buffer.alloc(CHUNK_BYTES);
  for (let position = 0; ; ) {
    const length = readSync(fd, buffer, 0, buffer.length, position);
    if (length === 0) return;
    position += length;
    yield buffer.subarray(0, length);
  }
}

async function unpack(tarball: string, dir: string, lockFd: number): Promise<void> {
  const verb = `import ${tarball}`;
  const fd = openSync(tarball, 'r');
  try {
    const head = Buffer.alloc(MAGIC_BYTES);
    readSync(fd, head, 0, head.length, 0);
    const compression = compressionOf(head);
    const pieces = compression === undefined ? piecesOf(fd) : inflate(fd, compression, verb);
    const tar = Bun.spawn(
      [
        ...['tar', '--extract', '--file=-', '--directory', dir, '--numeric-owner', '--same-owner'],
        ...['--preserve-permissions', '--delay-directory-restore', '--acls', '--xattrs', '--xattrs-include=*'],
        // Those are overlayfs's own: in a lower layer they would hide or redirect files.
        '--xattrs-exclude=trusted.overlay.*',
      ],
      { stdio: ['pipe', 'ignore', 'pipe', lockFd], env: env() },
    );
    const cause = await feedTar(tar, pieces, new TarMembers(verb));
    if (cause !== undefined) throw new InvalidInputError(`cannot ${verb}: ${cause}`);
  } finally {
    closeSync(fd);
  }
}

async function copyTree(source: string, dir: string, lockFd: number): Promise<void> {
  const child = Bun.spawn(['cp', '-a', '--reflink=auto', '--', `${source}/.`, dir], {
    stdio: ['ignore', 'ignore', 'pipe', lockFd],
    env: env(),
  });
  const complaints = await new Response(child.stderr as ReadableStream).text();
  if ((await child.exited) !== 0) throw new HostError(`cannot import ${source}: ${firstLine(complaints)}`);
}

/** Throws NotFoundError, ConflictError (the name is taken), InvalidInputError (empty, damaged, hostile), HostError. */
export async function importImage(roots: Roots, source: string, name: string): Promise<Image> {
  const stat = statUserPath(source, `import ${source}`);
  if (stat.isDirectory() && readdirSync(source).length === 0) {
    throw new InvalidInputError(`cannot import ${source}: the directory is empty`);
  }
  if (!stat.isDirectory() && !stat.isFile()) {
    throw new InvalidInputError(`cannot import ${source}: neither file nor directory`);
  }
  if (stat.isFile() && stat.size === 0) throw new InvalidInputError(`cannot import ${source}: the file is empty`);
  return publishImage(roots, name, source, `import ${source}`, (rootfs, lockFd) =>
    stat.isFile() ? unpack(source, rootfs, lockFd) : copyTree(source, rootfs, lockFd),
  );
}
