/**
 * A program that is nothing but a list of system calls: where no file of an image, not even a loader, is to be needed, or the
 * start of a shell and its tools takes too long. It is a static ELF of some hundred bytes (elf(5)), made here: a loop that
 * takes a call's number and arguments from a table, puts what it returned where a later one may take it from, and goes on with
 * the next, or elsewhere after an error, or after what fork(2) returns to the parent. Pure.
 */
import { HostError } from '../errors.ts';

/** By their numbers on x86-64 and arm64 (asm/unistd.h). */
const SYSCALLS = {
  read: [0, 63],
  write: [1, 64],
  ioctl: [16, 29],
  clone: [56, 220],
  kill: [62, 129],
  fcntl: [72, 25],
  chdir: [80, 49],
  ptrace: [101, 117],
  setsid: [112, 157],
  prctl: [157, 167],
  chroot: [161, 51],
  mount: [165, 40],
  exit_group: [231, 94],
  keyctl: [250, 219],
  openat: [257, 56],
  mknodat: [259, 33],
  unlinkat: [263, 35],
  symlinkat: [266, 36],
  unshare: [272, 97],
  dup3: [292, 24],
  sendfile: [40, 71],
  memfd_create: [319, 279],
  name_to_handle_at: [303, 264],
  open_by_handle_at: [304, 265],
  setns: [308, 268],
  finit_module: [313, 273],
  execveat: [322, 281],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
} as const;

export type Syscall = keyof typeof SYSCALLS;

export interface Call {
  readonly name: Syscall;
  /** A text is a C string; a list is its strings' addresses and 0; a buffer is memory that calls share; `of` is what a call returned, `addressOf` where that is. */
  readonly args: readonly (
    | number
    | string
    | Buffer
    | readonly string[]
    | { readonly of: number }
    | { readonly addressOf: number }
  )[];
  /** Index of the call that comes next after an error, in place of the following one. */
  readonly onError?: number;
  /** The same after a result above 0. */
  readonly onPositive?: number;
}

const BASE = 0x400000;
const ELF_HEADER_BYTES = 64;
const PROGRAM_HEADER_BYTES = 56;
const WORD = 8;
/** What a call returned, in a report. */
export const RESULT_BYTES = WORD;
const ARGS = 6;
/** A call: its number, where its arguments are, where its result goes, what comes next after an error and above 0. */
const ENTRY_BYTES = (1 + ARGS + 1 + 2) * WORD;

interface Machine {
  /** Of SYSCALLS. */
  readonly column: 0 | 1;
  /** e_machine. */
  readonly elf: number;
  /** The loop, over the table at an address. */
  readonly code: (table: number) => Buffer;
}

const MACHINES: Readonly<Record<string, Machine>> = {
  x64: {
    column: 0,
    elf: 62,
    code: (table) => {
      const start = Buffer.from('bb00000000', 'hex'); // mov ebx, table
      start.writeUInt32LE(table, 1);
      const loop = [
        ...['488b7b08', '488b3f'], // mov rdi, [rbx+8]; mov rdi, [rdi]
        ...['488b7310', '488b36'], // rsi
        ...['488b5318', '488b12'], // rdx
        ...['4c8b5320', '4d8b12'], // r10
        ...['4c8b4328', '4d8b00'], // r8
        ...['4c8b4b30', '4d8b09'], // r9
        ...['488b03', '0f05'], // mov rax, [rbx]; syscall
        ...['488b4b38', '488901'], // mov rcx, [rbx+56]; mov [rcx], rax
        ...['488b4b40', '488b5348'], // mov rcx, [rbx+64]; mov rdx, [rbx+72]
        ...['4883c350', '4885c0'], // add rbx, 80; test rax, rax
        ...['480f48d9', '480f4fda'], // cmovs rbx, rcx; cmovg rbx, rdx
      ].join('');
      const back = Buffer.from('eb00', 'hex'); // jmp loop
      back.writeInt8(-(loop.length / 2 + 2), 1);
      return Buffer.concat([start, Buffer.from(loop, 'hex'), back]);
    },
  },
  arm64: {
    column: 1,
    elf: 183,
    code: (table) => {
      const ldr = (to: number, base: number, offset: number) => 0xf9400000 | ((offset / WORD) << 10) | (base << 5) | to;
      const loop = [
        ...Array.from({ length: ARGS }, (_, i) => [ldr(i, 19, (i + 1) * WORD), ldr(i, i, 0)]).flat(),
        ldr(8, 19, 0), // x8: the number
        0xd4000001, // svc #0
        ldr(9, 19, (ARGS + 1) * WORD),
        0xf9000120, // str x0, [x9]
        ldr(9, 19, (ARGS + 2) * WORD),
        ldr(10, 19, (ARGS + 3) * WORD),
        0x91000000 | (ENTRY_BYTES << 10) | (19 << 5) | 19, // add x19, x19, #80
        0xf100001f, // cmp x0, #0
        0x9a800000 | (19 << 16) | (0xb << 12) | (9 << 5) | 19, // csel x19, x9, x19, lt
        0x9a800000 | (19 << 16) | (0xc << 12) | (10 << 5) | 19, // csel x19, x10, x19, gt
      ];
      const words = [
        0xd2800000 | ((table & 0xffff) << 5) | 19, // movz x19, low half
        0xf2a00000 | ((table >>> 16) << 5) | 19, // movk x19, high half
        ...loop,
        0x14000000 | (-loop.length & 0x03ffffff), // b loop
      ];
      const code = Buffer.alloc(words.length * 4);
      for (const [index, word] of words.entries()) code.writeUInt32LE(word >>> 0, index * 4);
      return code;
    },
  },
};

