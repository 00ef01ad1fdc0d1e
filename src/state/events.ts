/**
 * What happened to containers and networks: a line of JSON each, appended by one write, in a file that is bounded. Supervisors
 * append to it as well (process/supervisor.ts). It tells of the past, and nothing is decided by it.
 */
import { closeSync, fstatSync, openSync, renameSync, statSync, writeSync } from 'node:fs';
import { takeLock } from '../host/exec-calls.ts';
import { eventsLockPath, eventsPath, type Roots } from './paths.ts';

export interface Event {
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly type: 'container' | 'network';
  readonly action: string;
  readonly name: string;
  /** Of `die`. */
  readonly exitCode?: number;
  /** Of `oom`: of its processes, since it was brought up. */
  readonly oomKills?: number;
  /** Of `kill`. */
  readonly signal?: number;
  /** Of `connect` and `disconnect`. */
  readonly container?: string;
  /** Of `rename`. */
  readonly oldName?: string;
}

const MAX_BYTES = 1024 ** 2;

/** The file of those that are older. */
export function olderEventsPath(roots: Roots): string {
  return `${eventsPath(roots)}.1`;
}

/** What cannot be written down is left out: the verb has done its work. */
export function recordEvent(roots: Roots, event: Omit<Event, 'time'>): void {
  const path = eventsPath(roots);
  try {
    const fd = openSync(path, 'a', 0o600);
    try {
      writeSync(fd, `${JSON.stringify({ time: Date.now(), ...event })}\n`);
      if (fstatSync(fd).size > MAX_BYTES) beginNewFile(roots);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
  }
}

/** By one at a time: a second one, who finds a new file there, would lose what is in the older one. Supervisors do the same. */
function beginNewFile(roots: Roots): void {
  const path = eventsPath(roots);
  const lock = takeLock(eventsLockPath(roots), 'exclusive', false);
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (lock !== undefined && size > MAX_BYTES) renameSync(path, olderEventsPath(roots));
  lock?.release();
}

/** Undefined for a line that is damaged. */
export function parseEvent(line: string): Event | undefined {
  try {
    const value = JSON.parse(line) as Partial<Event> | null;
    const isOne = [value?.type, value?.action, value?.name].every((word) => typeof word === 'string');
    return isOne && typeof value?.time === 'number' ? (value as Event) : undefined;
  } catch {
    return undefined;
  }
}
