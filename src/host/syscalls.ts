/**
 * With exec-calls.ts, lent.ts, namespaces.ts and packet-socket.ts the only use of bun:ffi: system calls that Node's standard
 * modules lack. Never to re-implement a host tool.
 */
import { dlopen, ptr, read } from 'bun:ffi';
import { closeSync } from 'node:fs';
import { HostError } from '../errors.ts';

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 0o2000003;

type Libc = ReturnType<typeof open>;

function open() {
  return dlopen('libc.so.6', {
    syscall: { args: ['i64', 'u64', 'u64', 'u64', 'u64', 'u64'], returns: 'i64' },
    if_nametoindex: { args: ['cstring'], returns: 'u32' },
    socket: { args: ['i32', 'i32', 'i32'], returns: 'i32' },
    send: { args: ['i32', 'ptr', 'u64', 'i32'], returns: 'i64' },
    recv: { args: ['i32', 'ptr', 'u64', 'i32'], returns: 'i64' },
    utimensat: { args: ['i32', 'ptr', 'ptr', 'i32'], returns: 'i32' },
    mknod: { args: ['ptr', 'u32', 'u64'], returns: 'i32' },
    lgetxattr: { args: ['ptr', 'ptr', 'ptr', 'u64'], returns: 'i32' },
    llistxattr: { args: ['ptr', 'ptr', 'u64'], returns: 'i32' },
    lsetxattr: { args: ['ptr', 'ptr', 'ptr', 'u64', 'i32'], returns: 'i32' },
  }).symbols;
}

let libc: Libc | undefined;

function symbols(): Libc {
  libc ??= open();
  return libc;
}

/** Whether this process was told to ignore a signal, as nohup(1) does (rt_sigaction(2)). */
export function isIgnored(signal: number): boolean {
  const SIG_IGN = 1n;
  const number = process.arch === 'arm64' ? 134n : 13n;
  // The kernel's struct: a handler, flags, a restorer, and a mask of eight bytes.
  const now = new BigUint64Array(4);
  return symbols().syscall(number, BigInt(signal), 0n, BigInt(ptr(now)), 8n, 0n) === 0n && now[0] === SIG_IGN;
}

/** Descriptors open at a time. */
const PIDFDS = 256;

/**
 * Sends signals to those of the processes that are `members` (read again) once they are held by a pidfd: a number that
 * was given to another process meanwhile is not in there. Processes that have ended are passed over.
 */
export function signalProcesses(
  pids: readonly number[],
  signals: readonly number[],
  members: () => ReadonlySet<number>,
): void {
  const c = symbols();
  for (let from = 0; from < pids.length; from += PIDFDS) {
    // pidfd_open(2) and pidfd_send_signal(2) have the same numbers on x86-64 and arm64.
    const held = pids
      .slice(from, from + PIDFDS)
      .map((pid) => ({ pid, fd: c.syscall(434n, BigInt(pid), 0n, 0n, 0n, 0n) }));
    const now = members();
    for (const { pid, fd } of held) {
      if (fd < 0) continue;
      if (now.has(pid)) for (const signal of signals) c.syscall(424n, fd, BigInt(signal), 0n, 0n, 0n);
      closeSync(Number(fd));
    }
  }
}

/** open(2)'s flag for a descriptor that names a file and opens nothing of it; node:fs has no constant for it. */
export const O_PATH = 0o10000000;
const O_CLOEXEC = 0o2000000;
/** Of openat2(2), which has the same number on x86-64 and arm64. */
const OPENAT2 = 437n;
const RESOLVE_NO_MAGICLINKS = 0x02n;
const RESOLVE_IN_ROOT = 0x10n;
/** A rename or a mount anywhere on the machine, while a `..` is being followed, makes it give up: EAGAIN. */
const OPENAT2_TRIES = 1000;

/**
 * Opens a path with the directory `root` as its root: symlinks, absolute ones and `..` too, lead to nothing outside.
 * Returns the descriptor. Throws an error with the `code` of a node:fs one.
 */
