/**
 * Import of a directory or a tarball. Tarballs are untrusted: a member's header is read and checked before its bytes
 * go on to GNU tar, so the archive is read once, whatever its size, and tar never sees a member that leads out.
 */
import { closeSync, openSync, readdirSync, readSync, realpathSync } from 'node:fs';
import { firstLine, HostError, InvalidInputError } from '../errors.ts';
import { statUserPath } from '../host/user-path.ts';
import type { Roots } from '../state/paths.ts';
import { publishImage } from './publish.ts';
import type { Image } from './store.ts';
import { TarMembers } from './tar-members.ts';

const BLOCK = 512;
const CHUNK_BYTES = 256 << 10;

interface Compression {
  readonly magic: readonly number[];
  readonly argv: readonly string[];
  readonly package: string;
}

const COMPRESSIONS: readonly Compression[] = [
  { magic: [0x1f, 0x8b], argv: ['gzip', '-dc'], package: 'gzip' },
  { magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0], argv: ['xz', '-dc', '-T0'], package: 'xz-utils' },
  { magic: [0x28, 0xb5, 0x2f, 0xfd], argv: ['zstd', '-dcq'], package: 'zstd' },
  { magic: [0x42, 0x5a, 0x68], argv: ['bzip2', '-dc'], package: 'bzip2' },
];

/** Messages in English, names as plain bytes. */
const env = () => ({ ...process.env, LC_ALL: 'C' });

/** By the file's first bytes; undefined for a plain one. */
function compressionOf(fd: number): Compression | undefined {
  const head = Buffer.alloc(8);
  const length = readSync(fd, head, 0, head.length, 0);
  return COMPRESSIONS.find(({ magic }) => magic.length <= length && magic.every((byte, i) => head[i] === byte));
}

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

/** Pieces of what is in a compressed file. Throws where the tool finds it damaged. */
async function* inflatedPiecesOf(fd: number, compression: Compression, tarball: string): AsyncGenerator<Buffer> {
  const name = compression.argv[0] as string;
  if (Bun.which(name) === null) {
    throw new HostError(`cannot import ${tarball}: ${name} not found`, {
      hint: `apt-get install ${compression.package}`,
    });
  }
  const child = Bun.spawn([...compression.argv], { stdio: [fd, 'pipe', 'pipe'], env: env() });
  const complaints = new Response(child.stderr).text();
  try {
    for await (const piece of child.stdout) yield Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    if ((await child.exited) !== 0) {
      const cause = firstLine(await complaints).replace(`${name}: `, '') || `${name} failed`;
      throw new InvalidInputError(`cannot import ${tarball}: it is damaged or truncated (${name}: ${cause})`);
    }
  } finally {
    child.kill('SIGKILL');
    await child.exited;
  }
}

/** What tar said, without the lines that only sum up. A full disk comes first: the rest follows from it. */
function causeOf(complaints: string): string {
  const lines = complaints.split('\n').map((line) => line.replace(/^tar: /, ''));
  // A write that the disk takes only in part is the same, said in tar's words.
  const full = lines.some((line) => /No space left on device|: Wrote only \d+ of/.test(line));
  return full ? 'No space left on device' : (lines[0] ?? '');
}

async function unpack(tarball: string, dir: string, lockFd: number): Promise<void> {
  const fd = openSync(tarball, 'r');
  const tar = Bun.spawn(
    [
      ...['tar', '--extract', '--file=-', '--directory', dir, '--numeric-owner', '--same-owner'],
      ...['--preserve-permissions', '--delay-directory-restore', '--acls', '--xattrs', '--xattrs-include=*'],
      // Those are overlayfs's own: in a lower layer they would hide or redirect files.
      '--xattrs-exclude=trusted.overlay.*',
    ],
    { stdio: ['pipe', 'ignore', 'pipe', lockFd], env: env() },
  );
  const complaints = new Response(tar.stderr as ReadableStream).text();
  const sink = tar.stdin as Bun.FileSink;
  try {
    const compression = compressionOf(fd);
    const members = new TarMembers(tarball);
    let tarEnded = false;
    const feed = async (bytes: Uint8Array) => {
      try {
        sink.write(bytes);
        await sink.flush();
      } catch {
        // It closed its stdin: its exit status and its words tell why.
        tarEnded = true;
      }
    };
    for await (const piece of compression ? inflatedPiecesOf(fd, compression, tarball) : piecesOf(fd)) {
      const taken = members.push(piece);
      if (taken > 0) await feed(piece.subarray(0, taken));
      if (tarEnded) break;
    }
    if (!tarEnded) {
      members.finish();
      await feed(new Uint8Array(BLOCK));
    }
    await Promise.resolve(sink.end()).catch(() => {});
    if ((await tar.exited) !== 0) {
      throw new InvalidInputError(`cannot import ${tarball}: ${causeOf(await complaints) || 'tar failed'}`);
    }
  } finally {
    // Nothing may write into the folder any more when it is removed.
    tar.kill('SIGKILL');
    await tar.exited;
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
  return publishImage(roots, name, realpathSync(source), `import ${source}`, (rootfs, lockFd) =>
    stat.isFile() ? unpack(source, rootfs, lockFd) : copyTree(source, rootfs, lockFd),
  );
}
