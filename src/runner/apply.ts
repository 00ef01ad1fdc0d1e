/** Carries out plans: write-ahead, chains side by side, and back to where it was when a step fails. */
import { firstLine, HostError, StepError } from '../errors.ts';
import { sayCommand } from '../host/verbose.ts';
import type { Step } from '../step.ts';
import { type Batch, commandArgv, failingStep, nextBatch } from './batch.ts';
import { identitiesOf } from './identity.ts';
import { doInProcess } from './in-process.ts';
import type { Journal } from './journal.ts';
import { runTool, type SpawnContext } from './spawn.ts';
import { undoSteps } from './undo.ts';

class StepFailure {
  readonly step: Step;
  readonly cause: string;
  constructor(step: Step, cause: string) {
    this.step = step;
    this.cause = cause;
  }
}

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

/** Of a batch that failed at `failed`: what came after it in ip's lines, and itself where what is there is another's. */
function neverDone(batch: Batch, failed: Step, stderr: string): Step[] {
  const after = batch.argv[0] === 'ip' ? batch.steps.slice(batch.steps.indexOf(failed) + 1) : [];
  const isOthers = failed.run.kind === 'run' && failed.run.exclusive && stderr.includes('File exists');
  return isOthers ? [failed, ...after] : after;
}

/** Says what was done without a process, where there is a tool for it. */
function sayDone({ run }: Step): void {
  if (run.kind === 'run' || run.kind === 'mount' || run.kind === 'umount') sayCommand(commandArgv(run));
}

async function runChain(
  steps: readonly Step[],
  started: Set<Step>,
  journal: Journal,
  context: SpawnContext,
): Promise<void> {
  let pending = steps;
  while (pending.length > 0) {
    const { batch, rest } = nextBatch(pending);
    pending = rest;
    const first = batch.steps[0] as Step;
    for (const step of batch.steps) started.add(step);
    try {
      if (doInProcess(first.run)) {
        if (context.verbose) sayDone(first);
      } else {
        const outcome = await runTool(batch.argv, context, batch.stdin);
        if (outcome.exitCode !== 0) {
          const failed = failingStep(batch, outcome.stderr);
          for (const step of neverDone(batch, failed, outcome.stderr)) started.delete(step);
          throw new StepFailure(failed, firstLine(outcome.stderr) || `${batch.argv[0]} ended with ${outcome.exitCode}`);
        }
      }
    } catch (error) {
      if (error instanceof StepFailure || error instanceof HostError) throw error;
      // An exclusive write that failed made nothing: what is there is another's.
      if (first.run.kind === 'write' && first.run.exclusive) started.delete(first);
      throw new StepFailure(first, (error as Error).message);
    }
    for (const step of batch.steps) {
      if (step.claims !== undefined) journal.done(step.id, identitiesOf(step.claims));
    }
  }
}

function chainsOf(steps: readonly Step[]): Iterable<Step[]> {
  return Map.groupBy(
    steps.filter((step) => step.chain !== undefined),
    (step) => step.chain,
  ).values();
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
 * included, and throws StepError (or HostError for a missing tool). What `rest` and `meanwhile` throw is a failure, too.
 */
export async function applySteps(
  what: string,
  steps: readonly Step[],
  journal: Journal,
  context: SpawnContext,
  { rest, meanwhile = [] }: Besides = {},
): Promise<void> {
  let all = steps;
  const started = new Set<Step>();
  const failures: unknown[] = [];
  const running: Promise<void>[] = [];
  const follow = (run: Promise<void>) => {
    // What it throws is looked at when all have ended.
    run.catch(() => {});
    running.push(run);
  };
  const begin = async (some: readonly Step[], besides: readonly (() => void | Promise<void>)[] = []) => {
    const first = some.filter((step) => step.chain === undefined);
    await runChain(first, started, journal, context);
    for (const run of beginBetween(besides)) follow(run);
    for (const chain of chainsOf(some)) follow(runChain(chain, started, journal, context));
  };
  journal.plan(steps);
  try {
    await begin(steps, rest === undefined ? meanwhile : []);
    if (rest !== undefined) {
      const more = rest();
      journal.plan(more);
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
  if (failure === undefined) return;
  const begun = all.filter((step) => started.has(step));
  const leftovers = await undoSteps({ steps: begun, identities: journal.salvage()?.identities ?? new Map() }, context);
  if (leftovers.length === 0) journal.undone(all.map((step) => step.id));
  if (failure instanceof StepFailure) {
    throw new StepError(failure.step.id, `cannot ${what}: ${failure.step.why}: ${failure.cause}`, leftovers);
  }
  throw failure;
}
