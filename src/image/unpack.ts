/**
 * Unpacks a tar stream into a directory. It is untrusted: a member's header is read and checked before its bytes go on to
 * GNU tar, so the archive is read once, whatever its size, and tar never sees a member that leads out. Whiteouts of the
 * OCI layer format become overlayfs's afterwards.
 */
import { lstatSync, readSync, unlinkSync } from 'node:fs';
import { firstLine, HostError, InvalidInputError } from '../errors.ts';
import { makeWhiteout, setTimes, writeXattr } from '../host/syscalls.ts';
import { type MemberCheck, type MemberKind, TarMembers } from './tar-members.ts';

const BLOCK = 512;
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

export function compressionNamed(name: string): Compression | undefined {
  return COMPRESSIONS.find((compression) => compression.name === name);
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
 * Pieces of what is in a compressed file, or in compressed pieces. `verb` is for messages: `import web.tar`. Throws where
 * the tool finds it damaged.
 */
export async function* inflatedPiecesOf(
  input: number | AsyncIterable<Buffer>,
  compression: Compression,
  verb: string,
): AsyncGenerator<Buffer> {
  const name = compression.argv[0] as string;
  if (Bun.which(name) === null) {
    throw new HostError(`cannot ${verb}: ${name} not found`, { hint: `apt-get install ${compression.package}` });
  }
  const stdin = typeof input === 'number' ? input : 'pipe';
  const child = Bun.spawn([...compression.argv], { stdio: [stdin, 'pipe', 'pipe'], env: env() });
  const fed = typeof input === 'number' ? undefined : feed(child.stdin as Bun.FileSink, input);
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
      sink.write(piece);
      await sink.flush();
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

/** What tar said, without the lines that only sum up. A full disk comes first: the rest follows from it. */
export function causeOf(complaints: string): string {
  const lines = complaints.split('\n').map((line) => line.replace(/^\S*tar: /, ''));
  // A write that the disk takes only in part is the same, said in tar's words.
  const full = lines.some((line) => /No space left on device|: Wrote only \d+ of/.test(line));
  return full ? 'No space left on device' : (lines[0] ?? '');
}

/** A running GNU tar that unpacks what it is fed. */
export class Unpacking {
  private readonly verb: string;
  private readonly members: TarMembers;
  private readonly tar;
  private readonly complaints: Promise<string>;
  private tarEnded = false;

  /** `argv` extracts from stdin; `inherited` are its descriptors from 3 on. */
  constructor(verb: string, argv: readonly string[], inherited: readonly number[], check: MemberCheck) {
    this.verb = verb;
    this.members = new TarMembers(verb, check);
    this.tar = Bun.spawn([...argv], { stdio: ['pipe', 'ignore', 'pipe', ...inherited], env: env() });
    this.complaints = new Response(this.tar.stderr as ReadableStream).text();
  }

  private async feed(bytes: Uint8Array): Promise<void> {
    const sink = this.tar.stdin as Bun.FileSink;
    try {
      sink.write(bytes);
      await sink.flush();
    } catch {
      // It closed its stdin: its exit status and its words tell why.
      this.tarEnded = true;
    }
  }

  /** It takes no more; `finish` throws why. */
  get hasEnded(): boolean {
    return this.tarEnded;
  }

  /** Throws InvalidInputError for a bad member; then `abandon` is to follow. */
  async push(piece: Buffer): Promise<void> {
    const taken = this.members.push(piece);
    if (taken > 0 && !this.tarEnded) await this.feed(piece.subarray(0, taken));
  }

  /** Throws InvalidInputError where the archive stops early, or tar failed. */
  async finish(): Promise<void> {
    if (!this.tarEnded) {
      this.members.finish();
      await this.feed(new Uint8Array(BLOCK));
    }
    await Promise.resolve((this.tar.stdin as Bun.FileSink).end()).catch(() => {});
    if ((await this.tar.exited) !== 0) {
      throw new InvalidInputError(`cannot ${this.verb}: ${causeOf(await this.complaints) || 'tar failed'}`);
    }
  }

  /** Nothing writes into the folder any more when it has returned; after `finish` it does nothing. */
  async abandon(): Promise<void> {
    this.tar.kill('SIGKILL');
    await this.tar.exited;
  }
}

const TAR = [
  ...['tar', '--extract', '--file=-', '--numeric-owner', '--same-owner', '--preserve-permissions'],
  ...['--delay-directory-restore', '--acls', '--xattrs', '--xattrs-include=*'],
  // Those are overlayfs's own: in a lower layer they would hide or redirect files.
  '--xattrs-exclude=trusted.overlay.*',
];

/** Unpacks all of `pieces` as a layer; `tap` gets each as it comes. */
export async function unpackPieces(
  pieces: AsyncIterable<Buffer>,
  archive: string,
  dir: string,
  lockFd: number,
  tap: (piece: Buffer) => void,
): Promise<void> {
  const whiteouts: string[] = [];
  const check = (name: string, kind: MemberKind) => takeWhiteout(whiteouts, name, kind);
  const unpacking = new Unpacking(`import ${archive}`, [...TAR, '--directory', dir], [lockFd], check);
  try {
    for await (const piece of pieces) {
      tap(piece);
      await unpacking.push(piece);
    }
    await unpacking.finish();
    for (const path of whiteouts) whiteOut(dir, path);
  } finally {
    await unpacking.abandon();
  }
}

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';

/**
 * Takes down the path, in its plainest form, of a member that stands for what the layer takes away (image-spec, layer.md).
 * Returns what is wrong with it.
 */
function takeWhiteout(whiteouts: string[], name: string, kind: MemberKind): string | undefined {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  const path = parts.join('/');
  if (!parts.at(-1)?.startsWith(WHITEOUT)) return undefined;
  if (kind === 'directory' || /\/\.wh\.\.{0,2}$/.test(`/${path}`))
    return 'is a whiteout of nothing that a layer can have';
  whiteouts.push(path);
  return undefined;
}

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
