/**
 * When a container's main command was started and ended, and how: a file of lines, `started TIME` by minict, then
 * `exited STATUS TIME`, or `failed STATUS TIME` and `restarted TIME`, by its supervisor, a sh. Times are milliseconds since
 * 1970. There is no file before the first start.
 */
import { readFileSync, writeFileSync } from 'node:fs';

export interface RunRecord {
  /** Of its last start, the supervisor's own ones included. */
  readonly startedAtMs?: number;
  /** Undefined while it runs. */
  readonly finishedAtMs?: number;
  readonly exitCode?: number;
  /** It has ended, and its supervisor waits before it starts it again. */
  readonly isRestarting?: true;
  /** By its supervisor, since minict started it. */
  readonly restarts: number;
}

export function beginRun(path: string, nowMs: number): void {
  writeFileSync(path, `started ${nowMs}\n`, { mode: 0o600 });
}

/** Undefined where it never ran. What a killed supervisor wrote half is not there. */
export function readRun(path: string): RunRecord | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  let run: RunRecord = { restarts: 0 };
  for (const line of text.split('\n').slice(0, -1)) {
    const [what, ...numbers] = line.split(' ');
    const [first = 0, second = 0] = numbers.map(Number);
    if (what === 'started') run = { startedAtMs: first, restarts: run.restarts };
    else if (what === 'restarted') run = { startedAtMs: first, restarts: run.restarts + 1 };
    else if (what === 'exited' || what === 'failed') {
      const { isRestarting: _, ...before } = run;
      run = { ...before, exitCode: first, finishedAtMs: second, ...(what === 'failed' ? { isRestarting: true } : {}) };
    }
  }
  return run;
}

/** Undefined where it has not ended for good, or never ran. */
export function readExitStatus(path: string): number | undefined {
  const run = readRun(path);
  return run?.isRestarting ? undefined : run?.exitCode;
}