function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

/** Memory behind the table: what is put there once has one address. */
class Memory {
  private readonly pieces: Buffer[] = [];
  private readonly known = new Map<Buffer | string | number, number>();
  private end: number;

  constructor(start: number) {
    this.end = start;
  }

  place(content: Buffer): number {
    const address = this.end;
    // Words are aligned.
    const padded = Buffer.alloc(Math.ceil(content.length / WORD) * WORD);
    content.copy(padded);
    this.pieces.push(padded);
    this.end += padded.length;
    return address;
  }

  private once(key: Buffer | string | number, content: () => Buffer): number {
    const address = this.known.get(key) ?? this.place(content());
    this.known.set(key, address);
    return address;
  }

  /** Address of a word that has a number, or the address of what is put there. */
  wordOf(value: number | string | Buffer | readonly string[]): number {
    if (typeof value === 'object' && !Buffer.isBuffer(value)) {
      const addresses = [...value.map((text) => this.place(cString(text))), 0];
      const list = Buffer.alloc(addresses.length * WORD);
      for (const [i, address] of addresses.entries()) list.writeBigUInt64LE(BigInt(address), i * WORD);
      return this.wordOf(this.place(list));
    }
    if (typeof value === 'number') {
      return this.once(value, () => {
        const word = Buffer.alloc(WORD);
        word.writeBigInt64LE(BigInt(value));
        return word;
      });
    }
    return this.wordOf(this.once(value, () => (typeof value === 'string' ? cString(value) : value)));
  }

  content(): Buffer {
    return Buffer.concat(this.pieces);
  }
}

/** The program, for this machine's kind; it ends with 0 after the last call. Throws HostError where there is none for it. */
export function assemble(calls: readonly Call[]): Buffer {
  const machine = MACHINES[process.arch];
  if (machine === undefined) throw new HostError(`cannot make a program for ${process.arch}: x64 and arm64 only`);
  const headers = ELF_HEADER_BYTES + PROGRAM_HEADER_BYTES;
  const codeBytes = Math.ceil(machine.code(BASE).length / WORD) * WORD;
  const table = BASE + headers + codeBytes;
  const all: readonly Call[] = [...calls, { name: 'exit_group', args: [0] }];
  const memory = new Memory(table + all.length * ENTRY_BYTES);
  const results = all.map(() => memory.place(Buffer.alloc(WORD)));
  const wordOf = (arg: Call['args'][number]) => {
    if (typeof arg === 'object' && 'of' in arg) return results[arg.of] as number;
    return memory.wordOf(typeof arg === 'object' && 'addressOf' in arg ? (results[arg.addressOf] as number) : arg);
  };
  const rows = all.map(({ name, args, onError, onPositive }, index) => {
    const words = Array.from({ length: ARGS }, (_, i) => wordOf(args[i] ?? 0));
    const next = [onError, onPositive].map((other) => table + (other ?? index + 1) * ENTRY_BYTES);
    const bytes = Buffer.alloc(ENTRY_BYTES);
    const entry = [SYSCALLS[name][machine.column], ...words, results[index] as number, ...next];
    for (const [i, word] of entry.entries()) bytes.writeBigUInt64LE(BigInt(word), i * WORD);
    return bytes;
  });
  const code = Buffer.alloc(codeBytes);
  machine.code(table).copy(code);
  const body = Buffer.concat([code, ...rows, memory.content()]);
  return Buffer.concat([elfHeaders(machine.elf, BASE + headers, headers + body.length), body]);
}

/** One segment, all of it, that is read, written and run. */
function elfHeaders(machine: number, entry: number, size: number): Buffer {
  const header = Buffer.alloc(ELF_HEADER_BYTES + PROGRAM_HEADER_BYTES);
  Buffer.from('7f454c46020101', 'hex').copy(header); // 64 bits, little endian, version 1
  header.writeUInt16LE(2, 16); // ET_EXEC
  header.writeUInt16LE(machine, 18);
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt(entry), 24);
  header.writeBigUInt64LE(BigInt(ELF_HEADER_BYTES), 32);
  header.writeUInt16LE(ELF_HEADER_BYTES, 52);
  header.writeUInt16LE(PROGRAM_HEADER_BYTES, 54);
  header.writeUInt16LE(1, 56);
  const program = header.subarray(ELF_HEADER_BYTES);
  program.writeUInt32LE(1, 0); // PT_LOAD
  program.writeUInt32LE(7, 4);
  program.writeBigUInt64LE(BigInt(BASE), 16);
  program.writeBigUInt64LE(BigInt(BASE), 24);
  program.writeBigUInt64LE(BigInt(size), 32);
  program.writeBigUInt64LE(BigInt(size), 40);
  program.writeBigUInt64LE(4096n, 48);
  return header;
}

/** A call that writes what `count` calls returned, from that with the index `from` on. */
export function report(fd: number, from: number, count: number): Call {
  return { name: 'write', args: [fd, { addressOf: from }, count * WORD] };
}

/** What reports have written: a negative number is an errno. */
export function readReport(written: Buffer): number[] {
  return Array.from({ length: Math.floor(written.length / WORD) }, (_, i) => Number(written.readBigInt64LE(i * WORD)));
}

/** Its name in errno(3); undefined for what is no error. */
export function errorName(result: number): string | undefined {
  if (result >= 0) return undefined;
  const names = Object.entries(process.getBuiltinModule('node:os').constants.errno);
  return names.find(([, number]) => number === -result)?.[0] ?? `errno ${-result}`;
}
