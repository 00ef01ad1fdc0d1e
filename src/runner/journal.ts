/**
 * Write-ahead journal of one object (container or network) under /run, one JSON value a line, appended: the plan before
 * its first step, then what was done and undone. It folds to the steps in effect, which `rm` undoes. A torn last line
 * (power or process lost in the middle) is ignored.
 */
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { StateError } from '../errors.ts';
import type { Step } from '../step.ts';

export type Phase = 'up' | 'started' | 'stopped';

/** Only this minict writes them, into a folder only root can write: no zod, which costs every verb a millisecond. */
type Line =
  | { readonly version: 1; readonly plan: readonly Step[] }
  | { readonly done: string; readonly identities: Readonly<Record<string, string>> }
  | { readonly undone: readonly string[] }
  | { readonly phase: Phase };

function parseLine(text: string): Line | undefined {
  try {
    const value = JSON.parse(text) as Partial<Record<string, unknown>>;
    const known = 'plan' in value ? value.version === 1 : 'done' in value || 'undone' in value || 'phase' in value;
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
}

export class Journal {
  readonly path: string;
  private fd: number | undefined;

  constructor(path: string) {
    this.path = path;
  }

  private append(value: Line): void {
    this.fd ??= openSync(this.path, 'a', 0o600);
    writeSync(this.fd, `${JSON.stringify(value)}\n`);
  }

  plan(steps: readonly Step[]): void {
    mkdirSync(dirname(this.path), { recursive: true, mode: 0o700 });
    this.append({ version: 1, plan: steps });
  }

  done(id: string, identities: Readonly<Record<string, string>>): void {
    this.append({ done: id, identities });
  }

  undone(ids: readonly string[]): void {
    this.append({ undone: ids });
  }

  phase(phase: Phase): void {
    this.append({ phase });
  }

  remove(): void {
    rmSync(this.path, { force: true });
    if (this.fd !== undefined) closeSync(this.fd);
    this.fd = undefined;
  }

  /** Undefined where there is no journal: nothing of this object is in the kernel. */
  read(): JournalState | undefined {
    let text: string;
    try {
      text = readFileSync(this.path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    const steps = new Map<string, Step>();
    const identities = new Map<string, Record<string, string>>();
    let phase: Phase | undefined;
    const lines = text.split('\n');
    lines.pop();
    for (const raw of lines) {
      const entry = parseLine(raw);
      if (entry === undefined) {
        throw new StateError(`cannot read journal ${this.path}: damaged, or written by another version`);
      }
      if ('plan' in entry) for (const step of entry.plan) steps.set(step.id, step);
      else if ('done' in entry) identities.set(entry.done, entry.identities);
      else if ('undone' in entry) {
        for (const id of entry.undone) {
          steps.delete(id);
          identities.delete(id);
        }
      } else phase = entry.phase;
    }
    return { steps: [...steps.values()], identities, phase };
  }
}
