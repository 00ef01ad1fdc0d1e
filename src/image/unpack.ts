/**
 * Unpacks a tar stream into a directory. It is untrusted: a member's header is read and checked before its bytes go on to
 * GNU tar, so the archive is read once, whatever its size, and tar never sees a member that leads out. Whiteouts of the
 * OCI layer format become overlayfs's afterwards.
 */
import { closeSync, lstatSync, openSync, readSync, unlinkSync } from 'node:fs';
import { firstLine, HostError, InvalidInputError } from '../errors.ts';
import { makeWhiteout, setTimes, writeXattr } from '../host/syscalls.ts';
import { TarMembers } from './tar-members.ts';
import { TarSink } from './tar-sink.ts';

const CHUNK_BYTES = 256 << 10;
/** Enough to know a compression by. */
const HEAD_BYTES = 8;

export interface Compression {
  readonly name: string;
  readonly magic: readonly number[];
  readonly argv: readonly string[];
  readonly package: string;
}

const COMPRESSIONS: readonly Compression[] = [
  { name: 'gzip', magic: [0x1f, 0x8b], argv: ['gzip', '-dc'], package: 'gzip' },
  { name: 'xz', magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0], argv: ['xz', '-dc', '-T0'], package: 'xz-utils' },
  { name: 'zstd', magic: [0x28, 0xb5, 0x2f, 0xfd], argv: ['zstd', '-dcq'], package: 'zstd' },
  { name: 'bzip2', magic: [0x42, 0x5a, 0x68], argv: ['bzip2', '-dc'], package: 'bzip2' },
];

/** Messages in English, names as plain bytes. */
const env = () => ({ ...process.env, LC_ALL: 'C' });

/** By the first bytes; undefined for a plain one. */
export function compressionOf(head: Buffer): Compression | undefined {
  return COMPRESSIONS.find(({ magic }) => magic.length <= head.length && magic.every((byte, i) => head[i] === byte));
}

/** The same of a file: what a media type says of a layer is not always so (skopeo takes it from docker's archives as it is). */
export function compressionOfFile(path: string): Compression | undefined {
  const head = Buffer.alloc(8);
  const fd = openSync(path, 'r');
  try {
    return compressionOf(head.subarray(0, readSync(fd, head)));
  } finally {
    closeSync(fd);
  }
}

/** Pieces of a file or a pipe. Its buffer is used again: a consumer must be done with a piece before it asks for the next. */
export async function* piecesOf(fd: number): AsyncGenerator<Buffer> {
  const buffer = Buffer.alloc(CHUNK_BYTES);
  for (;;) {
    const length = readNow(fd, buffer);
    if (length === 0) return;
    if (length === undefined) await Bun.sleep(1);
    else yield buffer.subarray(0, length);
  }
}

/** Undefined where whoever made the pipe wants nobody to wait in it, and nothing is there yet. */
function readNow(fd: number, buffer: Buffer): number | undefined {
  try {
    return readSync(fd, buffer, 0, buffer.length, null);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    return undefined;
  }
}

/**
 * Pieces of what is in a compressed file, or in compressed pieces. Throws where the tool finds it damaged. `verb` is for
 * messages.
 */
export async function* inflatedPiecesOf(
  input: number | AsyncIterable<Buffer>,
  compression: Compression,
  verb: string,
): AsyncGenerator<Buffer> {
  const name = compression.argv[0] as string;
  if (Bun.which(name) === null) {
    throw new HostError(`cannot ${verb}: ${name} not found`, {
      hint: `apt-get install ${compression.package}`,
    });
  }
  const stdin = typeof input === 'number' ? input : 'pipe';
  const child = Bun.spawn([...compression.argv], { stdio: [stdin, 'pipe', 'pipe'], env: env() });
  const fed = typeof input === 'number' ? undefined : feed(child.stdin as Bun.FileSink, input);
  // Nobody awaits it where the tool has failed by itself.
  fed?.catch(() => {});
  const complaints = new Response(child.stderr).text();
  try {
    for await (const piece of child.stdout) yield Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    if ((await child.exited) !== 0) {
      const cause = firstLine(await complaints).replace(`${name}: `, '') || `${name} failed`;
      throw new InvalidInputError(`cannot ${verb}: it is damaged or truncated (${name}: ${cause})`);
    }
    await fed;
  } finally {
    child.kill('SIGKILL');
    await child.exited;
  }
}

