/** What the last health check said: `STATUS FAILURES TIME` in a file, by the supervisor, a sh; the first one by minict. */
import { readFileSync, writeFileSync } from 'node:fs';

export interface Health {
  readonly status: 'starting' | 'healthy' | 'unhealthy';
  /** In a row, up to the last check. */
  readonly failures: number;
  readonly checkedAt: string;
}

/** One is written over the other, by one write: a reader finds either. */
const WIDTH = 48;

export function beginHealth(path: string, nowMs: number): void {
  writeFileSync(path, `${`starting 0 ${nowMs}`.padEnd(WIDTH)}\n`, { mode: 0o600 });
}

/** Undefined where there was no check. */
export function readHealth(path: string): Health | undefined {
  try {
    const [, status, failures, ms] =
      /^(starting|healthy|unhealthy) (\d+) (\d+) *\n$/.exec(readFileSync(path, 'utf8')) ?? [];
    if (status === undefined) return undefined;
    const checkedAt = new Date(Number(ms)).toISOString();
    return { status: status as Health['status'], failures: Number(failures), checkedAt };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
