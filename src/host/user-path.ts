/** A path that the user named: what is there, or why nothing is. */
import { type Stats, statSync } from 'node:fs';
import { InvalidInputError, NotFoundError } from '../errors.ts';

/** `verb` is for messages: `use image ./x`. Throws NotFoundError, InvalidInputError (a loop of symlinks, a name too long). */
export function statUserPath(path: string, verb: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') throw new NotFoundError(`cannot ${verb}: no such file or directory`);
    throw new InvalidInputError(`cannot ${verb}: ${message}`);
  }
}
