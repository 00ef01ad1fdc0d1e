/**
 * The system calls of `exec`, by libc: to load node:fs takes 1 ms, a sixth of all that an exec adds to nsenter and chroot. What
 * libc refuses is node:fs's to try, and to say why. All that exec does not need is there, or in syscalls.ts, but for a mount point,
 * which is one statx(2) more.
 */
import { dlopen, ptr } from 'bun:ffi';
import { HostError } from '../errors.ts';

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const RLIMIT_NOFILE = 7;
const SIGPIPE = 13;
const SIGXFSZ = 25;
const SIG_SETMASK = 2;
/** Of sigset_t, in bytes. */
const SIGSET_SIZE = 128;
/** close_range(2) has the same number on x86-64 and arm64. */
const CLOSE_RANGE = 436n;
const CLOSE_RANGE_CLOEXEC = 4n;
const MAX_FD = 0xffffffffn;
const F_SETFD = 2;
const O_RDONLY = 0;
const O_RDWR = 2;
const O_CLOEXEC = 0o2000000;
const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const STATX_INO = 0x100;
/** Since Linux 5.8. */
const STATX_ATTR_MOUNT_ROOT = 0x2000n;
/** Of struct statx, in bytes: its size, and where stx_attributes and stx_ino are. */
const STATX_SIZE = 256;
const STX_ATTRIBUTES = 8;
const STX_INO = 32;
const STATFS_SIZE = 120;

function load() {
  return dlopen('libc.so.6', {
    open: { args: ['ptr', 'i32', 'i32'], returns: 'i32' },
    read: { args: ['i32', 'ptr', 'u64'], returns: 'i64' },
    write: { args: ['i32', 'ptr', 'u64'], returns: 'i64' },
    close: { args: ['i32'], returns: 'i32' },
    statx: { args: ['i32', 'ptr', 'i32', 'u32', 'ptr'], returns: 'i32' },
    statfs: { args: ['ptr', 'ptr'], returns: 'i32' },
    flock: { args: ['i32', 'i32'], returns: 'i32' },
    signal: { args: ['i32', 'u64'], returns: 'u64' },
    sigprocmask: { args: ['i32', 'ptr', 'ptr'], returns: 'i32' },
    prlimit: { args: ['i32', 'i32', 'ptr', 'ptr'], returns: 'i32' },
    isatty: { args: ['i32'], returns: 'i32' },
    fcntl: { args: ['i32', 'i32', 'i32'], returns: 'i32' },
    syscall: { args: ['i64', 'u64', 'u64', 'u64'], returns: 'i64' },
    execve: { args: ['ptr', 'ptr', 'ptr'], returns: 'i32' },
  }).symbols;
}

let libc: ReturnType<typeof load> | undefined;

function calls(): ReturnType<typeof load> {
  libc ??= load();
  return libc;
}

const encoder = new TextEncoder();

/** NUL-terminated, for C. The first use of Buffer costs 0.15 ms. */
function cText(text: string): Uint8Array {
  return encoder.encode(`${text}\0`);
}

const nodeFs = () => process.getBuiltinModule('node:fs');

