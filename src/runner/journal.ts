/**
 * Write-ahead journal of one object (container or network) under /run, one JSON value a line, appended: the plan before
 * its first step, then what was done and undone. It folds to the steps in effect, which `rm` undoes. A torn last line
 * (power or process lost in the middle) is ignored.
 */
import { appendFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import * as z from 'zod/mini';
import { StateError } from '../errors.ts';
import type { Step } from '../step.ts';

export type Phase = 'up' | 'started' | 'stopped';

const line = z.union([
  z.object({ version: z.literal(1), plan: z.array(z.looseObject({ id: z.string(), why: z.string() })) }),
  z.object({ done: z.string(), identities: z.record(z.string(), z.string()) }),
  z.object({ undone: z.array(z.string()) }),
  z.object({ phase: z.enum(['up', 'started', 'stopped']) }),
]);

export type Identities = ReadonlyMap<string, Readonly<Record<string, string>>>;

export interface JournalState {
  /** Steps in effect or under way, in the order they were planned. */
  readonly steps: readonly Step[];
  /** By step id, then by the claim's name. */
  readonly identities: Identities;
  /** Undefined until the first plan was carried out in full. */
  readonly phase: Phase | undefined;
}

export class Journal {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  private append(value: z.infer<typeof line>): void {
    appendFileSync(this.path, `${JSON.stringify(value)}\n`, { mode: 0o600 });
  }

  plan(steps: readonly Step[]): void {
    mkdirSync(dirname(this.path), { recursive: true, mode: 0o700 });
    this.append({ version: 1, plan: steps as never });
  }

  done(id: string, identities: Readonly<Record<string, string>>): void {
    this.append({ done: id, identities: { ...identities } });
  }

  undone(ids: readonly string[]): void {
    this.append({ undone: [...ids] });
  }

  phase(phase: Phase): void {
    this.append({ phase });
  }

  remove(): void {
    rmSync(this.path, { force: true });
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
      const parsed = line.safeParse(safeJson(raw));
      if (!parsed.success) {
        throw new StateError(`cannot read journal ${this.path}: damaged, or written by another version`);
      }
      const entry = parsed.data;
      if ('plan' in entry) for (const step of entry.plan as unknown as Step[]) steps.set(step.id, step);
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

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
