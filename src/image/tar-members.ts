/**
 * Reads the member headers of a tar stream (ustar, GNU, pax) and refuses what could write outside the folder it is
 * unpacked into. It reads only headers, and takes whatever GNU tar could understand in another way for damaged: a
 * check is worth nothing where the unpacker sees other names than the checker. Formats: pax(1), tar(5), "Basic Tar
 * Format" in GNU tar's manual.
 */
import { InvalidInputError } from '../errors.ts';
import { TreeCheck } from './tar-tree.ts';

const BLOCK = 512;
/** A path is 4,096 bytes at most and all xattrs of a file 64 KiB per name: a longer text is an attack on memory. */
const MAX_TEXT_BYTES = 8 << 20;
/** Bytes beyond these are only on a hostile tape; sums of them stay exact as a double. */
const MAX_SIZE_BYTES = 2 ** 48;

const GNU_MAGIC = 'ustar  \0';
const POSIX_MAGIC = 'ustar\0';

type State =
  | { readonly want: 'header' }
  | { readonly want: 'text'; readonly flag: string; readonly size: number }
  | { readonly want: 'sparse-map'; readonly dataBytes: number }
  | { readonly want: 'data' }
  | { readonly want: 'nothing' };

/** What extension headers say of the next member; names are byte strings (latin1). */
interface Extension {
  path?: string;
  sparsePath?: string;
  linkPath?: string;
  size?: number;
  fromGnu?: boolean;
  fromPax?: boolean;
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

function cString(block: Buffer, start: number, length: number): string {
  const end = block.indexOf(0, start);
  return block.toString('latin1', start, end < 0 || end > start + length ? start + length : end);
}

/** Bytes of a name for a message: one line, control characters escaped. */
function shown(name: string): string {
  const text = Buffer.from(name, 'latin1').toString('utf8');
  return /^[\p{L}\p{N}\p{P}\p{S} ]+$/u.test(text) && !text.includes('"') ? text : JSON.stringify(text);
}

/** The path, in its plainest form, of a member that is named like a whiteout, or is in one (image-spec, layer.md). */
function whiteoutOf(name: string): string | undefined {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  return parts.some((part) => part.startsWith('.wh.')) ? parts.join('/') : undefined;
}

/** Of a file, with something to take away. */
function isWhiteout(path: string): boolean {
  return /^(?:(?!\.wh\.)[^/]+\/)*\.wh\.(?!\.{0,2}$)[^/]+$/.test(path);
}

export type MemberKind = 'directory' | 'device' | 'other';

/** What else is wrong with a member, as a phrase that follows its name; the name is a byte string (latin1). */
export type MemberCheck = (name: string, kind: MemberKind) => string | undefined;

/** Takes the stream in pieces; `push` throws before bytes of a bad member's header may be handed on. */
export class TarMembers {
  private readonly verb: string;
  private readonly isLayer: boolean;
  private readonly check: MemberCheck | undefined;
  private readonly tree = new TreeCheck();
  private state: State = { want: 'header' };
  /** Bytes of the block or text that is not there in full yet. */
  private held: Buffer[] = [];
  private heldBytes = 0;
  private skipBytes = 0;
  private extension: Extension = {};
  private members = 0;
  /** Paths of files that stand for what a layer takes away; byte strings, without a leading slash or dots. */
  readonly whiteouts: string[] = [];

  /** Folders without a member of their own, an outer one before those in it; byte strings. */
  get impliedFolders(): string[] {
    return this.tree.impliedFolders;
  }

  /**
   * `verb` is for messages (`import web.tar`). A layer may be empty, and need not say where it ends: its digest tells
   * whether all of it is there. What has a `check` is no image's: no name in it is a whiteout.
   */
  constructor(verb: string, isLayer: boolean, check?: MemberCheck) {
    this.verb = verb;
    this.isLayer = isLayer;
    this.check = check;
  }

