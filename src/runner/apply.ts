/** Carries out plans: write-ahead, chains side by side, and back to where it was when a step fails. */
import { StepError } from '../errors.ts';
import type { Step } from '../step.ts';
import { runChain, StepFailure } from './chain.ts';
import { Interruption } from './interruption.ts';
import type { Journal } from './journal.ts';
import { Progress } from './progress.ts';
import type { SpawnContext } from './spawn.ts';
import { undoSteps } from './undo.ts';

/** The first at once; a tool's end is seen, and the next of its chain started, before each other. None waits for another's end. */
function beginBetween(tasks: readonly (() => void | Promise<void>)[]): Promise<void>[] {
  let turn: Promise<void> | undefined;
  return tasks.map(async (task) => {
    const mine = turn;
    turn = (mine ?? Promise.resolve()).then(() => new Promise((next) => setImmediate(next)));
    await mine;
    await task();
  });
}

function chainsOf(steps: readonly Step[]): Iterable<Step[]> {
  // Map.groupBy is compiled at its first use: 0.14 ms.
  const chains = new Map<string, Step[]>();
  for (const step of steps) {
    if (step.chain === undefined) continue;
    const chain = chains.get(step.chain);
    if (chain === undefined) chains.set(step.chain, [step]);
    else chain.push(step);
  }
  return chains.values();
}

export interface Besides {
  /** The rest of the plan, where it takes its time to be made: once the first steps are under way. No chain is in both. */
  readonly rest?: () => readonly Step[];
  /**
   * What the caller has to do itself, begun when the steps without a chain are done, and while tools are at work: one after
   * the other, as these leave time.
   */
  readonly meanwhile?: readonly (() => void | Promise<void>)[];
}

/**
 * Applies `steps`, whose plan goes into `journal` first. A failure undoes these steps, the failing one's half-done work
 * included, and throws StepError (or HostError for a missing tool). What `rest` and `meanwhile` throw is a failure, too, and so is
 * a signal to end: InterruptedError.
 */
export async function applySteps(
  what: string,
  steps: readonly Step[],
  journal: Journal,
  context: SpawnContext,
  besides: Besides = {},
): Promise<void> {
  const interruption = new Interruption();
  try {
    await applyUnless(interruption, what, steps, journal, context, besides);
  } finally {
    interruption.end();
  }
}

async function applyUnless(
  interruption: Interruption,
  what: string,
  steps: readonly Step[],
  journal: Journal,
  context: SpawnContext,
  { rest, meanwhile = [] }: Besides,
): Promise<void> {
  let all = steps;
  const progress = new Progress(interruption);
  const failures: unknown[] = [];
  const running: Promise<void>[] = [];
  const follow = (run: Promise<void>) => {
    // What it throws is looked at when all have ended.
    run.catch(() => {});
    running.push(run);
  };
  const begin = async (some: readonly Step[], besides: readonly (() => void | Promise<void>)[] = []) => {
    const first = some.filter((step) => step.chain === undefined);
    progress.plan(some);
    await runChain(first, progress, journal, context);
    for (const run of beginBetween(besides)) follow(run);
    for (const chain of chainsOf(some)) follow(runChain(chain, progress, journal, context));
  };
  journal.plan(steps);
  try {
    await begin(steps, rest === undefined ? meanwhile : []);
    if (rest !== undefined) {
      const more = rest();
      if (more.length > 0) journal.plan(more);
      all = [...steps, ...more];
      await begin(more, meanwhile);
    }
  } catch (error) {
    failures.push(error);
  }
  for (const result of await Promise.allSettled(running)) {
    if (result.status === 'rejected') failures.push(result.reason);
  }
  const failure = failures[0];
  if (failure === undefined && !(await interruption.isThereAtLast())) return;
  const begun = all.filter((step) => progress.started.has(step));
  const leftovers = await undoSteps({ steps: begun, identities: journal.salvage()?.identities ?? new Map() }, context);
  if (leftovers.length === 0) journal.undone(all.map((step) => step.id));
  // A tool may have had the signal, too, and have failed for it.
  const interrupted = interruption.error(what, leftovers);
  if (interrupted !== undefined) throw interrupted;
  if (failure instanceof StepFailure) {
    throw new StepError(failure.step.id, `cannot ${what}: ${failure.step.why}: ${failure.cause}`, leftovers);
  }
  throw failure;
}
