/**
 * What each verb would do, as lines of a shell script that needs no minict. Reads everything, writes nothing: an instance
 * id that is not there yet is only made up. Minict's own records stay as they are: a script changes the kernel.
 */
import { ConflictError } from '../errors.ts';
import { type ContainerFacts, enterFiles, planBringUp } from '../plan/container.ts';
import { goingOn, runLines, undoLines } from '../plan/shell.ts';
import { containerEnv } from '../process/enter.ts';
import { logPipe, stampingConfig } from '../process/log-writer.ts';
import { runIn } from '../process/run-in.ts';
import {
  planBeginHealth,
  planBeginRun,
  planKill,
  planLogPipe,
  planNoRestarts,
  planProgram,
  planRestarts,
  planShutDown,
  planSupervised,
  planTerminate,
} from '../process/steps.ts';
import { supervised } from '../process/supervisor.ts';
import { Journal, type JournalState } from '../runner/journal.ts';
import { bootProgram } from '../runtime/boot.ts';
import { loadRuntime } from '../runtime/runtime.ts';
import { type ContainerSpec, isIsolated, networksOf } from '../spec/container.ts';
import type { Place } from '../spec/place.ts';
import { parseSignal } from '../spec/signal.ts';
import { readEnterRecord } from '../state/enter-record.ts';
import { type NetworkRecord, readNetworks } from '../state/network.ts';
import { containerPaths } from '../state/paths.ts';
import { findContainer, getContainer } from '../state/store.ts';
import type { Step } from '../step.ts';
import { mountedOf } from './attachments.ts';
import { readCgroupFacts, readFacts } from './container-facts.ts';
import type { Context } from './context.ts';
import { planCreate } from './create.ts';
import {
  instanceForScripts,
  planClosing,
  planHostsEntries,
  planSurroundings,
  planTakingBack,
  step,
} from './dry-run-surroundings.ts';
import { mainProgram, placeOf } from './place.ts';
import { stepsInEffect } from './remove.ts';
import { planRepair } from './repair.ts';
import { cgroupOf, isRunning } from './status.ts';
import { isDown, stepsThatStopUndoes } from './stop.ts';
import { supervisionOf } from './supervision.ts';

/** `facts` are those of the image, where there is one already; `first` makes what is not there yet. */
export async function createLines(
  context: Context,
  spec: ContainerSpec,
  networks: readonly NetworkRecord[],
  facts: ContainerFacts,
  first: readonly Step[] = [],
): Promise<string> {
  const [folder, ...rest] = planCreate(context, spec, facts);
  return runLines([
    ...(await planSurroundings(context, networks, spec)),
    ...(folder === undefined ? [] : [folder]),
    ...first,
    ...planHostsEntries(context, spec),
    ...rest,
  ]);
}

export async function uncreateLines(
  context: Context,
  spec: ContainerSpec,
  networks: readonly NetworkRecord[],
  facts: ContainerFacts,
): Promise<string> {
  const opened = await planTakingBack(context, facts.instance, networks, spec);
  return endLines(context, spec) + undoLines(planCreate(context, spec, facts)) + undoLines(opened);
}

function enterOf(context: Context, spec: ContainerSpec): string[] {
  return enterFiles(spec.name, readCgroupFacts(instanceForScripts(context), spec));
}

function planShellLine(context: Context, spec: ContainerSpec, why: string, line: string): Step {
  const place = placeOf(spec, containerPaths(context.roots, spec.name));
  const env = containerEnv(spec);
  return planProgram(why, enterOf(context, spec), runIn(place, { argv: ['/bin/sh', '-c', line], env }));
}

/** Services and the main command: `attached` without a terminal, or left to its supervisor. */
export function programLines(
  context: Context,
  spec: ContainerSpec,
  main: 'attached' | 'detached',
  mounted: Place['mounted'],
): string {
  const services = spec.services.map((line) => planShellLine(context, spec, 'service', line));
  if (spec.command.length === 0) return runLines(services);
  const paths = containerPaths(context.roots, spec.name);
  const instance = instanceForScripts(context);
  const cgroup = cgroupOf(instance, spec.name);
  const program = spec.boot ? bootProgram(spec, paths, cgroup.container) : mainProgram(spec, paths, undefined, mounted);
  const enter = enterOf(context, spec);
  if (main === 'attached') return runLines([...services, planProgram('main command', enter, program)]);
  const log = logPipe(paths, spec.log);
  const supervisor = supervised(supervisionOf(context, spec, { instance, cgroup, enter, mounted, log }), program);
  const why = 'main command, and what waits for it';
  const stamping = stampingConfig(paths, spec.log ?? {});
  const stamped: Step[] = [
    step('log folder', 'of its log', { kind: 'mkdir', path: paths.stampedLog, mode: 0o700, parents: true }),
    step('log settings', 'how much of it is kept', { kind: 'write', ...stamping }),
  ];
  return runLines([
    ...services,
    planBeginRun(paths.exit),
    ...(spec.health === undefined ? [] : [planBeginHealth(paths.health)]),
    ...(spec.restart === undefined ? [] : [planRestarts(paths.stopping)]),
    ...(log.timestamps ? stamped : []),
    planLogPipe(paths.logPipe),
    planSupervised(why, cgroup.enterSupervisor, paths.log, supervisor),
  ]);
}

async function factsFor(
  context: Context,
  spec: ContainerSpec,
  networks: readonly NetworkRecord[],
): Promise<ContainerFacts> {
  return readFacts(context, instanceForScripts(context), spec, networks, { runtime: await loadRuntime(spec) });
}