export function openInRoot(root: number, path: Buffer, flags: number): number {
  const { openat2, errno } = pathCalls();
  const name = Buffer.concat([path, Buffer.from([0])]);
  // struct open_how: flags, mode, resolve.
  const how = new BigUint64Array([BigInt(flags | O_CLOEXEC), 0n, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS]);
  for (let tries = 1; ; tries += 1) {
    const fd = openat2(OPENAT2, BigInt(root), ptr(name), ptr(how), BigInt(how.byteLength));
    if (fd >= 0) return fd;
    const number = read.i32(errno() as never, 0);
    // Imported at the top, it would cost every exec.
    const names = Object.entries(process.getBuiltinModule('node:os').constants.errno);
    const code = names.find(([, value]) => value === number)?.[0] ?? `errno ${number}`;
    if (code === 'EAGAIN' && tries < OPENAT2_TRIES) continue;
    throw Object.assign(new Error(`${code}: cannot open ${path.toString()}`), { code });
  }
}

/** With errno(3), and apart from the others: `exec` is not to wait for what it does not use. */
function openPathCalls() {
  const { syscall, __errno_location } = dlopen('libc.so.6', {
    syscall: { args: ['i64', 'i64', 'ptr', 'ptr', 'u64'], returns: 'i32' },
    __errno_location: { args: [], returns: 'ptr' },
  }).symbols;
  return { openat2: syscall, errno: __errno_location };
}

let pathLibc: ReturnType<typeof openPathCalls> | undefined;

function pathCalls(): ReturnType<typeof openPathCalls> {
  pathLibc ??= openPathCalls();
  return pathLibc;
}

/** Index of an interface in this process's network namespace, 0 where there is none. */
export function interfaceIndex(name: string): number {
  return symbols().if_nametoindex(Buffer.from(`${name}\0`) as never);
}

/** NUL-terminated, for C; a path may have bytes that are no UTF-8. */
function cString(text: string | Buffer): Buffer {
  return typeof text === 'string' ? Buffer.from(`${text}\0`) : Buffer.concat([text, Buffer.alloc(1)]);
}

/** Descriptor of an empty file without a name, that closes on exec; negative where there is none (memfd_create(2)). */
export function createMemoryFile(name: string): number {
  const MFD_CLOEXEC = 1n;
  const number = process.arch === 'arm64' ? 279n : 319n;
  return Number(symbols().syscall(number, BigInt(ptr(cString(name))), MFD_CLOEXEC, 0n, 0n, 0n));
}

/** Descriptors of a pipe's two ends, that close on exec. Throws HostError. */
export function openPipe(): { readonly reading: number; readonly writing: number } {
  const O_CLOEXEC = 0o2000000n;
  const number = process.arch === 'arm64' ? 59n : 293n;
  const ends = new Int32Array(2);
  if (symbols().syscall(number, BigInt(ptr(ends)), O_CLOEXEC, 0n, 0n, 0n) !== 0n)
    throw new HostError('cannot make a pipe');
  const [reading, writing] = ends as unknown as [number, number];
  return { reading, writing };
}

/** An xattr's value is of 64 KiB at most, and the list of a file's names too (xattr(7)). */
const MAX_XATTR_BYTES = 65536;

/** Undefined where the file does not have it. A symlink's own. */
export function readXattr(path: string | Buffer, name: string): Buffer | undefined {
  const value = Buffer.alloc(MAX_XATTR_BYTES);
  const size = symbols().lgetxattr(cString(path), cString(name), value, BigInt(value.length));
  return size < 0 ? undefined : value.subarray(0, size);
}

const OPAQUE = Buffer.from('trusted.overlay.opaque\0');
const ONE_BYTE = Buffer.alloc(1);

