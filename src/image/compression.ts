/** Compressed tarballs: known by their first bytes, inflated by the host's tools. */
import { firstLine, HostError, InvalidInputError } from '../errors.ts';

export interface Compression {
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

export const MAGIC_BYTES = Math.max(...COMPRESSIONS.map(({ magic }) => magic.length));

/** By the first MAGIC_BYTES of a file; undefined for a plain one. */
export function compressionOf(head: Uint8Array): Compression | undefined {
  return COMPRESSIONS.find(({ magic }) => magic.every((byte, i) => head[i] === byte));
}

/**
 * Pieces of what is in a compressed file, given by its descriptor or in pieces. `verb` is for messages. Throws
 * InvalidInputError where the tool finds it damaged, HostError where there is no such tool.
 */
export async function* inflate(
  input: number | AsyncIterable<Uint8Array>,
  compression: Compression,
  verb: string,
): AsyncGenerator<Buffer> {
  const name = compression.argv[0] as string;
  if (Bun.which(name) === null) {
    throw new HostError(`cannot ${verb}: ${name} not found`, { hint: `apt-get install ${compression.package}` });
  }
  const child = Bun.spawn([...compression.argv], {
    stdio: [typeof input === 'number' ? input : 'pipe', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C' },
  });
  const complaints = new Response(child.stderr).text();
  const fed = typeof input === 'number' ? undefined : feed(child.stdin as Bun.FileSink, input);
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

/** A program that ended before all was read says so by its exit status. */
async function feed(sink: Bun.FileSink, pieces: AsyncIterable<Uint8Array>): Promise<void> {
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
export async function* plainPieces(pieces: AsyncIterable<Uint8Array>, verb: string): AsyncGenerator<Buffer> {
  const rest = pieces[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  while (head.length < MAGIC_BYTES) {
    const { done, value } = await rest.next();
    if (done) break;
    head = Buffer.concat([head, value]);
  }
  async function* whole(): AsyncGenerator<Buffer> {
    yield head;
    for await (const piece of { [Symbol.asyncIterator]: () => rest }) {
      yield Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    }
  }
  const compression = compressionOf(head);
  yield* compression === undefined ? whole() : inflate(whole(), compression, verb);
}