/** The whole file. Throws as node:fs does. */
export function readText(path: string): string {
  const c = calls();
  const fd = c.open(cText(path), O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return nodeFs().readFileSync(path, 'utf8');
  const decoder = new TextDecoder();
  const part = new Uint8Array(16384);
  let text = '';
  for (;;) {
    const size = Number(c.read(fd, part, BigInt(part.length)));
    if (size > 0) text += decoder.decode(part.subarray(0, size), { stream: true });
    if (size === part.length) continue;
    c.close(fd);
    return size < 0 ? nodeFs().readFileSync(path, 'utf8') : text + decoder.decode();
  }
}

/** Writes to a file that is there, in one piece, from its beginning. Throws as node:fs does. */
export function writeToFile(path: string, text: string): void {
  const c = calls();
  const bytes = encoder.encode(text);
  const fd = c.open(cText(path), O_RDWR | O_CLOEXEC, 0);
  const size = fd < 0 ? -1 : Number(c.write(fd, bytes, BigInt(bytes.length)));
  if (fd >= 0) c.close(fd);
  if (size !== bytes.length) nodeFs().writeFileSync(path, text, { flag: 'r+' });
}

/** Makes an open descriptor /dev/null. Those below it have to be open: open(2) takes the lowest free number. */
export function silence(fd: number): void {
  const c = calls();
  c.close(fd);
  if (c.open(cText('/dev/null'), O_RDWR, 0) < 0) nodeFs().openSync('/dev/null', 'r+');
}

/** f_type of statfs(2), from linux/magic.h; undefined where there is no such file. */
export function fileSystemType(path: string): number | undefined {
  const status = new BigInt64Array(STATFS_SIZE / 8);
  return calls().statfs(cText(path), status) === 0 ? Number(status[0]) : undefined;
}

/** struct statx of an open file, or of one by its path; undefined where there is none. */
function statx(at: number | string): BigUint64Array | undefined {
  const status = new BigUint64Array(STATX_SIZE / 8);
  const [fd, path, flags] = typeof at === 'number' ? [at, '', AT_EMPTY_PATH] : [AT_FDCWD, at, 0];
  return calls().statx(fd, cText(path), flags, STATX_INO, status) === 0 ? status : undefined;
}

/** Of one path: all of mountinfo grows with the number of containers. */
export function isMountPoint(path: string): boolean {
  return ((statx(path)?.[STX_ATTRIBUTES / 8] ?? 0n) & STATX_ATTR_MOUNT_ROOT) !== 0n;
}

/** A held flock(2): it dies with its holders, and children that carry out steps hold it too (they inherit `fd`). */
export interface Lock {
  readonly fd: number;
  /** Makes it a shared one. Not in one step: another's exclusive one may have been in between. */
  share(): void;
  release(): void;
}

/**
 * Takes the lock file `path`, waiting for other holders unless `wait` is false (then undefined where it is held).
 * A holder may unlink the file before it lets go (`rm`), so the inode is compared after the wait. Throws as node:fs does.
 */
export function takeLock(path: string, mode: 'shared' | 'exclusive', wait = true): Lock | undefined {
  const c = calls();
  for (;;) {
    const fd = openLockFile(path);
    const release = () => void c.close(fd);
    const operation = (mode === 'shared' ? LOCK_SH : LOCK_EX) | (wait ? 0 : LOCK_NB);
    if (c.flock(fd, operation) !== 0) {
      release();
      if (!wait) return undefined;
      throw new HostError(`cannot lock ${path}: flock failed`);
    }
    const inode = statx(fd)?.[STX_INO / 8];
    if (inode === undefined) throw new HostError(`cannot lock ${path}: statx failed`);
    if (statx(path)?.[STX_INO / 8] === inode) return { fd, share: () => void c.flock(fd, LOCK_SH), release };
    release();
  }
}

function openLockFile(path: string): number {
  const O_WRONLY = 1;
  const O_CREAT = 0o100;
  const O_APPEND = 0o2000;
  const fd = calls().open(cText(path), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600);
  return fd < 0 ? nodeFs().openSync(path, 'a', 0o600) : fd;
}

/** Whether a descriptor is a terminal; importing node:tty, or touching process.stdin, costs 1 to 3 ms. */
export function isTerminal(fd: number): boolean {
  return calls().isatty(fd) === 1;
}

/** What is started from here on can be ended by TERM and INT, whatever minict's caller has blocked. */
export function unblockSignals(): void {
  calls().sigprocmask(SIG_SETMASK, new Uint8Array(SIGSET_SIZE), null);
}

/**
 * Makes this process ready to become another program: Bun ignores SIGPIPE and SIGXFSZ and raises the file limit, and
 * execve(2) would hand both on; also what signals the caller has blocked, which then could not end the program.
 */
export function restoreForExec(softFileLimit: number): void {
  const c = calls();
  c.signal(SIGPIPE, 0n);
  c.signal(SIGXFSZ, 0n);
  unblockSignals();
  const limit = new BigUint64Array(2);
  if (c.prlimit(0, RLIMIT_NOFILE, null, limit) === 0 && (limit[1] ?? 0n) >= BigInt(softFileLimit)) {
    limit[0] = BigInt(softFileLimit);
    c.prlimit(0, RLIMIT_NOFILE, limit, null);
  }
}

/** Where each word begins, as execve(2) takes it, and the memory that they are in; undefined where one has a NUL in it. */
function stringArray(words: readonly string[]): { pointers: BigUint64Array; bytes: Uint8Array } | undefined {
  let text = '';
  for (const word of words) {
    if (word.includes('\0')) return undefined;
    text += `${word}\0`;
  }
  const bytes = encoder.encode(text);
  const pointers = new BigUint64Array(words.length + 1);
  let at = 0;
  for (let index = 0; index < words.length; index += 1) {
    pointers[index] = BigInt(ptr(bytes) + at);
    at = bytes.indexOf(0, at) + 1;
  }
  return { pointers, bytes };
}

/**
 * Makes of this process the program at `path`, with no descriptor but 0 to 2; returns where the kernel refuses that. Node's own
 * `process.execve` loads modules for 0.5 ms, and says why.
 */
export function tryExecve(path: string, argv: readonly string[], env: Readonly<Record<string, string>>): void {
  const variables: string[] = [];
  for (const [key, value] of Object.entries(env)) variables.push(`${key}=${value}`);
  const [words, set] = [stringArray(argv), stringArray(variables)];
  const c = calls();
  for (const fd of [0, 1, 2]) c.fcntl(fd, F_SETFD, 0);
  // Linux 5.11 is the first that can do this; others would stay open below it.
  const isClosed = c.syscall(CLOSE_RANGE, 3n, MAX_FD, CLOSE_RANGE_CLOEXEC) === 0n;
  if (words === undefined || set === undefined || !isClosed) return;
  c.execve(cText(path), words.pointers, set.pointers);
}