  /** Returns how many of these bytes belong to the archive: less than all once its end has come. */
  push(chunk: Buffer): number {
    let at = 0;
    while (at < chunk.length && this.state.want !== 'nothing') {
      if (this.skipBytes > 0) {
        const skipped = Math.min(this.skipBytes, chunk.length - at);
        this.skipBytes -= skipped;
        at += skipped;
        if (this.skipBytes === 0 && this.state.want === 'data') this.state = { want: 'header' };
        continue;
      }
      const wanted = this.state.want === 'text' ? padded(this.state.size) : BLOCK;
      const piece = chunk.subarray(at, at + wanted - this.heldBytes);
      at += piece.length;
      // A copy: the stream may use its buffer again.
      this.held.push(this.heldBytes + piece.length < wanted ? Buffer.from(piece) : piece);
      this.heldBytes += piece.length;
      if (this.heldBytes < wanted) break;
      const block = this.held.length === 1 ? (this.held[0] as Buffer) : Buffer.concat(this.held);
      this.held = [];
      this.heldBytes = 0;
      this.take(block);
    }
    return at;
  }

  /** To be called when the stream is over. Throws for an archive that stops early or holds nothing. */
  finish(): void {
    const isBetween = this.state.want === 'header' && this.heldBytes === 0 && this.skipBytes === 0;
    const isAtEnd = this.state.want === 'nothing' || (this.isLayer && isBetween && !this.isExtended);
    const isUntouched = this.members === 0 && isBetween && !this.isExtended;
    if (!isAtEnd) throw this.refused(isUntouched ? 'nothing came' : 'it is truncated');
    if (this.members === 0 && !this.isLayer) throw this.refused('the archive is empty');
  }

  /** Headers that belong to the next member have come. */
  private get isExtended(): boolean {
    return Object.keys(this.extension).length > 0;
  }

  private refused(cause: string): InvalidInputError {
    return new InvalidInputError(`cannot ${this.verb}: ${cause}`);
  }

  private damaged(cause: string): InvalidInputError {
    return this.refused(this.members === 0 ? 'no tar archive, or a damaged one' : `it is damaged (${cause})`);
  }

  private take(block: Buffer): void {
    const state = this.state;
    if (state.want === 'text') {
      this.takeText(state.flag, block.subarray(0, state.size));
      this.state = { want: 'header' };
    } else if (state.want === 'sparse-map') {
      if (block[504] === 0) this.data(state.dataBytes);
    } else {
      this.takeHeader(block);
    }
  }

  private data(size: number): void {
    this.skipBytes = padded(size);
    this.state = { want: size > 0 ? 'data' : 'header' };
  }

  private number(block: Buffer, start: number, length: number): number {
    const first = block[start] as number;
    let value = 0;
    if (first === 0x80) {
      for (let i = start + 1; i < start + length; i += 1) value = value * 256 + (block[i] as number);
    } else {
      const digits = /^ *([0-7]*)[ \0]*$/.exec(block.toString('latin1', start, start + length))?.[1];
      if (digits === undefined) throw this.damaged('a number in a header is none');
      value = digits === '' ? 0 : Number.parseInt(digits, 8);
    }
    if (value > MAX_SIZE_BYTES) throw this.damaged('a size beyond any disk');
    return value;
  }

  private checkSum(block: Buffer): void {
    let unsigned = 0;
    let signed = 0;
    for (let i = 0; i < BLOCK; i += 1) {
      const byte = i >= 148 && i < 156 ? 32 : (block[i] as number);
      unsigned += byte;
      // Some old writers summed signed characters.
      signed += byte > 127 ? byte - 256 : byte;
    }
    const sum = this.number(block, 148, 8);
    if (sum !== unsigned && sum !== signed) throw this.damaged('header checksum');
  }

  private takeHeader(block: Buffer): void {
    if (block.every((byte) => byte === 0)) {
      // One is enough for GNU tar to stop, too; two are the rule.
      if (this.isExtended) throw this.refused('it is truncated');
      this.state = { want: 'nothing' };
      return;
    }
    this.checkSum(block);
    const flag = String.fromCharCode(block[156] as number);
    const size = this.number(block, 124, 12);
    if ('LKxXg'.includes(flag)) {
      if (size > MAX_TEXT_BYTES) throw this.damaged('a name beyond any limit');
      if (size === 0) throw this.damaged('an empty extension header');
      this.state = { want: 'text', flag, size };
      return;
    }
    this.takeMember(block, flag, size);
  }

