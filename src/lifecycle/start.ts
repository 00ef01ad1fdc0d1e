/** start: brings back whatever is missing, then runs the services in order, or the main command under its supervisor. */
import { rmSync } from 'node:fs';
import { firstLine, HostError } from '../errors.ts';
import { planBringUp } from '../plan/container.ts';
import { containerEnv, enterArgv, inCgroupArgv, programEnv, supervisorArgv } from '../process/enter.ts';
import { applySteps } from '../runner/apply.ts';
import { Journal, type JournalState } from '../runner/journal.ts';
import { requireTools } from '../runner/spawn.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { lockContainer, releaseContainer } from '../state/locks.ts';
import type { NetworkRecord } from '../state/network.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer } from '../state/store.ts';
import type { Part, Step } from '../step.ts';
import { readFacts } from './container-facts.ts';
import { type Context, spawnContext } from './context.ts';
import { markUp, prepareHost, refuseForeign, waitForHostLink } from './create.ts';
import { repairNetwork } from './network.ts';
import { placeOf } from './place.ts';
import { recover } from './remove.ts';
import { cgroupOf, findBroken, isRunning } from './status.ts';
import { undoParts } from './stop.ts';

/** Programs of a container never hold a lock: stdio is all they get. */
function runInside(context: Context, instance: string, spec: ContainerSpec, line: string): number {
  const place = placeOf(spec, containerPaths(context.roots, spec.name));
  const argv = enterArgv(place, { argv: ['/bin/sh', '-c', line] });
  const { enterPayload } = cgroupOf(instance, spec.name);
  const child = Bun.spawnSync(inCgroupArgv(enterPayload, argv), {
    stdio: ['ignore', 2, 2],
    env: programEnv(containerEnv(spec)),
  });
  return child.exitCode;
}

export function runStopCommands(context: Context, instance: string, spec: ContainerSpec): void {
  for (const line of spec.stopCommands) runInside(context, instance, spec, line);
}

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

/** `fresh`: it was made a moment ago and needs no look at what is missing; without `main` the caller runs that. */
export async function startContainer(
  context: Context,
  instance: string,
  name: string,
  options: { main: boolean; fresh: boolean } = { main: true, fresh: false },
): Promise<ContainerSpec> {
  if (!options.fresh) requireTools();
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    await recover(context, instance, name, lock.fd);
    const spec = await getContainer(context.roots, name);
    const journal = new Journal(containerPaths(context.roots, name).journal);
    const before = journal.read();
    if (!options.fresh) {
      const network = spec.nic && (await repairNetwork(context, instance, spec.nic.network));
      await repair(context, instance, spec, network, journal, lock.fd);
    }
    if (before?.phase === 'started' && isRunning(instance, name)) return spec;
    for (const line of spec.services) {
      const status = runInside(context, instance, spec, line);
      if (status !== 0) throw new HostError(`cannot start ${name}: service '${line}' ended with ${status}`);
    }
    if (options.main && spec.command.length > 0) startMain(context, instance, spec);
    journal.phase('started');
    return spec;
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

function startMain(context: Context, instance: string, spec: ContainerSpec): void {
  const paths = containerPaths(context.roots, spec.name);
  rmSync(paths.exit, { force: true });
  const argv = enterArgv(placeOf(spec, paths), { argv: spec.command });
  const { exitCode, stderr } = Bun.spawnSync(supervisorArgv(cgroupOf(instance, spec.name), paths.dir, argv), {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: programEnv(containerEnv(spec)),
  });
  if (exitCode !== 0) throw new HostError(`cannot start ${spec.name}: ${firstLine(stderr.toString())}`);
}
