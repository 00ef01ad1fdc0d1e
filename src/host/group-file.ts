/** Files of cgroups, which go while they are read. */
import { readFileSync } from 'node:fs';

/** Undefined where there is none, or the group was removed since the file was opened. */
export function readGroupFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}
