/**
 * INT, TERM and HUP while a plan is carried out: no step is begun any more, and what was done is undone as after a failure. A
 * second one ends minict at once, as one would without this: what is left then is the next command's.
 */
import { InterruptedError } from '../errors.ts';
import { isIgnored } from '../host/syscalls.ts';

/** The same everywhere; importing node:os costs every verb 0.2 ms. */
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
type Signal = keyof typeof SIGNALS;

const NAMES: readonly Signal[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** Most plans are through by then, before anybody could have thought better of it: to listen costs 0.08 ms, this 0.02. */
const LISTENS_AFTER_MS = 20;

/** What was heard before is told in the next turn. */
const turn = () => new Promise<void>((next) => setImmediate(next));

export class Interruption {
  #signal: Signal | undefined;
  #listens = false;
  #isOver = false;
  readonly #timer = setTimeout(() => this.#listen(), LISTENS_AFTER_MS);

  readonly #hear = (signal: Signal): void => {
    this.#leave();
    // Too late to be undone: as if nobody had listened.
    if (this.#isOver) process.kill(process.pid, signal);
    else this.#signal = signal;
  };

  /** What minict was told to ignore (nohup) it goes on to ignore. */
  #listen(): void {
    this.#listens = true;
    for (const name of NAMES) if (!isIgnored(SIGNALS[name])) process.on(name, this.#hear);
  }

  #leave(): void {
    this.#listens = false;
    for (const name of NAMES) process.off(name, this.#hear);
  }

  /** Whether there was one so far. */
  get isThere(): boolean {
    return this.#signal !== undefined;
  }

  /** The same, of one that came with the end of the last tool, too. */
  async isThereAtLast(): Promise<boolean> {
    if (this.#listens) await turn();
    return this.isThere;
  }

  /** Undefined where there was none; `what` as in `cannot <what>: …`, and what could not be undone. */
  error(what: string, leftovers: readonly string[]): InterruptedError | undefined {
    const signal = this.#signal;
    return signal && new InterruptedError(`cannot ${what}: interrupted by ${signal}`, SIGNALS[signal], leftovers);
  }

  /** From here on they are as they were. */
  end(): void {
    clearTimeout(this.#timer);
    this.#isOver = true;
    if (this.#listens) void turn().then(() => this.#leave());
  }
}
