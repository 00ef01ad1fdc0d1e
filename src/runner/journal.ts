/**
 * Write-ahead journal of one object (container or network) under /run, one JSON value a line, appended: the plan before
 * its first step, then what was done and undone. It folds to the steps in effect, which `rm` undoes. A torn last line
 * (process lost in the middle, run dir full) was never acted upon: it is ignored, and cut off before the next one.
 */
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { HostError, StateError } from '../errors.ts';
import type { Step } from '../step.ts';

export type Phase = 'up' | 'started' | 'stopped';

/** Only this minict writes them, into a folder only root can write: no zod, which costs every verb a millisecond. */
type Line =
  | { readonly version: 1; readonly plan: readonly Step[] }
  | { readonly done: string; readonly identities: Readonly<Record<string, string>> }
  | { readonly undone: readonly string[] }
  | { readonly settled: readonly string[] }
  | { readonly phase: Phase };

function parseLine(text: string): Line | undefined {
  try {
    const value = JSON.parse(text) as Partial<Record<string, unknown>>;
    const known =
      'plan' in value
        ? value.version === 1
        : 'done' in value || 'undone' in value || 'settled' in value || 'phase' in value;
    return known ? (value as unknown as Line) : undefined;
  } catch {
    return undefined;
  }
}

/** By step id, then by the claim's name. */
export type Identities = ReadonlyMap<string, Readonly<Record<string, string>>>;

export interface JournalState {
  /** Steps in effect or under way, in the order they were planned. */
  readonly steps: readonly Step[];
  readonly identities: Identities;
  /** Undefined until the first plan was carried out in full. */
  readonly phase: Phase | undefined;
  /** Steps of a plan that was not carried out to its end: whoever did it was killed. */
  readonly interrupted: ReadonlySet<string>;
  /** A line makes no sense: the rest is what can be known. */
  readonly damaged: boolean;
}

/** Beyond these, and as many times the steps in effect, a journal is written anew. */
const MOST_LINES = 64;
const LINES_PER_STEP = 2;

export class Journal {
  readonly path: string;
  private fd: number | undefined;
  /** As far as they were read or written here. */
  private lines = 0;
  private stepsInEffect = 0;

  constructor(path: string) {
    this.path = path;
  }

  private append(value: Line): void {
    this.fd ??= openWhole(this.path);
    const line = Buffer.from(`${JSON.stringify(value)}\n`);
    if (writeSync(this.fd, line) < line.length) throw new HostError(`cannot write ${this.path}: no space left`);
    this.lines += 1;
  }

  plan(steps: readonly Step[]): void {
    mkdirSync(dirname(this.path), { recursive: true, mode: 0o700 });
    this.append({ version: 1, plan: steps });
    this.stepsInEffect += steps.length;
  }

  done(id: string, identities: Readonly<Record<string, string>>): void {
    this.append({ done: id, identities });
  }

  undone(ids: readonly string[]): void {
    this.append({ undone: ids });
  }

  /** These were carried out, all of them; of what others left half done nothing is said. */
  settled(ids: readonly string[]): void {
    this.append({ settled: ids });
  }

  /** All that was begun is done. */
  phase(phase: Phase): void {
    this.append({ phase });
    if (this.lines <= Math.max(MOST_LINES, LINES_PER_STEP * this.stepsInEffect)) return;
    // An interface that came and went a hundred times is no news.
    const state = this.salvage();
    if (state !== undefined && !state.damaged) this.replace(state.steps, state.identities, phase);
  }

  remove(): void {
    rmSync(this.path, { force: true });
    if (this.fd !== undefined) closeSync(this.fd);
    this.fd = undefined;
  }

  /** Undefined where there is no journal: nothing of this object is in the kernel. Throws StateError where it is damaged. */
  read(): JournalState | undefined {
    const state = this.salvage();
    if (state?.damaged) {
      throw new StateError(`cannot read ${this.path}: damaged, or written by another version`, {
        hint: 'minict rm -f NAME removes the container all the same',
      });
    }
    return state;
  }

  /** What can be known, even from a damaged journal. */
  salvage(): JournalState | undefined {
    const text = readText(this.path);
    if (text === undefined) return undefined;
    const lines = text
      .slice(0, text.lastIndexOf('\n') + 1)
      .split('\n')
      .slice(0, -1);
    const state = fold(lines);
    this.lines = lines.length;
    this.stepsInEffect = state.steps.length;
    return state;
  }

  /** What its last line says all is, where that is what it says: for this the others need not be read. */
  lastPhase(): Phase | undefined {
    const text = readText(this.path);
    const line = text?.endsWith('\n') ? parseLine(text.slice(text.lastIndexOf('\n', text.length - 2) + 1)) : undefined;
    return line !== undefined && 'phase' in line ? line.phase : undefined;
  }

  /** Puts a journal of these steps, carried out, in the place of this one. */
  replace(steps: readonly Step[], identities: Identities, phase: Phase = 'up'): void {
    const fresh = new Journal(`${this.path}.tmp`);
    // Of a killed one.
    fresh.remove();
    fresh.plan(steps);
    for (const [id, things] of identities) fresh.done(id, things);
    fresh.append({ phase });
    renameSync(fresh.path, this.path);
    if (this.fd !== undefined) closeSync(this.fd);
    this.fd = fresh.fd;
    this.lines = fresh.lines;
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Opens a journal to be appended to, without a torn last line. */
function openWhole(path: string): number {
  const text = readText(path) ?? '';
  const fd = openSync(path, 'a', 0o600);
  if (!text.endsWith('\n')) ftruncateSync(fd, Buffer.byteLength(text.slice(0, text.lastIndexOf('\n') + 1)));
  return fd;
}

function fold(lines: readonly string[]): JournalState {
  const steps = new Map<string, Step>();
  const identities = new Map<string, Record<string, string>>();
  const interrupted = new Set<string>();
  let phase: Phase | undefined;
  let damaged = false;
  for (const line of lines) {
    const entry = parseLine(line);
    if (entry === undefined) damaged = true;
    else if ('plan' in entry) {
      for (const step of entry.plan) {
        steps.set(step.id, step);
        interrupted.add(step.id);
      }
    } else if ('done' in entry) identities.set(entry.done, entry.identities);
    else if ('undone' in entry) {
      for (const id of entry.undone) {
        steps.delete(id);
        identities.delete(id);
        interrupted.delete(id);
      }
    } else if ('settled' in entry) for (const id of entry.settled) interrupted.delete(id);
    else {
      phase = entry.phase;
      interrupted.clear();
    }
  }
  return { steps: [...steps.values()], identities, phase, interrupted, damaged };
}
