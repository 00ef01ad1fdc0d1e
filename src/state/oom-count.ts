/** How many processes of a container the kernel killed for memory until it was stopped: then its own count is gone. */
import { readFileSync, writeFileSync } from 'node:fs';

export function writeOomCount(path: string, kills: number): void {
  writeFileSync(path, String(kills), { mode: 0o600 });
}

/** 0 where there is no such file. */
export function readOomCount(path: string): number {
  try {
    return Number(readFileSync(path, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}
