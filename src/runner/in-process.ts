/** Commands that need no process of their own: files and folders, and what is one system call or two. */
import { closeSync, constants, mkdirSync, openSync, rmdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { HostError } from '../errors.ts';
import { bindCall, mountCalls } from '../host/mounts.ts';
import {
  detachMounts,
  inMountNamespace,
  makeIpcNamespace,
  makeMountNamespace,
  makeUtsNamespace,
  mountAll,
} from '../host/namespaces.ts';
import type { Command } from '../step.ts';
import { initOf } from './identity.ts';

/**
 * Returns false where the command needs a process, or the kernel refused what a tool can do too, and tell why it cannot.
 * Throws what node:fs throws.
 */
export function doInProcess(command: Command): boolean {
  switch (command.kind) {
    case 'mkdir':
      mkdirSync(command.path, { mode: command.mode, recursive: command.parents ?? false });
      return true;
    case 'write': {
      if (!command.exclusive) {
        writeFileSync(command.path, command.content, { mode: 0o644 });
        return true;
      }
      const fd = openSync(command.path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o644);
      try {
        writeFileSync(fd, command.content);
      } finally {
        closeSync(fd);
      }
      return true;
    }
    case 'mountpoint':
      makeMountPoint(command);
      return true;
    case 'unlink':
      unlinkSync(command.path);
      return true;
    case 'rmdir':
      rmdirSync(command.path);
      return true;
    case 'run': {
      if (command.does?.what === 'persist pidns') return persistPidns(command.does);
      const made = namespaceOf(command.argv);
      return made !== undefined && isDone(() => makeNamespace(made));
    }
    case 'mount': {
      // Those of a mount namespace are visit.ts's.
      const calls = command.mntns === undefined ? mountCalls(command) : undefined;
      return calls !== undefined && isDone(() => mountAll(calls));
    }
    case 'umount': {
      const { mntns, targets, lazy } = command;
      return mntns !== undefined && lazy === true && isDone(() => inMountNamespace(mntns, () => detachMounts(targets)));
    }
    default:
      return false;
  }
}

function isDone(action: () => void): boolean {
  try {
    action();
    return true;
  } catch (error) {
    if (error instanceof HostError) return false;
    throw error;
  }
}

function persistPidns({ init, path }: { readonly init: string; readonly path: string }): boolean {
  const pid = initOf(init);
  return pid !== undefined && isDone(() => mountAll([bindCall(`/proc/${pid}/ns/pid`, path)]));
}

type Namespace =
  | { readonly utsns: string; readonly hostname: string }
  | { readonly mntns: string }
  | { readonly ipcns: string };

/** The forms of unshare(1) that plans have. */
function namespaceOf([tool, option = '', ...words]: readonly string[]): Namespace | undefined {
  if (tool !== 'unshare') return undefined;
  const [name, file = ''] = option.split(/=(.*)/s);
  const [program, hostname] = words;
  if (name === '--uts' && program === 'hostname' && hostname !== undefined) return { utsns: file, hostname };
  if (name === '--ipc' && words.join(' ') === 'true') return { ipcns: file };
  return name === '--mount' && words.join(' ') === '--propagation slave true' ? { mntns: file } : undefined;
}

function makeNamespace(made: Namespace): void {
  if ('mntns' in made) makeMountNamespace(made.mntns);
  else if ('ipcns' in made) makeIpcNamespace(made.ipcns);
  else makeUtsNamespace(made.utsns, made.hostname);
}

const { O_RDONLY, O_WRONLY, O_CREAT, O_DIRECTORY, O_NOFOLLOW } = constants;

/** As openat(2) would: a path below a descriptor, each of its folders opened before the next is looked for. */
function makeMountPoint({ within, path, folder }: Command & { kind: 'mountpoint' }): void {
  const folders = (folder ? path : dirname(path)).split('/').filter((part) => part !== '' && part !== '.');
  let fd = openSync(within, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    for (const part of folders) {
      const entry = `/proc/self/fd/${fd}/${part}`;
      try {
        mkdirSync(entry, { mode: 0o755 });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const next = openSync(entry, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      closeSync(fd);
      fd = next;
    }
    if (!folder) closeSync(openSync(`/proc/self/fd/${fd}/${basename(path)}`, O_WRONLY | O_CREAT | O_NOFOLLOW, 0o644));
  } finally {
    closeSync(fd);
  }
}