/** A program that has ended before all is read says why by its exit status. */
async function feed(sink: Bun.FileSink, pieces: AsyncIterable<Buffer>): Promise<void> {
  try {
    for await (const piece of pieces) {
      // Either may be the one that finds the pipe broken.
      await Promise.all([sink.write(piece), sink.flush()]);
    }
    await sink.end();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
  }
}

/** The same of what may be compressed or not. */
export async function* plainPiecesOf(pieces: AsyncIterable<Buffer>, verb: string): AsyncGenerator<Buffer> {
  const rest = pieces[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  while (head.length < HEAD_BYTES) {
    const { done, value } = await rest.next();
    if (done) break;
    head = Buffer.concat([head, value]);
  }
  async function* whole(): AsyncGenerator<Buffer> {
    yield head;
    yield* { [Symbol.asyncIterator]: () => rest };
  }
  const compression = compressionOf(head);
  yield* compression === undefined ? whole() : inflatedPiecesOf(whole(), compression, verb);
}

export interface UnpackOptions {
  /** For messages: `import web.tar`. */
  readonly verb: string;
  /** An empty directory. */
  readonly dir: string;
  /** Descriptor of a lock that tar holds as long as it writes. */
  readonly lockFd: number;
  /** A layer may be empty. */
  readonly isLayer: boolean;
  /** It is no part of an image: no name in it is a whiteout, and all attributes are files' own. */
  readonly isPlain?: boolean;
  /** Gets each piece as it comes. */
  readonly tap: (piece: Buffer) => void;
}

const TAR = [
  ...['tar', '--extract', '--file=-', '--numeric-owner', '--same-owner', '--preserve-permissions'],
  ...['--delay-directory-restore', '--acls', '--xattrs', '--xattrs-include=*'],
];
/** Those are overlayfs's own: in a lower layer they would hide or redirect files. */
const WITHOUT_MARKS = '--xattrs-exclude=trusted.overlay.*';

/** Unpacks all of `pieces`. Returns the folders without a member, as byte strings. Throws InvalidInputError, HostError. */
export async function unpackPieces(pieces: AsyncIterable<Buffer>, options: UnpackOptions): Promise<readonly string[]> {
  const { verb, dir, lockFd, isLayer, isPlain = false, tap } = options;
  const members = new TarMembers(verb, isLayer, isPlain ? () => undefined : undefined);
  const argv = [...TAR, ...(isPlain ? [] : [WITHOUT_MARKS]), '--directory', dir];
  const tar = new TarSink(verb, members, argv, [lockFd]);
  try {
    for await (const piece of pieces) {
      tap(piece);
      await tar.push(piece);
    }
    await tar.finish();
    for (const path of members.whiteouts) whiteOut(dir, path);
    return members.impliedFolders;
  } finally {
    await tar.abandon();
  }
}

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';

/**
 * Makes of the file at `path` (bytes as latin1, its folders checked to be folders) what overlayfs does the same with: it
 * hides its namesake of lower layers, or all that they have in its folder (image-spec, layer.md).
 */
function whiteOut(dir: string, path: string): void {
  const at = (name: string) => Buffer.concat([Buffer.from(`${dir}/`), Buffer.from(name, 'latin1')]);
  const slash = path.lastIndexOf('/') + 1;
  const [folder, name] = [path.slice(0, slash), path.slice(slash)];
  // Named twice in the archive, it is gone already.
  if (lstatSync(at(path), { throwIfNoEntry: false }) === undefined) return;
  const times = lstatSync(at(folder), { bigint: true });
  unlinkSync(at(path));
  const hidden = at(folder + name.slice(WHITEOUT.length));
  const own = lstatSync(hidden, { throwIfNoEntry: false });
  if (name === OPAQUE) writeXattr(at(folder), 'trusted.overlay.opaque', 'y');
  // Other names of that form are aufs's own, and mean nothing to others.
  else if (name.startsWith(`${WHITEOUT}${WHITEOUT}`)) undefined;
  else if (own === undefined) makeWhiteout(hidden);
  else if (own.isDirectory()) writeXattr(hidden, 'trusted.overlay.opaque', 'y');
  setTimes(at(folder), times);
}
