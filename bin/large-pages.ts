/**
 * Lays an executable out so that Linux can map it in pages of 2 MiB: each segment is as far from such a boundary in the file
 * as it is in memory (the linker minds 4 KiB only), and the file is written at once. What is written at once is in large
 * pieces in the page cache (Linux 6.16 on ext4; xfs before that). Where it is not, nothing but the place changes.
 */
import { chmodSync, readFileSync, renameSync, writeFileSync } from 'node:fs';

const LARGE = 2 ** 21;
const LOAD = 1;

interface Header {
  readonly at: number;
  readonly size: number;
  readonly count: number;
}

/** A segment of the file: where it was, and where it goes. */
interface Segment {
  readonly from: number;
  readonly size: number;
  readonly to: number;
}

/** Throws where `path` is not an ELF executable of 64 bits, low byte first, with its sections' headers at the end. */
export function alignToLargePages(path: string): void {
  const before = readFileSync(path);
  if (before.readUInt32BE(0) !== 0x7f454c46 || before.readUInt16BE(4) !== 0x0201) throw new Error(`${path}: not ELF`);
  const programs: Header = { at: offsetAt(before, 32), size: before.readUInt16LE(54), count: before.readUInt16LE(56) };
  const sections: Header = { at: offsetAt(before, 40), size: before.readUInt16LE(58), count: before.readUInt16LE(60) };
  const segments = place(before, programs);
  const last = segments.at(-1);
  if (last === undefined || sections.at < last.from + last.size) throw new Error(`${path}: unusual layout`);
  const moved = (offset: number): number => {
    const home = segments.find(({ from, size }) => offset >= from && offset < from + size) ?? last;
    return offset - home.from + home.to;
  };

  const after = Buffer.alloc(moved(before.length));
  for (const { from, size, to } of segments) before.copy(after, to, from, from + size);
  before.copy(after, last.to + last.size, last.from + last.size);
  for (const at of entries(programs)) setOffset(after, at + 8, moved(offsetAt(after, at + 8)));
  setOffset(after, 40, moved(sections.at));
  for (const at of entries({ ...sections, at: moved(sections.at) })) {
    setOffset(after, at + 24, moved(offsetAt(after, at + 24)));
  }

  writeFileSync(`${path}.aligned`, after);
  chmodSync(`${path}.aligned`, 0o755);
  renameSync(`${path}.aligned`, path);
}

function place(file: Buffer, programs: Header): Segment[] {
  const segments: Segment[] = [];
  for (const at of entries(programs).filter((at) => file.readUInt32LE(at) === LOAD)) {
    const previous = segments.at(-1);
    const free = previous === undefined ? 0 : previous.to + previous.size;
    const [from, address, size] = [offsetAt(file, at + 8), offsetAt(file, at + 16), offsetAt(file, at + 32)];
    segments.push({ from, size, to: free + ((address - (free % LARGE) + LARGE) % LARGE) });
  }
  return segments;
}

function entries({ at, size, count }: Header): number[] {
  return Array.from({ length: count }, (_, index) => at + index * size);
}

const offsetAt = (file: Buffer, at: number): number => Number(file.readBigUInt64LE(at));
const setOffset = (file: Buffer, at: number, offset: number) => file.writeBigUInt64LE(BigInt(offset), at);
