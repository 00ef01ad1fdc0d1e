/**
 * What is done to a container's persisted namespaces, and in them, by one system call, where a process of its own would cost
 * a millisecond. With lent.ts, syscalls.ts and packet-socket.ts the only use of bun:ffi.
 */
import { dlopen, read } from 'bun:ffi';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { HostError } from '../errors.ts';
import { bindCall, type MountCall, SLAVE_ROOT } from './mounts.ts';

const CLONE_FS = 0x200;
const CLONE_NEWNS = 0x20000;
const CLONE_NEWUTS = 0x4000000;
const CLONE_NEWIPC = 0x8000000;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

type Libc = ReturnType<typeof open>;

function open() {
  return dlopen('libc.so.6', {
    unshare: { args: ['i32'], returns: 'i32' },
    setns: { args: ['i32', 'i32'], returns: 'i32' },
    fchdir: { args: ['i32'], returns: 'i32' },
    chroot: { args: ['cstring'], returns: 'i32' },
    mount: { args: ['cstring', 'cstring', 'cstring', 'u64', 'cstring'], returns: 'i32' },
    umount2: { args: ['cstring', 'i32'], returns: 'i32' },
    sethostname: { args: ['cstring', 'u64'], returns: 'i32' },
    __errno_location: { args: [], returns: 'ptr' },
  }).symbols;
}

let libc: Libc | undefined;

function symbols(): Libc {
  libc ??= open();
  return libc;
}

const errno = () => read.i32(symbols().__errno_location() as never, 0);

function check(result: number, what: string): void {
  if (result === 0) return;
  const number = errno();
  const names = Object.entries(process.getBuiltinModule('node:os').constants.errno);
  const code = names.find(([, value]) => value === number)?.[0] ?? `errno ${number}`;
  throw new HostError(`cannot ${what}: ${code}`);
}

function cString(text: string): never {
  return Buffer.from(`${text}\0`) as never;
}

/** A descriptor of each path, closed in the end. */
function withOpen<T>(paths: readonly string[], flags: number, use: (...fds: number[]) => T): T {
  const fds: number[] = [];
  try {
    for (const path of paths) fds.push(openSync(path, flags));
    return use(...fds);
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

type Own = 'mnt' | 'net' | 'uts' | 'ipc';

/**
 * Namespaces are a thread's: only this one, which runs the program's code, goes in and comes back. A thread has to have a
 * root and a working directory of its own for another mount namespace; a helper thread of the runtime's that it starts
 * shares them again, at any time.
 */
function enter(fd: number, own: Own, what: string): void {
  const c = symbols();
  if (c.setns(fd, 0) === 0) return;
  if (own === 'mnt') check(c.unshare(CLONE_FS), 'have a working directory of its own');
  check(c.setns(fd, 0), what);
}

function within<T>(file: string, own: Own, action: () => T): T {
  return keeping(own, (back) => {
    // Nobody can unmount the file while it is open.
    withOpen([file], constants.O_RDONLY, (there) => enter(there, own, `enter ${file}`));
    try {
      return action();
    } finally {
      back();
    }
  });
}

/** `action` may go into another namespace, and calls `back` where it did. */
function keeping<T>(own: Own, action: (back: () => void) => T): T {
  const c = symbols();
  const here = `/proc/thread-self/ns/${own}`;
  return withOpen(own === 'mnt' ? [here, '/', '.'] : [here], constants.O_RDONLY, (fd, root = 0, cwd = 0) =>
    action(() => {
      try {
        enter(fd, own, `go back to ${here}`);
        if (own !== 'mnt') return;
        check(c.fchdir(root), 'go back to /');
        check(c.chroot(cString('.')), 'go back to /');
        check(c.fchdir(cwd), 'go back to where it was');
      } catch (error) {
        // Nothing that comes after it would be done where it should be: the next command takes it up from the journal.
        writeSync(2, `minict: ${(error as Error).message}\n`);
        process.exit(125);
      }
    }),
  );
}

/** Where ip(8) looks for it. */
export function netnsPath(name: string): string {
  return `/run/netns/${name}`;
}

/** What `action` starts is in the network namespace. Throws HostError. */
export function inNetworkNamespace<T>(netns: string, action: () => T): T {
  return within(netns, 'net', action);
}

/** What `action` mounts and unmounts is in the mount namespace. Throws HostError. */
export function inMountNamespace<T>(mntns: string, action: () => T): T {
  return within(mntns, 'mnt', action);
}

/** `unshare --uts=FILE hostname NAME`. Throws HostError. */
export function makeUtsNamespace(file: string, hostname: string): void {
  keeping('uts', (back) => {
    check(symbols().unshare(CLONE_NEWUTS), 'make a UTS namespace');
    try {
      check(symbols().sethostname(cString(hostname), BigInt(Buffer.byteLength(hostname))), `name it ${hostname}`);
      mountAll([bindCall('/proc/thread-self/ns/uts', file)]);
    } finally {
      back();
    }
  });
}

/** `unshare --ipc=FILE true`. Throws HostError. */
export function makeIpcNamespace(file: string): void {
  keeping('ipc', (back) => {
    check(symbols().unshare(CLONE_NEWIPC), 'make an IPC namespace');
    try {
      mountAll([bindCall('/proc/thread-self/ns/ipc', file)]);
    } finally {
      back();
    }
  });
}

/** `unshare --mount=FILE --propagation slave true`. Throws HostError. */
export function makeMountNamespace(file: string): void {
  const own = keeping('mnt', (back) => {
    check(symbols().unshare(CLONE_FS | CLONE_NEWNS), 'make a mount namespace');
    try {
      mountAll([SLAVE_ROOT]);
      return openSync('/proc/thread-self/ns/mnt', constants.O_RDONLY);
    } finally {
      back();
    }
  });
  try {
    mountAll([bindCall(`/proc/self/fd/${own}`, file)]);
  } finally {
    closeSync(own);
  }
}

/** One after the other. Throws HostError. */
export function mountAll(calls: readonly MountCall[]): void {
  let made: string | undefined;
  for (const { source, target, fstype, flags, data } of calls) {
    const words = [source, target, fstype] as const;
    const [from, at, type] = words.map(cString) as [never, never, never];
    const result = symbols().mount(from, at, type, BigInt(flags), cString(data));
    // What was mounted there and is not what it should be would be under the tool's.
    if (result !== 0 && made === target) symbols().umount2(cString(target), MNT_DETACH | UMOUNT_NOFOLLOW);
    check(result, `mount ${target}`);
    made = target;
  }
}

const EBUSY = 16;

/** Whether it did, or is in use; of anything else umount(8) can say why not. */
export function unmount(target: string): 'done' | 'busy' | 'failed' {
  if (symbols().umount2(cString(target), UMOUNT_NOFOLLOW) === 0) return 'done';
  return errno() === EBUSY ? 'busy' : 'failed';
}

/** `umount --lazy`, one after the other. Throws HostError. */
export function detachMounts(targets: readonly string[]): void {
  for (const target of targets) {
    check(symbols().umount2(cString(target), MNT_DETACH | UMOUNT_NOFOLLOW), `umount ${target}`);
  }
}
