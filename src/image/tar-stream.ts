/** A tar of plain files that is written, or read, one member after the other: nothing of it is held but a piece. */
import { writeSync } from 'node:fs';
import { HostError, InvalidInputError } from '../errors.ts';
import { BLOCK, type FileHeader, memberHeader, paddingOf, parseFileHeader } from './tar-header.ts';

/** What a member's content has to be. */
interface Content {
  readonly digest: string;
  readonly size: number;
}

export class TarWriter {
  private readonly fd: number;
  private readonly verb: string;

  /** `verb` is for messages: `save web1`. */
  constructor(fd: number, verb: string) {
    this.fd = fd;
    this.verb = verb;
  }

  /** Throws HostError where the content is not what is said of it, or nobody reads it any more. */
  async add(name: string, { size, digest }: Content, pieces: AsyncIterable<Buffer>): Promise<void> {
    await this.write(memberHeader(name, '0', size));
    const hasher = new Bun.CryptoHasher('sha256');
    let left = size;
    for await (const piece of pieces) {
      left -= piece.length;
      if (left < 0) break;
      hasher.update(piece);
      await this.write(piece);
    }
    if (left !== 0 || `sha256:${hasher.digest('hex')}` !== digest) {
      throw new HostError(`cannot ${this.verb}: ${name} is damaged, or changed while it was read`);
    }
    await this.write(Buffer.alloc(paddingOf(size)));
  }

  async addText(name: string, text: string): Promise<void> {
    const content = Buffer.from(text);
    await this.write(memberHeader(name, '0', content.length));
    await this.write(content);
    await this.write(Buffer.alloc(paddingOf(content.length)));
  }

  async end(): Promise<void> {
    await this.write(Buffer.alloc(2 * BLOCK));
  }

  private async write(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      try {
        at += writeSync(this.fd, bytes, at);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EPIPE') throw new HostError(`cannot ${this.verb}: who reads it has ended`);
        if (code === 'ENOSPC')
          throw new HostError(`cannot ${this.verb}: no space left where it goes`, { hint: 'df -h' });
        if (code !== 'EAGAIN') throw error;
        await Bun.sleep(1);
      }
    }
  }
}

export class TarReader {
  private readonly pieces: AsyncIterator<Buffer>;
  private readonly verb: string;
  private held: Buffer = Buffer.alloc(0);
  /** Bytes of the present member that nobody has read yet, and of its padding. */
  private left = 0;
  private padding = 0;
  private hasBegun = false;

  constructor(pieces: AsyncIterable<Buffer>, verb: string) {
    this.pieces = pieces[Symbol.asyncIterator]();
    this.verb = verb;
  }

  /** The next member, wherever the one before was left; undefined at the end. Throws InvalidInputError. */
  async next(): Promise<FileHeader | undefined> {
    for await (const _ of this.content()) undefined;
    const padding = this.padding;
    this.padding = 0;
    await this.take(padding);
    const block = await this.take(BLOCK);
    if (block.every((byte) => byte === 0)) return undefined;
    const header = parseFileHeader(block);
    if (header === undefined)
      throw new InvalidInputError(`cannot ${this.verb}: it is damaged, or not of minict's making`);
    this.left = header.size;
    this.padding = paddingOf(header.size);
    return header;
  }

  /** Of the present member, as much of it as is left. A piece is to be used before the next one is asked for. */
  async *content(): AsyncGenerator<Buffer> {
    while (this.left > 0) {
      const piece = await this.piece(this.left);
      this.left -= piece.length;
      yield piece;
    }
  }

  /** All of the present member as text. Throws InvalidInputError where it is longer than `maxBytes`. */
  async text(maxBytes: number): Promise<string> {
    if (this.left > maxBytes) throw new InvalidInputError(`cannot ${this.verb}: a document in it is beyond any use`);
    const length = this.left;
    this.left = 0;
    return (await this.take(length)).toString('utf8');
  }

  /** Lets go of where it comes from. */
  async close(): Promise<void> {
    await this.pieces.return?.();
  }

  private async take(length: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (let left = length; left > 0; ) {
      const piece = await this.piece(left);
      // A copy: the stream may use its buffer again.
      pieces.push(Buffer.from(piece));
      left -= piece.length;
    }
    return Buffer.concat(pieces);
  }

  private async piece(maxBytes: number): Promise<Buffer> {
    while (this.held.length === 0) {
      const { done, value } = await this.pieces.next();
      if (done)
        throw new InvalidInputError(`cannot ${this.verb}: ${this.hasBegun ? 'it is truncated' : 'nothing came'}`);
      this.held = value;
      this.hasBegun ||= value.length > 0;
    }
    const piece = this.held.subarray(0, maxBytes);
    this.held = this.held.subarray(piece.length);
    return piece;
  }
}