/** Whether a directory hides what lower layers have in it (overlayfs.rst). A create asks it hundreds of times. */
export function isOpaque(directory: string | Buffer): boolean {
  const size = symbols().lgetxattr(cString(directory), OPAQUE, ONE_BYTE, 1n);
  return size === 1 && ONE_BYTE.toString() === 'y';
}

/** None where the file system has none. */
export function listXattrs(path: string | Buffer): string[] {
  const names = Buffer.alloc(MAX_XATTR_BYTES);
  const size = symbols().llistxattr(cString(path), names, BigInt(names.length));
  return size <= 0 ? [] : names.toString('utf8', 0, size - 1).split('\0');
}

/** Throws HostError. */
export function writeXattr(path: string | Buffer, name: string, value: string | Buffer): void {
  const bytes = Buffer.from(value as string);
  if (symbols().lsetxattr(cString(path), cString(name), bytes, BigInt(bytes.length), 0) === 0) return;
  throw new HostError(`cannot set ${name} of ${path}: the file system refuses it`);
}

/** Times to the nanosecond, which node:fs does not take. Throws HostError. */
export function setTimes(path: string | Buffer, { atimeNs, mtimeNs }: { atimeNs: bigint; mtimeNs: bigint }): void {
  const AT_FDCWD = -100;
  const second = 1_000_000_000n;
  const times = new BigInt64Array([atimeNs / second, atimeNs % second, mtimeNs / second, mtimeNs % second]);
  if (symbols().utimensat(AT_FDCWD, cString(path), times as never, 0) !== 0) {
    throw new HostError(`cannot set the times of ${path}`);
  }
}

/** overlayfs's mark that a lower layer's file is gone: a character device 0:0. Throws HostError. */
export function makeWhiteout(path: string | Buffer): void {
  const S_IFCHR = 0o020000;
  if (symbols().mknod(cString(path), S_IFCHR, 0n) !== 0) throw new HostError(`cannot make a whiteout ${path}`);
}

/** A named pipe that only its owner can open. Throws HostError. */
export function makePipe(path: string): void {
  const S_IFIFO = 0o010000;
  if (symbols().mknod(cString(path), S_IFIFO | 0o600, 0n) !== 0) throw new HostError(`cannot make a pipe ${path}`);
}

/**
 * What no other network namespace has, or had, since the machine booted, unlike the inode of /proc/self/ns/net, which the next
 * one gets. Undefined before Linux 5.14.
 */
export function networkNamespaceCookie(): bigint | undefined {
  const SOL_SOCKET = 1n;
  const SO_NETNS_COOKIE = 71n;
  const getsockopt = process.arch === 'arm64' ? 209n : 55n;
  const c = symbols();
  const fd = c.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, 0);
  if (fd < 0) return undefined;
  const cookie = new BigUint64Array(1);
  const size = new Uint32Array([cookie.byteLength]);
  const [value, length] = [BigInt(ptr(cookie)), BigInt(ptr(size))];
  const result = c.syscall(getsockopt, BigInt(fd), SOL_SOCKET, SO_NETNS_COOKIE, value, length);
  closeSync(fd);
  return result === 0n ? cookie[0] : undefined;
}

/** A netlink(7) socket. */
export interface NetlinkSocket {
  send(request: Buffer): boolean;
  /** One packet, 64 KiB at most; undefined for an error. */
  receive(): Buffer | undefined;
  close(): void;
}

/** Undefined where the kernel does not speak `protocol`. */
export function openNetlink(protocol: number): NetlinkSocket | undefined {
  const c = symbols();
  const fd = c.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, protocol);
  if (fd < 0) return undefined;
  return {
    send: (request) => c.send(fd, request, BigInt(request.length), 0) >= 0n,
    receive: () => {
      // Most packets are small, and memory that is not touched costs nothing.
      const packet = Buffer.allocUnsafe(65536);
      const size = Number(c.recv(fd, packet, BigInt(packet.length), 0));
      return size > 0 ? packet.subarray(0, size) : undefined;
    },
    close: () => closeSync(fd),
  };
}
