/**
 * Unpacks a tar stream into a directory. It is untrusted: a member's header is read and checked before its bytes go on to
 * GNU tar, so the archive is read once, whatever its size, and tar never sees a member that leads out. Whiteouts of the
 * OCI layer format become overlayfs's afterwards.
 */
import { lstatSync, readSync, unlinkSync } from 'node:fs';
import { firstLine, HostError, InvalidInputError } from '../errors.ts';
import { makeWhiteout, setTimes, writeXattr } from '../host/syscalls.ts';
import { TarMembers } from './tar-members.ts';

const BLOCK = 512;
const CHUNK_BYTES = 256 << 10;

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
    const length = readSync(fd, buffer, 0, buffer.length, null);
    if (length === 0) return;
    yield buffer.subarray(0, length);
  }
}

/** Pieces of what is in a compressed file. Throws where the tool finds it damaged. `verb` is for messages. */
export async function* inflatedPiecesOf(fd: number, compression: Compression, verb: string): AsyncGenerator<Buffer> {
  const name = compression.argv[0] as string;
  if (Bun.which(name) === null) {
    throw new HostError(`cannot ${verb}: ${name} not found`, {
      hint: `apt-get install ${compression.package}`,
    });
  }
  const child = Bun.spawn([...compression.argv], { stdio: [fd, 'pipe', 'pipe'], env: env() });
  const complaints = new Response(child.stderr).text();
  try {
    for await (const piece of child.stdout) yield Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    if ((await child.exited) !== 0) {
      const cause = firstLine(await complaints).replace(`${name}: `, '') || `${name} failed`;
      throw new InvalidInputError(`cannot ${verb}: it is damaged or truncated (${name}: ${cause})`);
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

export interface UnpackOptions {
  /** For messages: `import web.tar`. */
  readonly verb: string;
  /** An empty directory. */
  readonly dir: string;
  /** Descriptor of a lock that tar holds as long as it writes. */
  readonly lockFd: number;
  /** A layer may be empty. */
  readonly isLayer: boolean;
  /** Gets each piece as it comes. */
  readonly tap: (piece: Buffer) => void;
}

/** A running GNU tar that unpacks what it is fed. */
class Unpacking {
  private readonly verb: string;
  private readonly dir: string;
  private readonly members: TarMembers;
  private readonly tar;
  private readonly complaints: Promise<string>;
  private tarEnded = false;

  constructor({ verb, dir, lockFd, isLayer }: UnpackOptions) {
    this.verb = verb;
    this.dir = dir;
    this.members = new TarMembers(verb, isLayer);
    this.tar = Bun.spawn(
      [
        ...['tar', '--extract', '--file=-', '--directory', dir, '--numeric-owner', '--same-owner'],
        ...['--preserve-permissions', '--delay-directory-restore', '--acls', '--xattrs', '--xattrs-include=*'],
        // Those are overlayfs's own: in a lower layer they would hide or redirect files.
        '--xattrs-exclude=trusted.overlay.*',
      ],
      { stdio: ['pipe', 'ignore', 'pipe', lockFd], env: env() },
    );
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

  /** Throws InvalidInputError for a bad member; then `abandon` is to follow. */
  async push(piece: Buffer): Promise<void> {
    const taken = this.members.push(piece);
    if (taken > 0 && !this.tarEnded) await this.feed(piece.subarray(0, taken));
  }

  /** Returns the folders without a member. Throws InvalidInputError where the archive stops early, or tar failed. */
  async finish(): Promise<readonly string[]> {
    if (!this.tarEnded) {
      this.members.finish();
      await this.feed(new Uint8Array(BLOCK));
    }
    await Promise.resolve((this.tar.stdin as Bun.FileSink).end()).catch(() => {});
    if ((await this.tar.exited) !== 0) {
      throw new InvalidInputError(`cannot ${this.verb}: ${causeOf(await this.complaints) || 'tar failed'}`);
    }
    for (const path of this.members.whiteouts) whiteOut(this.dir, path);
    return this.members.impliedFolders;
  }

  /** Nothing writes into the folder any more when it has returned; after `finish` it does nothing. */
  async abandon(): Promise<void> {
    this.tar.kill('SIGKILL');
    await this.tar.exited;
  }
}

/** Unpacks all of `pieces`. Returns the folders without a member, as byte strings. Throws InvalidInputError, HostError. */
export async function unpackPieces(pieces: AsyncIterable<Buffer>, options: UnpackOptions): Promise<readonly string[]> {
  const unpacking = new Unpacking(options);
  try {
    for await (const piece of pieces) {
      options.tap(piece);
      await unpacking.push(piece);
    }
    return await unpacking.finish();
  } finally {
    await unpacking.abandon();
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
