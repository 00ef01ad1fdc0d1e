/** Commands that need no process of their own: files and folders. */
import { closeSync, constants, mkdirSync, openSync, rmdirSync, unlinkSync, writeFileSync, writeSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Command } from '../step.ts';

/** Returns false where the command needs a process. Throws what node:fs throws. */
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
      if (command.content !== '') writeSync(fd, command.content);
      closeSync(fd);
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
    default:
      return false;
  }
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
