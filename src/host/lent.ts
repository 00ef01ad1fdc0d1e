/** What is lent to a program that must find nothing of its own where it runs: itself, in memory, what it may write to, and a terminal. */
import { dlopen, ptr } from 'bun:ffi';
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { HostError } from '../errors.ts';
import { createMemoryFile } from './syscalls.ts';

/** ioctl_tty(2). */
const TIOCSPTLCK = 0x40045431n;
const TIOCGPTPEER = 0x5441n;
const O_RDWR_NOCTTY = constants.O_RDWR | constants.O_NOCTTY;

function openLibc() {
  return dlopen('libc.so.6', {
    ioctl: { args: ['i32', 'u64', 'u64'], returns: 'i32' },
  }).symbols;
}

/** Descriptor of a file without a name, to be read and executed: one that could be written could not be (execve(2), ETXTBSY). */
export function memoryFile(name: string, content: Buffer): number {
  const written = createMemoryFile(name);
  if (written < 0) throw new HostError('cannot make a file in memory: memfd_create failed');
  try {
    writeSync(written, content);
    return openSync(`/proc/self/fd/${written}`, 'r');
  } finally {
    closeSync(written);
  }
}

/** A file in memory for what a program says. Of a pipe nobody would see the end while another one there keeps it open. */
export interface LentOutput {
  readonly descriptor: number;
  /** The first of it, `most` bytes or fewer. */
  read(most: number): Buffer;
  close(): void;
}

/** Throws HostError. */
export function openOutput(name: string): LentOutput {
  const descriptor = createMemoryFile(name);
  if (descriptor < 0) throw new HostError('cannot make a file in memory: memfd_create failed');
  return {
    descriptor,
    read: (most) => {
      const bytes = Buffer.alloc(most);
      return bytes.subarray(0, readSync(descriptor, bytes, 0, most, 0));
    },
    close: () => closeSync(descriptor),
  };
}

/** A terminal (pty) that nobody sits at. */
export interface LentTerminal {
  /** Descriptor of what programs have as their terminal. */
  readonly terminal: number;
  close(): void;
}

/** Throws HostError. */
export function openTerminal(): LentTerminal {
  const master = openSync('/dev/ptmx', O_RDWR_NOCTTY);
  const unlocked = new Int32Array(1);
  const { ioctl } = openLibc();
  const isUnlocked = ioctl(master, TIOCSPTLCK, BigInt(ptr(unlocked))) === 0;
  const terminal = isUnlocked ? ioctl(master, TIOCGPTPEER, BigInt(O_RDWR_NOCTTY)) : -1;
  if (terminal < 0) {
    closeSync(master);
    throw new HostError('cannot open a terminal: /dev/ptmx gives none');
  }
  return {
    terminal,
    close: () => {
      closeSync(terminal);
      closeSync(master);
    },
  };
}
