/** What the verbs of cables and carriers would do, as lines of a shell script: see dry-run.ts. */
import { portPart } from '../network/parts.ts';
import { planNics } from '../plan/container.ts';
import { runLines, undoLines } from '../plan/shell.ts';
import { Journal } from '../runner/journal.ts';
import type { CableRequest } from '../spec/nic.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer } from '../state/store.ts';
import type { Step } from '../step.ts';
import { planConnection, stepsOfNic, withNic } from './connect.ts';
import type { Context } from './context.ts';
import { instanceForScripts } from './dry-run-surroundings.ts';
import { nicNamed, otherEnd } from './link-nics.ts';
import { type CableEnd, requestsFor, requireTwo } from './links.ts';
import { assignNics } from './nics.ts';

export type LinkLines = { readonly run: string; readonly undo: string };

function stateOf(context: Context, name: string) {
  return new Journal(containerPaths(context.roots, name).journal).read();
}

/** Each way is the other's back. */
function bothWays(steps: readonly Step[], comes: boolean): LinkLines {
  const [run, undo] = [runLines(steps), undoLines(steps)];
  return comes ? { run, undo } : { run: undo, undo: run };
}

export async function addLinkLines(context: Context, ends: readonly [CableEnd, CableEnd]): Promise<LinkLines> {
  const instance = instanceForScripts(context);
  requireTwo(ends);
  const planEnd = async ({ container }: CableEnd, request: CableRequest) => {
    const before = await getContainer(context.roots, container);
    const { nics } = await assignNics(context, instance, before, [request]);
    const [nic] = nics;
    if (nic?.kind !== 'p2p') throw new Error('a cable that is none');
    const state = stateOf(context, container);
    const { runDir } = containerPaths(context.roots, container);
    const owner = { container, instance, runDir };
    return { nic, steps: state === undefined ? [] : planConnection(owner, withNic(before, nic), nic, state) };
  };
  const near = await planEnd(ends[0], requestsFor(ends)[0]);
  const far = await planEnd(ends[1], { ...requestsFor(ends)[1], cable: near.nic.cable });
  return bothWays([...near.steps, ...far.steps], true);
}

export async function removeLinkLines(context: Context, name: string, nicName: string): Promise<LinkLines> {
  const nic = nicNamed(await getContainer(context.roots, name), nicName, 'remove');
  const far = nic.kind === 'p2p' ? await otherEnd(context, name, nic) : undefined;
  const near = stepsOfNic(stateOf(context, name)?.steps ?? [], nic);
  const others = far === undefined ? [] : stepsOfNic(stateOf(context, far.name)?.steps ?? [], far.nic);
  return bothWays([...near, ...others], false);
}

export async function setLinkLines(
  context: Context,
  name: string,
  nicName: string,
  wanted: 'up' | 'down',
): Promise<LinkLines> {
  const spec = await getContainer(context.roots, name);
  const nic = nicNamed(spec, nicName, `take ${wanted}`);
  const state = stateOf(context, name);
  if (state === undefined || state.phase === 'stopped' || (nic.down === true) === (wanted === 'down')) {
    return { run: '', undo: '' };
  }
  const { runDir } = containerPaths(context.roots, name);
  const up = { ...spec, nics: spec.nics.map((each) => (each === nic ? { ...nic, down: undefined } : each)) };
  const steps = planNics(up as typeof spec, { container: name, instance: instanceForScripts(context), runDir });
  return bothWays(
    steps.filter(({ part }) => part === portPart(nic)),
    wanted === 'up',
  );
}
