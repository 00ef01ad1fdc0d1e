/**
 * What is done to a container's persisted namespaces, and in them, by one system call, where a process of its own would cost
 * a millisecond. With syscalls.ts and packet-socket.ts the only use of bun:ffi.
 */
import { dlopen, read } from 'bun:ffi';
import { closeSync, constants, openSync } from 'node:fs';
import { HostError } from '../errors.ts';

const CLONE_FS = 0x200;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

type Libc = ReturnType<typeof open>;

function open() {
  return dlopen('libc.so.6', {
    unshare: { args: ['i32'], returns: 'i32' },
    setns: { args: ['i32', 'i32'], returns: 'i32' },
    fchdir: { args: ['i32'], returns: 'i32' },
    chroot: { args: ['cstring'], returns: 'i32' },
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

function check(result: number, what: string): void {
  if (result === 0) return;
  const number = read.i32(symbols().__errno_location() as never, 0);
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

/** Namespaces are a thread's: only this one, which runs the program's code, goes in and comes back. */
function within<T>(file: string, own: 'mnt' | 'net' | 'uts', action: () => T): T {
  const c = symbols();
  return withOpen([file, `/proc/thread-self/ns/${own}`], constants.O_RDONLY, (there, here) => {
    check(c.setns(there, 0), `enter ${file}`);
    try {
      return action();
    } finally {
      check(c.setns(here, 0), `leave ${file}`);
    }
  });
}

/** What `action` starts is in the network namespace. Throws HostError. */
export function inNetworkNamespace<T>(netns: string, action: () => T): T {
  return within(netns, 'net', action);
}

/** Throws HostError. */
export function setHostname(utsns: string, name: string): void {
  within(utsns, 'uts', () =>
    check(symbols().sethostname(cString(name), BigInt(Buffer.byteLength(name))), `name it ${name}`),
  );
}

/** Says whether it did; umount(8) can say why not. */
export function unmount(target: string): boolean {
  return symbols().umount2(cString(target), UMOUNT_NOFOLLOW) === 0;
}

/** `umount --lazy`, one after the other. Throws HostError. */
export function detachMounts(mntns: string, targets: readonly string[]): void {
  const c = symbols();
  // A thread whose root and working directory are its own may change the mount namespace, and has to find both again.
  check(c.unshare(CLONE_FS), 'have a working directory of its own');
  withOpen(['/', '.'], constants.O_RDONLY | constants.O_DIRECTORY, (root, cwd) => {
    try {
      within(mntns, 'mnt', () => {
        for (const target of targets)
          check(c.umount2(cString(target), MNT_DETACH | UMOUNT_NOFOLLOW), `umount ${target}`);
      });
    } finally {
      check(c.fchdir(root), 'go back');
      check(c.chroot(cString('.')), 'go back');
      check(c.fchdir(cwd), 'go back');
    }
  });
}