/** What a start brings up of a container in that state. */
async function bringUpLines(
  context: Context,
  spec: ContainerSpec,
  state: JournalState | undefined,
): Promise<{ lines: string; mounted: Place['mounted'] }> {
  const networks = await readNetworks(context.roots, networksOf(spec.nics));
  const facts = await factsFor(context, spec, networks);
  const whole = planBringUp(spec, containerPaths(context.roots, spec.name), facts);
  const { undo, redo, again } = await planRepair(instanceForScripts(context), spec, state, whole);
  const broken = undo.length === 0 ? '' : goingOn(undoLines(undo));
  const lines = runLines(await planSurroundings(context, networks, spec)) + broken + runLines([...again, ...redo]);
  return { lines, mounted: mountedOf(facts.rootfs.volumes) };
}

export async function startLines(
  context: Context,
  name: string,
  main: 'attached' | 'detached' = 'detached',
): Promise<string> {
  const spec = await getContainer(context.roots, name);
  const state = new Journal(containerPaths(context.roots, name).journal).read();
  const started = state?.phase === 'started' && isRunning(instanceForScripts(context), name);
  const { lines, mounted } = await bringUpLines(context, spec, state);
  return lines + (started ? '' : programLines(context, spec, main, mounted));
}

function endLines(context: Context, spec: ContainerSpec): string {
  const { payload, supervisor, init } = cgroupOf(instanceForScripts(context), spec.name);
  return runLines([
    ...noRestarts(context, spec),
    ...[payload, supervisor, ...(isIsolated(spec, 'pid') ? [init] : [])].map(planKill),
  ]);
}

/** What a supervisor started meanwhile would be left. */
function noRestarts({ roots }: Context, { name, restart }: ContainerSpec): Step[] {
  return restart === undefined ? [] : [planNoRestarts(containerPaths(roots, name).stopping)];
}

/** Of any other init than systemd, which has a signal for it, a script takes no more than what the container says. */
function planAsking({ boot, stopSignal = boot ? 'RTMIN+3' : 'TERM' }: ContainerSpec, payload: string, graceMs: number) {
  return boot
    ? planShutDown(payload, graceMs, parseSignal(stopSignal))
    : planTerminate(payload, graceMs, parseSignal(stopSignal));
}

export async function stopLines(context: Context, name: string, graceMs: number): Promise<string> {
  const spec = await getContainer(context.roots, name);
  const paths = containerPaths(context.roots, name);
  const instance = instanceForScripts(context);
  const { payload } = cgroupOf(instance, name);
  const state = new Journal(paths.journal).read();
  if (state === undefined || isDown(state)) return '';
  const commands = isRunning(instance, name) ? spec.stopCommands : [];
  const stopCommands = commands.map((line) => planShellLine(context, spec, 'stop command', line));
  return (
    runLines([...stopCommands, ...noRestarts(context, spec), planAsking(spec, payload, graceMs)]) +
    endLines(context, spec) +
    undoLines(stepsThatStopUndoes(state.steps))
  );
}

export async function restartLines(context: Context, name: string, graceMs: number): Promise<string> {
  const spec = await getContainer(context.roots, name);
  const state = new Journal(containerPaths(context.roots, name).journal).read();
  const undone = new Set(state && stepsThatStopUndoes(state.steps));
  const stopped = state && { ...state, steps: state.steps.filter((step) => !undone.has(step)) };
  const stop = goingOn(await stopLines(context, name, graceMs));
  const { lines, mounted } = await bringUpLines(context, spec, stopped);
  return stop + lines + programLines(context, spec, 'detached', mounted);
}

/** The way back of a start, and of a restart: as a stop, of all that they may bring up. */
export async function unstartLines(context: Context, name: string): Promise<string> {
  const spec = await getContainer(context.roots, name);
  const networks = await readNetworks(context.roots, networksOf(spec.nics));
  const facts = await factsFor(context, spec, networks);
  const whole = planBringUp(spec, containerPaths(context.roots, name), facts);
  return endLines(context, spec) + undoLines(stepsThatStopUndoes(whole));
}

/** The way back of a stop: of a container that is up, all that the stop would take down. */
export async function unstopLines(context: Context, name: string): Promise<string> {
  const spec = await getContainer(context.roots, name);
  const paths = containerPaths(context.roots, name);
  const state = new Journal(paths.journal).read();
  if (state === undefined || isDown(state)) return startLines(context, name);
  const mounted = readEnterRecord(paths)?.place.mounted;
  return runLines(stepsThatStopUndoes(state.steps)) + programLines(context, spec, 'detached', mounted);
}

/** The container as it was made; what was in its files is gone. */
export async function recreateLines(context: Context, name: string): Promise<string> {
  const spec = await getContainer(context.roots, name);
  const networks = await readNetworks(context.roots, networksOf(spec.nics));
  return createLines(context, spec, networks, await factsFor(context, spec, networks));
}

export async function removeLines(context: Context, name: string, force: boolean): Promise<string> {
  const spec = await (force ? findContainer : getContainer)(context.roots, name);
  if (spec === undefined) return '';
  if (!force && isRunning(instanceForScripts(context), name)) {
    throw new ConflictError(`cannot remove ${name}: processes run in it`, { hint: `minict rm -f ${name}` });
  }
  const paths = containerPaths(context.roots, name);
  // Last, so that its status is the script's: what is left of the container keeps them, as with minict.
  const forget = '[ ! -e "$0" ] && rm -rf --one-file-system -- "$1"';
  const records = step('records', "minict's records of it", {
    kind: 'run',
    argv: ['sh', '-c', forget, paths.dir, paths.runDir],
  });
  return (
    endLines(context, spec) +
    undoLines(stepsInEffect(paths, new Journal(paths.journal).read(), spec.storage)) +
    undoLines(await planClosing(context, spec)) +
    runLines([records])
  );
}
