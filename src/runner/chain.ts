/** The steps of a chain, one batch after the other: by a system call, or by a process. */
import { firstLine, HostError } from '../errors.ts';
import { sayCommand } from '../host/verbose.ts';
import type { Command, Step } from '../step.ts';
import { type Batch, commandArgv, failingStep, nextBatch } from './batch.ts';
import { identitiesOf } from './identity.ts';
import { doInProcess } from './in-process.ts';
import type { Journal } from './journal.ts';
import type { Progress } from './progress.ts';
import { runTool, type SpawnContext } from './spawn.ts';
import { nextVisit, type Visit } from './visit.ts';

export class StepFailure {
  readonly step: Step;
  readonly cause: string;
  constructor(step: Step, cause: string) {
    this.step = step;
    this.cause = cause;
  }
}

/** What ip(8) says of a name that is taken; of a tap's it is the latter. */
const IS_THERE = /File exists|Device or resource busy/;

/** Of a batch that failed at `failed`: what came after it in ip's lines, and itself where what is there is another's. */
function neverDone(batch: Batch, failed: Step, stderr: string): Step[] {
  const after = batch.argv[0] === 'ip' ? batch.steps.slice(batch.steps.indexOf(failed) + 1) : [];
  const isOthers = failed.run.kind === 'run' && failed.run.exclusive && IS_THERE.test(stderr);
  return isOthers ? [failed, ...after] : after;
}

/** Says what was done without a process, where there is a tool for it. */
function sayDone({ run }: Step): void {
  if (run.kind === 'run' || run.kind === 'mount' || run.kind === 'umount') sayCommand(commandArgv(run));
}

/** The code of it is for who has more namespaces than all have. */
async function doByCalls(command: Command, context: SpawnContext): Promise<boolean> {
  if (command.kind !== 'run') return false;
  if (command.does?.what === 'start init') return (await import('./init.ts')).startInit(command, command.does, context);
  if (command.does?.what === 'run oci') return (await import('./oci-init.ts')).runOci(command.does, context);
  if (command.does?.what === 'persist cgroupns')
    return (await import('./init.ts')).persistCgroupns(command.does, context);
  return false;
}

/** Throws StepFailure, or HostError for a missing tool: then no chain begins what waits for others. */
export async function runChain(
  steps: readonly Step[],
  progress: Progress,
  journal: Journal,
  context: SpawnContext,
): Promise<void> {
  try {
    for (const some of untilWaiting(steps)) {
      const after = some[0]?.after;
      if (after !== undefined && !(await progress.reaches(after))) return;
      await runSteps(some, progress, journal, context);
    }
  } catch (error) {
    progress.fail();
    throw error;
  }
}

/** Each but the first begins with a step that may have to wait. */
function untilWaiting(steps: readonly Step[]): (readonly Step[])[] {
  const parts: (readonly Step[])[] = [];
  let from = 0;
  for (let at = 1; at < steps.length; at += 1) {
    if (steps[at]?.after === undefined) continue;
    parts.push(steps.slice(from, at));
    from = at;
  }
  return [...parts, from === 0 ? steps : steps.slice(from)];
}

async function runSteps(
  steps: readonly Step[],
  progress: Progress,
  journal: Journal,
  context: SpawnContext,
): Promise<void> {
  const { started } = progress;
  const done = (some: readonly Step[]) => {
    for (const { id, claims } of some) if (claims !== undefined) journal.done(id, identitiesOf(claims));
    progress.done(some);
  };
  let visit = nextVisit(steps);
  for (let pending = steps; pending.length > 0; ) {
    // Of which the caller tells.
    if (progress.isInterrupted) throw new HostError('interrupted');
    if (visit !== undefined) {
      const made = makeVisit(visit, started, context);
      done(made);
      pending = pending.slice(made.length);
      if (made.length === visit.steps.length) {
        visit = nextVisit(pending);
        continue;
      }
    }
    const { batch, rest } = nextBatch(pending);
    pending = rest;
    for (const step of batch.steps) started.add(step);
    const running = doBatch(batch, started, context);
    // While a tool is at work.
    visit = nextVisit(rest);
    await running;
    done(batch.steps);
  }
}

/** Returns the steps that were done. */
function makeVisit({ steps, make }: Visit, started: Set<Step>, { verbose }: SpawnContext): readonly Step[] {
  for (const step of steps) started.add(step);
  const count = make();
  for (const step of steps.slice(count)) started.delete(step);
  const made = steps.slice(0, count);
  if (verbose) for (let said: readonly Step[] = made; said.length > 0; ) said = sayBatch(said);
  return made;
}

function sayBatch(steps: readonly Step[]): readonly Step[] {
  const { batch, rest } = nextBatch(steps);
  sayCommand(batch.argv, batch.stdin);
  return rest;
}

async function doBatch(batch: Batch, started: Set<Step>, context: SpawnContext): Promise<void> {
  const first = batch.steps[0] as Step;
  try {
    if (doInProcess(first.run) || (await doByCalls(first.run, context))) {
      if (context.verbose) sayDone(first);
      return;
    }
    const outcome = await runTool(batch.argv, context, batch.stdin);
    if (outcome.exitCode === 0) return;
    const failed = failingStep(batch, outcome.stderr);
    for (const step of neverDone(batch, failed, outcome.stderr)) started.delete(step);
    throw new StepFailure(failed, firstLine(outcome.stderr) || `${batch.argv[0]} ended with ${outcome.exitCode}`);
  } catch (error) {
    if (error instanceof StepFailure || error instanceof HostError) throw error;
    // An exclusive write that failed made nothing: what is there is another's.
    if (first.run.kind === 'write' && first.run.exclusive) started.delete(first);
    throw new StepFailure(first, (error as Error).message);
  }
}
