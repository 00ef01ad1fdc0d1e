/** A running GNU tar that extracts what it is fed: no byte of a member gets to it that has not been looked at. */
import { InvalidInputError } from '../errors.ts';
import type { TarMembers } from './tar-members.ts';

const BLOCK = 512;

/** What tar said, without the lines that only sum up. A full disk comes first: the rest follows from it. */
export function causeOf(complaints: string): string {
  const lines = complaints.split('\n').map((line) => line.replace(/^\S*tar: /, ''));
  // A write that the disk takes only in part is the same, said in tar's words.
  const full = lines.some((line) => /No space left on device|: Wrote only \d+ of/.test(line));
  return full ? 'No space left on device' : (lines[0] ?? '');
}

export class TarSink {
  private readonly verb: string;
  private readonly members: TarMembers;
  private readonly tar;
  private readonly complaints: Promise<string>;
  private tarEnded = false;

  /** `verb` is for messages; `argv` extracts from stdin, `inherited` are its descriptors from 3 on. */
  constructor(verb: string, members: TarMembers, argv: readonly string[], inherited: readonly number[]) {
    this.verb = verb;
    this.members = members;
    this.tar = Bun.spawn([...argv], {
      stdio: ['pipe', 'ignore', 'pipe', ...inherited],
      env: { ...process.env, LC_ALL: 'C' },
    });
    this.complaints = new Response(this.tar.stderr as ReadableStream).text();
  }

  /** It takes no more; `finish` throws why. */
  get hasEnded(): boolean {
    return this.tarEnded;
  }

  private async feed(bytes: Uint8Array): Promise<void> {
    const sink = this.tar.stdin as Bun.FileSink;
    try {
      // Either may be the one that finds the pipe broken.
      await Promise.all([sink.write(bytes), sink.flush()]);
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
