/**
 * The known ways out of a container, as system calls to try inside: a table. None of them does harm where it is open: what
 * would change something is opened and not written, what is mounted is attached nowhere, processes and terminals are baits.
 */
import type { Call } from '../host/call-list.ts';

/** What is on the host for them to be found. */
export interface Bait {
  /** A file of the host's. */
  readonly mark: string;
  /** A process of the host's. */
  readonly pid: number;
  /** A disk that the host's root can read: its file, and its number as mknod(2) takes it. */
  readonly disk: { readonly path: string; readonly device: number } | undefined;
  /** A hierarchy of cgroup v1: its controllers, and where the host has it. */
  readonly hierarchy: { readonly controllers: readonly string[]; readonly path: string } | undefined;
  /** Name of what is made inside, and removed at once. */
  readonly name: string;
}

export interface Trial extends Call {
  /** Of errors, the one that comes after all that could refuse it. */
  readonly passes?: string;
  /** It clears away, whatever came before. */
  readonly tidies?: true;
}

/** Open where all of its calls work. */
export interface Attempt {
  /** What works then. */
  readonly how: string;
  readonly calls: readonly Trial[];
}

/** linux/capability.h. */
export const CAPABILITIES = {
  DAC_READ_SEARCH: 2,
  KILL: 5,
  SYS_MODULE: 16,
  SYS_CHROOT: 18,
  SYS_PTRACE: 19,
  SYS_ADMIN: 21,
  MKNOD: 27,
} as const;

export interface Way {
  readonly name: string;
  /** What the kernel asks of who takes it. */
  readonly capability?: keyof typeof CAPABILITIES;
  /** What an error says, where the capability is there and it is not a filter's. */
  readonly means?: Readonly<Record<string, string>>;
  /** It is tried with a terminal: the controlling one, and stderr. */
  readonly terminal?: true;
  /** None where the host has nothing of the kind, which `none` says. */
  readonly attempts: (bait: Bait) => readonly Attempt[];
  readonly none?: string;
}

const AT_FDCWD = -100;
const O_RDONLY = 0;
const O_WRONLY = 1;
const O_RDWR_NOCTTY = 0o402;
const CLONE_NEWNS = 0x20000;
const CLONE_NEWUSER = 0x10000000;
const S_IFBLK = 0o060000;
const BLKSSZGET = 0x1268;
const TIOCSTI = 0x5412;
const PTRACE_SEIZE = 0x4206;
const KEYCTL_GET_KEYRING_ID = 0;
const KEY_SPEC_SESSION_KEYRING = -3;
const SET_FLAG = 0;
const CMD_CREATE = 6;
/** Deeper is no root. */
const MAX_DEPTH = 64;

const open = (path: string, flags = O_RDONLY): Trial => ({ name: 'openat', args: [AT_FDCWD, path, flags, 0] });
const opened = (path: string): Attempt => ({ how: `${path} can be read`, calls: [open(path)] });
/** It is not written: that would have an effect at once. */
const writable = (path: string): Attempt => ({ how: `${path} can be written`, calls: [open(path, O_WRONLY)] });

/** A file system, mounted for a descriptor alone: attached nowhere, gone with it. The last call's result is its root. */
function detached(type: string, flags: readonly string[] = []): Trial[] {
  const context = { of: 0 };
  return [
    { name: 'fsopen', args: [type, 0] },
    ...flags.map((flag): Trial => ({ name: 'fsconfig', args: [context, SET_FLAG, flag, 0, 0] })),
    { name: 'fsconfig', args: [context, CMD_CREATE, 0, 0, 0] },
    { name: 'fsmount', args: [context, 0, 0] },
  ];
}

function readDisk(first: readonly Trial[], path: string): Trial[] {
  const disk = { of: first.length };
  const byte = Buffer.alloc(8);
  return [
    ...first,
    open(path),
    // Whatever is there: only a disk has sectors.
    { name: 'ioctl', args: [disk, BLKSSZGET, byte] },
    { name: 'read', args: [disk, byte, 1] },
  ];
}

function madeDisk(path: string, device: number): Attempt {
  const make: Trial = { name: 'mknodat', args: [AT_FDCWD, path, S_IFBLK | 0o600, device] };
  const remove: Trial = { name: 'unlinkat', args: [AT_FDCWD, path, 0], tidies: true };
  return {
    how: `a disk of the host can be read, by a device made in ${path}`,
    calls: [...readDisk([make], path), remove],
  };
}

function hostHandle(path: string): Attempt {
  // struct file_handle: how many bytes there are for the handle, its kind, the handle.
  const handle = Buffer.alloc(8 + 128);
  handle.writeUInt32LE(128);
  return {
    how: `files beside ${path} can be opened by number`,
    calls: [
      { name: 'name_to_handle_at', args: [AT_FDCWD, path, handle, Buffer.alloc(8), 0] },
      open(path),
      { name: 'open_by_handle_at', args: [{ of: 1 }, handle, O_RDONLY] },
    ],
  };
}

function enter(pid: number | string, mark: string): Attempt {
  return {
    how: `the mount namespace of process ${pid} can be entered`,
    calls: [open(`/proc/${pid}/ns/mnt`), { name: 'setns', args: [{ of: 0 }, CLONE_NEWNS] }, open(mark)],
  };
}

function type(terminal: number | { of: number }): Trial {
  return { name: 'ioctl', args: [terminal, TIOCSTI, 'x'] };
}

const OTHER_PIDS = 'a PID namespace of its own';
const OTHER_ROOT = 'no path leads to the root of the host';
const NOT_THERE = 'not in this kernel, or not to be seen';

