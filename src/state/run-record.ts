/**
 * When a container's main command was started and ended, and how: a file of lines, `started TIME` by minict, then by its
 * supervisor, a sh, `exited STATUS TIME`. With a restart policy there is a line between them, one written over the other:
 * `failed STATUS TIME RESTARTS` or `restarted TIME RESTARTS`. `stopped` comes last, by minict. Times are milliseconds since 1970.
 * There is no file before the first start.
 */
import { appendFileSync, closeSync, openSync, readFileSync, writeSync } from 'node:fs';

export interface RunRecord {
  /** Of its last start, the supervisor's own ones included. */
  readonly startedAtMs?: number;
  /** Undefined while it runs. */
  readonly finishedAtMs?: number;
  readonly exitCode?: number;
  /** It has ended, and its supervisor waits before it starts it again. */
  readonly isRestarting?: true;
  /** Somebody stopped it, and started it not again since: written where the restart policy asks for it. */
  readonly isStopped?: true;
  /** By its supervisor, since minict started it. */
  readonly restarts: number;
}

export function beginRun(path: string, nowMs: number): void {
  // Cut off first: Bun's writeFileSync does it last, and how the run before ended would be for a moment how this one did.
  const fd = openSync(path, 'w', 0o600);
  try {
    writeSync(fd, `started ${nowMs}\n`);
  } finally {
    closeSync(fd);
  }
}

export function endRun(path: string, exitCode: number, nowMs: number): void {
  appendFileSync(path, `exited ${exitCode} ${nowMs}\n`);
}

/** Of one that was ended while it waited for its next start: its last end is for good. */
export function settleRun(path: string): void {
  const run = readRun(path);
  if (run?.isRestarting) endRun(path, run.exitCode ?? 0, run.finishedAtMs ?? 0);
}

/** By hand, of one that has run. */
export function markStopped(path: string): void {
  const run = readRun(path);
  if (run !== undefined && !run.isStopped) appendFileSync(path, 'stopped\n');
}

/** As it is from one moment to the next: what is just being written over might be read half. */
function readWhole(path: string): string | undefined {
  try {
    let text = readFileSync(path, 'utf8');
    while (/\n[fr]/.test(text)) {
      const again = readFileSync(path, 'utf8');
      if (again === text) break;
      text = again;
    }
    return text;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Undefined where it never ran. What a killed supervisor wrote half is not there. */
export function readRun(path: string): RunRecord | undefined {
  const text = readWhole(path);
  if (text === undefined) return undefined;
  let run: RunRecord = { restarts: 0 };
  for (const line of text.split('\n').slice(0, -1)) {
    const [what, ...numbers] = line.split(' ');
    const [first = 0, second = 0, third = 0] = numbers.map(Number);
    if (what === 'started') run = { startedAtMs: first, restarts: run.restarts };
    else if (what === 'restarted') run = { startedAtMs: first, restarts: second };
    else if (what === 'stopped') run = { ...run, isStopped: true };
    else if (what === 'exited' || what === 'failed') {
      const { isRestarting: _, ...before } = run;
      run = { ...before, exitCode: first, finishedAtMs: second };
      if (what === 'failed') run = { ...run, restarts: third, isRestarting: true };
    }
  }
  return run;
}

/** Undefined where it has not ended for good, or never ran. */
export function readExitStatus(path: string): number | undefined {
  const run = readRun(path);
  return run?.isRestarting ? undefined : run?.exitCode;
}
