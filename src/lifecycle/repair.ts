/** Puts back what a stop, a reboot, a killed minict or somebody's hand took away of a container, part by part. */
import { existsSync } from 'node:fs';
import { ConflictError } from '../errors.ts';
import { type HostLink, readLinks } from '../host/links.ts';
import { aliasWord, attaches, linkStepId } from '../network/parts.ts';
import { planBringUp } from '../plan/container.ts';
import { doAgain } from '../runner/again.ts';
import { applySteps } from '../runner/apply.ts';
import type { Journal, JournalState } from '../runner/journal.ts';
import { loadRuntime } from '../runtime/runtime.ts';
import { type ContainerSpec, networksOf } from '../spec/container.ts';
import { readNetworks } from '../state/network.ts';
import { containerPaths } from '../state/paths.ts';
import type { Part, Step } from '../step.ts';
import { readFacts } from './container-facts.ts';
import { type Context, spawnContext } from './context.ts';
import { markUp, prepareHost, refuseForeign, waitForHostLinks } from './create.ts';
import { findLost } from './lost-settings.ts';
import { findBroken, isRunning } from './status.ts';
import { undoParts } from './stop.ts';

export interface Repair {
  /** Steps in effect that have to be undone first, as their part is made anew. */
  readonly undo: readonly Step[];
  readonly redo: readonly Step[];
  /** Steps in effect of which somebody took away what they did inside; before what may need it. */
  readonly again: readonly Step[];
}

export async function planRepair(
  instance: string,
  spec: ContainerSpec,
  state: JournalState | undefined,
  whole: readonly Step[],
): Promise<Repair> {
  if (state === undefined) return { undo: [], redo: whole, again: [] };
  const broken = await findBroken(spec, state, readLinks());
  const inEffect = new Set(state.steps.map((step) => step.id));
  const isBroken = (part: Part | undefined): boolean =>
    part !== undefined &&
    (broken.has(part) ||
      state.steps.some((step) => step.part === part && state.interrupted.has(step.id)) ||
      (part.startsWith('nic ') && isBroken('namespaces')) ||
      (part.startsWith('port ') && isBroken(`nic ${part.slice('port '.length)}`)) ||
      whole.some((step) => step.part === part && !inEffect.has(step.id)));
  const wanted = new Set(whole.map((step) => step.id));
  // What is set inside stays: the interface is not made anew.
  const isLoose = (step: Step) => spec.nics.some((nic) => broken.has(`port ${nic.name}`) && attaches(step, nic));
  // Of an interface that a killed disconnect left.
  const isLeft = ({ id, part }: Step) => /^(nic|port) /.test(part ?? '') && !wanted.has(id);
  const undo = state.steps.filter((step) => isBroken(step.part) || isLeft(step));
  const redo = whole.filter((step) => isBroken(step.part) || !inEffect.has(step.id) || isLoose(step));
  const planned = { undo, redo, again: findLost(spec, whole, redo) };
  if (!broken.has('cgroup') || !isRunning(instance, spec.name)) return planned;
  return (await import('./groups-again.ts')).sparePopulated(planned, state, instance, spec);
}

/** Under another name it is not made anew: its other end has the NIC's name inside. */
async function refuseRenamed(
  instance: string,
  { name, nics }: ContainerSpec,
  { identities }: JournalState,
  undo: readonly Step[],
): Promise<void> {
  const lost = nics.filter((nic) => undo.some(({ id }) => id === linkStepId(nic)));
  if (lost.length === 0) return;
  const links = [...readLinks()];
  for (const nic of lost) {
    for (const [link, index] of Object.entries(identities.get(linkStepId(nic)) ?? {})) {
      const isIt = (other: HostLink) =>
        String(other.index) === index && other.alias === aliasWord(instance, name, nic.name);
      const [now] = links.find(([, other]) => isIt(other)) ?? [];
      if (now === undefined || now === link) continue;
      throw new ConflictError(`cannot start ${name}: its interface ${link} is called ${now} now`, {
        hint: `ip link set dev ${now} down; ip link set dev ${now} name ${link}; minict start ${name}`,
      });
    }
  }
}

/** What a process is in: made anew around it, it would be left in the old one. */
const AROUND_PROCESSES: readonly (Part | undefined)[] = ['namespaces', 'mounts', 'cgroup'];

function refuseAroundProcesses(instance: string, name: string, undo: readonly Step[]): void {
  const parts = new Set(undo.map((step) => step.part).filter((part) => AROUND_PROCESSES.includes(part)));
  if (parts.size === 0 || !isRunning(instance, name)) return;
  throw new ConflictError(
    `cannot start ${name}: its ${[...parts].join(' and ')} must be made anew, with processes in it`,
    {
      hint: `minict restart ${name}`,
    },
  );
}

/** A printed script may have made them: minict would have them in its journal. */
function refuseOthersFiles(name: string, redo: readonly Step[]): void {
  for (const { run } of redo) {
    if (run.kind !== 'write' || !run.exclusive || !existsSync(run.path)) continue;
    throw new ConflictError(`cannot start ${name}: ${run.path} is there, and minict did not make it`, {
      hint: `umount ${run.path}; rm ${run.path}; after a printed script: minict start ${name} --dry-run-undo | sh`,
    });
  }
}

/** The caller holds the container's lock, and has put back its network. Throws; then what it did is undone. */
export async function repair(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  journal: Journal,
  lockFd: number,
): Promise<void> {
  const paths = containerPaths(context.roots, spec.name);
  const state = journal.read();
  if (state === undefined) refuseForeign(paths, spec.name);
  await prepareHost(context, spec);
  const networks = await readNetworks(context.roots, networksOf(spec.nics));
  const facts = readFacts(context, instance, spec, networks, { runtime: await loadRuntime(spec) });
  const { undo, redo, again } = await planRepair(instance, spec, state, planBringUp(spec, paths, facts));
  if (state !== undefined && redo.some(({ part }) => part === 'cgroup')) {
    (await import('./groups-again.ts')).refuseStrays(state, instance, spec, paths);
  }
  if (redo.some(({ part }) => part === 'ports')) (await import('./ports.ts')).refuseUsed(spec.ports ?? []);
  if (state !== undefined && undo.length > 0) {
    await refuseRenamed(instance, spec, state, undo);
    refuseAroundProcesses(instance, spec.name, undo);
    await undoParts(context, spec.name, state, undo, journal, lockFd);
  }
  refuseOthersFiles(spec.name, redo);
  const anew = new Set(redo.map(({ id }) => id));
  await waitForHostLinks(
    `start ${spec.name}`,
    spec.nics.filter((nic) => anew.has(linkStepId(nic))),
  );
  await doAgain(`start ${spec.name}`, again, spawnContext(context, lockFd));
  if (redo.length > 0) await applySteps(`start ${spec.name}`, redo, journal, spawnContext(context, lockFd));
  if (redo.length > 0 || !existsSync(paths.enter)) markUp(context, spec, facts, journal);
}
