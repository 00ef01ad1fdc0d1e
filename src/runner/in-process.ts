/** Commands that need no process of their own: files and folders. */
import { closeSync, constants, mkdirSync, openSync, rmdirSync, unlinkSync, writeFileSync, writeSync } from 'node:fs';
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