  private takeText(flag: string, text: Buffer): void {
    const extension = this.extension;
    if (flag === 'L' || flag === 'K') {
      extension.fromGnu = true;
      extension[flag === 'L' ? 'path' : 'linkPath'] = cString(text, 0, text.length);
    } else {
      // GNU tar takes the second alone, others merge the two.
      if (flag !== 'g' && extension.fromPax) throw this.damaged('two pax headers for one member');
      if (flag !== 'g') extension.fromPax = true;
      this.takePax(text, flag === 'g');
    }
    if (extension.fromGnu && extension.fromPax) {
      throw this.refused(`member ${shown(extension.path ?? '')} is named twice, by GNU tar's rules and by pax's`);
    }
  }

  /** Records of the form `LENGTH KEY=VALUE\n`, where the length counts all of it. */
  private takePax(text: Buffer, global: boolean): void {
    for (let at = 0; at < text.length; ) {
      const head = /^([1-9]\d{0,7}) ([^=\n]+)=/.exec(text.toString('latin1', at, at + 512));
      const end = at + Number(head?.[1] ?? 0);
      if (head === null || end > text.length || text[end - 1] !== 10 || end - 1 < at + head[0].length) {
        throw this.damaged('pax header');
      }
      const value = text.toString('latin1', at + head[0].length, end - 1);
      this.takeRecord(head[2] as string, value, global);
      at = end;
    }
  }

  private takeRecord(key: string, value: string, global: boolean): void {
    const field = { path: 'path', linkpath: 'linkPath', 'GNU.sparse.name': 'sparsePath' }[key] as
      | 'path'
      | 'linkPath'
      | 'sparsePath'
      | undefined;
    if (field === undefined && key !== 'size') return;
    // One name for all members: nobody means that, and readers differ in what they make of it.
    if (global) throw this.refused(`its global pax header sets ${key} (${shown(value)}) for all members`);
    if (value.includes('\0')) throw this.refused(`member ${shown(value)} has a NUL in its name`);
    if (field !== undefined) this.extension[field] = value;
    else if (/^\d{1,15}$/.test(value) && Number(value) <= MAX_SIZE_BYTES) this.extension.size = Number(value);
    else throw this.damaged('a size in a pax header');
  }

  private takeMember(block: Buffer, flag: string, headerSize: number): void {
    const { path, sparsePath, linkPath, size: paxSize } = this.extension;
    this.extension = {};
    const prefix = block.toString('latin1', 257, 263) === POSIX_MAGIC ? cString(block, 345, 155) : '';
    const ownName = cString(block, 0, 100);
    const name = sparsePath ?? path ?? (prefix === '' ? ownName : `${prefix}/${ownName}`);
    const target = linkPath ?? cString(block, 157, 100);
    const isFile = flag === '0' || flag === '\0' || flag === '7' || flag === 'S';
    // A file by its flag with a slash at its end is a folder: so did archives before 1988 say it.
    const isDirectory = flag === '5' || (isFile && name.endsWith('/'));
    // GNU tar takes a hard link's size for zero, whatever stands there.
    const size = flag === '1' ? 0 : (paxSize ?? headerSize);
    if (!isFile && !'123456'.includes(flag))
      throw this.refused(`member ${shown(name)} is of an unknown kind (${shown(flag)})`);
    if ((!isFile || isDirectory) && size !== 0) throw this.refused(`member ${shown(name)} has content, but is no file`);
    const misplaced = isDirectory
      ? this.tree.directory(name)
      : flag === '1'
        ? this.tree.hardLink(name, target)
        : this.tree.other(name, flag === '2');
    const kind = isDirectory ? 'directory' : '34'.includes(flag) ? 'device' : 'other';
    const cause = misplaced ?? this.check?.(name, kind);
    if (cause !== undefined) throw this.refused(`member ${shown(name)} ${cause.replace('%', () => shown(target))}`);
    const whiteout = this.check === undefined ? whiteoutOf(name) : undefined;
    if (whiteout !== undefined) {
      if (isDirectory || !isWhiteout(whiteout)) {
        throw this.refused(`member ${shown(name)} is a whiteout of nothing that a layer can have`);
      }
      this.whiteouts.push(whiteout);
    }
    this.members += 1;
    if (flag === 'S') {
      if (block.toString('latin1', 257, 265) !== GNU_MAGIC)
        throw this.refused(`member ${shown(name)} is a foreign sparse file`);
      if (block[482] !== 0) {
        this.state = { want: 'sparse-map', dataBytes: size };
        return;
      }
    }
    this.data(size);
  }
}
