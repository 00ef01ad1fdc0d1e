/** Headers of tar's members that have a name, a size and no owner (pax(1), "ustar Interchange Format"). Pure. */

export const BLOCK = 512;

/** As many bytes follow a content of `size`, up to the end of its last block. */
export function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

/** 11 octal digits, or GNU tar's binary form beyond them. */
function sizeField(size: number): Buffer {
  const field = Buffer.alloc(12);
  if (size < 8 ** 11) field.write(octal(size, 11), 'latin1');
  else {
    field[0] = 0x80;
    field.writeUIntBE(size, 6, 6);
  }
  return field;
}

const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, '0')}\0`;

/** The sum of all bytes, those of the sum itself taken for spaces. */
function sumOf(header: Buffer): number {
  return header.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
}

/** `name` is a byte string (latin1) of 100 at most. */
export function memberHeader(name: string, flag: string, size: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  header.write(name, 0, 100, 'latin1');
  header.write(octal(0o600, 7) + octal(0, 7) + octal(0, 7), 100, 'latin1');
  sizeField(size).copy(header, 124);
  header.write(octal(0, 11), 136, 'latin1');
  header.write(flag, 156, 'latin1');
  header.write('ustar\x0000', 257, 'latin1');
  header.write(`${octal(sumOf(header), 6)} `, 148, 'latin1');
  return header;
}

export interface FileHeader {
  readonly name: string;
  readonly size: number;
}

/** Of a plain file as memberHeader writes it; undefined for whatever else. */
export function parseFileHeader(header: Buffer): FileHeader | undefined {
  const text = (start: number, length: number) =>
    header.toString('latin1', start, start + length).replace(/\0.*$/s, '');
  if (text(257, 6) !== 'ustar' || text(345, 155) !== '' || !['0', ''].includes(text(156, 1))) return undefined;
  if (Number.parseInt(text(148, 8), 8) !== sumOf(header)) return undefined;
  const isBinary = header.readUIntBE(124, 6) === 0x8000_0000_0000;
  if (!isBinary && !/^[0-7]{11}$/.test(text(124, 12))) return undefined;
  return { name: text(0, 100), size: isBinary ? header.readUIntBE(130, 6) : Number.parseInt(text(124, 12), 8) };
}
