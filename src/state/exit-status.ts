/**
 * What is left of a run. Exit status of a container's main command: a file that is empty while it runs, and absent before the first time. Written
 * by its supervisor, a sh.
 */
import { readFileSync, writeFileSync } from 'node:fs';

export function clearExitStatus(path: string): void {
  writeFileSync(path, '', { mode: 0o600 });
}

/** Undefined where it has not ended, or never ran. */
export function readExitStatus(path: string): number | undefined {
  try {
    const text = readFileSync(path, 'utf8').trim();
    return /^\d{1,3}$/.test(text) ? Number(text) : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** 0 where there is no such file. */
export function readCount(path: string): number {
  try {
    return Number(readFileSync(path, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}
