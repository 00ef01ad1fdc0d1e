/** How far the chains of a plan have come: what was begun, what is done, and who waits for it. */
import type { Step } from '../step.ts';
import type { Interruption } from './interruption.ts';

export class Progress {
  readonly #interruption: Pick<Interruption, 'isThere'>;
  /** What may have been done, a failing step among it. */
  readonly started = new Set<Step>();
  readonly #coming = new Set<string>();
  #hasFailed = false;
  #waiting: (() => void)[] = [];

  constructor(interruption: Pick<Interruption, 'isThere'>) {
    this.#interruption = interruption;
  }

  /** Whether nothing is to be begun any more. */
  get isInterrupted(): boolean {
    return this.#interruption.isThere;
  }

  /** They are to be done. */
  plan(steps: readonly Step[]): void {
    for (const { id } of steps) this.#coming.add(id);
  }

  done(steps: readonly Step[]): void {
    for (const { id } of steps) this.#coming.delete(id);
    this.#wake();
  }

  /** Nobody begins anything that waits for others. */
  fail(): void {
    this.#hasFailed = true;
    this.#wake();
  }

  /** Once none of them is to come; false where some chain has failed. What no plan has was done before. */
  async reaches(ids: readonly string[]): Promise<boolean> {
    while (!this.#hasFailed && ids.some((id) => this.#coming.has(id))) {
      await new Promise<void>((wake) => this.#waiting.push(wake));
    }
    return !this.#hasFailed;
  }

  #wake(): void {
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}
