/** start: brings back whatever is missing, then runs the services in order, or the main command under its supervisor. */

import { requireTools } from '../host/tool.ts';
import { planBringUp } from '../plan/container.ts';
import { applySteps } from '../runner/apply.ts';
import { Journal, type JournalState } from '../runner/journal.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { lockContainer, releaseContainer } from '../state/locks.ts';
import type { NetworkRecord } from '../state/network.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer } from '../state/store.ts';
import type { Part, Step } from '../step.ts';
import { readFacts } from './container-facts.ts';
import { type Context, spawnContext } from './context.ts';
import { markUp, prepareHost, refuseForeign, waitForHostLink } from './create.ts';
import { type Attachment, startMain } from './main-command.ts';
import { repairNetwork } from './network.ts';
import { recover } from './remove.ts';
import { runServices } from './services.ts';
import { findBroken, isRunning } from './status.ts';
import { undoParts } from './stop.ts';

/** Steps that a start redoes, and those in effect that have to be undone first. */
export async function planRepair(
  spec: ContainerSpec,
  state: JournalState | undefined,
  whole: readonly Step[],
): Promise<{ undo: Step[]; redo: Step[] }> {
  if (state === undefined) return { undo: [], redo: [...whole] };
  const { readLinks } = await import('../host/links.ts');
  const broken = await findBroken(spec, state, await readLinks());
  const inEffect = new Set(state.steps.map((step) => step.id));
  const isBroken = (part: Part | undefined): boolean =>
    part !== undefined &&
    (broken.has(part) ||
      state.steps.some((step) => step.part === part && state.interrupted.has(step.id)) ||
      (part === 'nic' && isBroken('namespaces')) ||
      (part === 'port' && isBroken('nic')) ||
      whole.some((step) => step.part === part && !inEffect.has(step.id)));
  return {
    undo: state.steps.filter((step) => isBroken(step.part)),
    redo: whole.filter((step) => isBroken(step.part) || !inEffect.has(step.id)),
  };
}

export interface StartOptions {
  /** It was made a moment ago, and needs no look at what is missing. */
  readonly fresh?: boolean;
  /** The caller stays with the main command. */
  readonly attachment?: Attachment;
}

/** Returns what waits for the main command's exit status; undefined where none was started. */
export async function startContainer(
  context: Context,
  instance: string,
  name: string,
  { fresh, attachment }: StartOptions = {},
): Promise<(() => Promise<number>) | undefined> {
  if (!fresh) requireTools();
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    await recover(context, instance, name, lock.fd);
    const spec = await getContainer(context.roots, name);
    const journal = new Journal(containerPaths(context.roots, name).journal);
    const before = journal.read();
    if (!fresh) {
      const network = spec.nic && (await repairNetwork(context, instance, spec.nic.network));
      await repair(context, instance, spec, network, journal, lock.fd);
    }
    if (before?.phase === 'started' && isRunning(instance, name)) return undefined;
    await runServices(context, instance, spec, lock);
    const hasMain = spec.command.length > 0;
    const attend = hasMain ? await startMain(context, instance, spec, lock, attachment) : undefined;
    journal.phase('started');
    return attend;
  } finally {
    releaseContainer(context.roots, name, lock);
  }
}

async function repair(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  network: NetworkRecord | undefined,
  journal: Journal,
  lockFd: number,
): Promise<void> {
  const paths = containerPaths(context.roots, spec.name);
  const state = journal.read();
  if (state === undefined) refuseForeign(paths, spec.name);
  await prepareHost(context);
  const facts = readFacts(context, instance, spec, network);
  const { undo, redo } = await planRepair(spec, state, planBringUp(spec, paths, facts));
  if (state !== undefined && undo.length > 0) await undoParts(context, spec.name, state, undo, journal, lockFd);
  if (redo.length === 0) return;
  if (redo.some((step) => step.part === 'nic' && step.claims !== undefined)) await waitForHostLink(spec);
  await applySteps(`start ${spec.name}`, redo, journal, spawnContext(context, lockFd));
  markUp(context, spec, facts, journal);
}