export const WAYS: readonly Way[] = [
  {
    name: 'host files',
    means: { ENOENT: 'no folder of the host has them inside' },
    attempts: ({ mark }) => [opened(mark)],
  },
  {
    name: 'chroot and ..',
    capability: 'SYS_CHROOT',
    means: { ENOENT: 'its root is that of its mount namespace' },
    attempts: ({ mark }) => [
      {
        how: 'a second chroot(2) forgets the first',
        calls: [
          { name: 'chroot', args: ['/proc'] },
          ...Array.from({ length: MAX_DEPTH }, (): Trial => ({ name: 'chdir', args: ['..'] })),
          { name: 'chroot', args: ['.'] },
          open(mark),
        ],
      },
    ],
  },
  {
    name: "another process's root",
    means: { ENOENT: OTHER_ROOT, EACCES: OTHER_ROOT },
    attempts: ({ mark, pid }) => [opened(`/proc/${pid}/root${mark}`), opened(`/proc/1/root${mark}`)],
  },
  {
    name: 'setns',
    capability: 'SYS_ADMIN',
    means: { ENOENT: OTHER_PIDS },
    attempts: ({ mark, pid }) => [enter(pid, mark), enter(1, mark)],
  },
  {
    name: 'raw disk',
    capability: 'MKNOD',
    means: { EACCES: 'its mounts are nodev', EROFS: 'read-only' },
    none: 'the root of the host cannot read a disk',
    attempts: ({ disk, name }) =>
      disk === undefined
        ? []
        : [
            ...['/', '/tmp/', '/dev/'].map((folder) => madeDisk(`${folder}${name}`, disk.device)),
            { how: `${disk.path} can be read`, calls: readDisk([], disk.path) },
          ],
  },
  {
    name: 'mount',
    capability: 'SYS_ADMIN',
    attempts: () => [
      // There is no such file system, which is found last.
      {
        how: 'mount(2) mounts what there is',
        calls: [{ name: 'mount', args: ['none', '/', 'minict-none', 0, 0], passes: 'ENODEV' }],
      },
      { how: 'fsmount(2) mounts a tmpfs', calls: detached('tmpfs') },
    ],
  },
  {
    name: 'release agent',
    capability: 'SYS_ADMIN',
    means: { EROFS: 'read-only', ENOENT: NOT_THERE },
    none: 'the host has no cgroup v1',
    attempts: ({ hierarchy }) =>
      hierarchy === undefined
        ? []
        : [
            {
              how: "the host's cgroup v1 can be mounted, and its release agent written",
              calls: [
                ...detached('cgroup', hierarchy.controllers),
                {
                  name: 'openat',
                  args: [{ of: hierarchy.controllers.length + 2 }, 'release_agent', O_WRONLY, 0],
                },
              ],
            },
            writable(`${hierarchy.path}/release_agent`),
          ],
  },
  {
    name: 'kernel settings',
    means: { EROFS: 'read-only', ENOENT: NOT_THERE },
    attempts: () =>
      ['/proc/sys/kernel/core_pattern', '/proc/sys/kernel/modprobe', '/sys/kernel/uevent_helper'].map(writable),
  },
  {
    name: 'sysrq',
    means: { EROFS: 'read-only', ENOENT: NOT_THERE },
    attempts: () => [writable('/proc/sysrq-trigger')],
  },
  {
    name: 'ptrace',
    capability: 'SYS_PTRACE',
    means: { ESRCH: OTHER_PIDS },
    attempts: ({ pid }) => [
      { how: 'processes of the host can be traced', calls: [{ name: 'ptrace', args: [PTRACE_SEIZE, pid, 0, 0] }] },
    ],
  },
  {
    name: 'kill',
    capability: 'KILL',
    means: { ESRCH: OTHER_PIDS },
    attempts: ({ pid }) => [
      { how: 'processes of the host can be sent signals', calls: [{ name: 'kill', args: [pid, 0] }] },
    ],
  },
  {
    name: 'kernel modules',
    capability: 'SYS_MODULE',
    means: { ENOSYS: 'not in this kernel' },
    attempts: () => [
      { how: 'modules can be loaded', calls: [{ name: 'finit_module', args: [-1, '', 0], passes: 'EBADF' }] },
    ],
  },
  {
    name: 'keyrings',
    means: { ENOSYS: 'not in this kernel' },
    attempts: () => [
      {
        how: "the kernel's keyrings, which are the host's, can be reached",
        calls: [{ name: 'keyctl', args: [KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0] }],
      },
    ],
  },
  {
    name: 'file handles',
    capability: 'DAC_READ_SEARCH',
    // What minict or the image has there, on a disk or in memory.
    attempts: () => ['/etc/hosts', '/dev', '/'].map(hostHandle),
  },
  {
    name: 'user namespace',
    means: { EPERM: 'the kernel makes none in a chroot', ENOSPC: 'the host allows none (user.max_user_namespaces)' },
    attempts: () => [
      {
        how: 'a new user namespace gives all capabilities in there',
        calls: [{ name: 'unshare', args: [CLONE_NEWUSER] }],
      },
    ],
  },
  {
    name: 'terminal input',
    capability: 'SYS_ADMIN',
    terminal: true,
    means: { ENXIO: 'no terminal of the host is its own', EIO: 'dev.tty.legacy_tiocsti=0 on the host' },
    attempts: () => [
      { how: "input can be typed into the caller's terminal", calls: [type(2)] },
      {
        how: "input can be typed into the caller's terminal",
        calls: [open('/dev/tty', O_RDWR_NOCTTY), type({ of: 0 })],
      },
    ],
  },
];
