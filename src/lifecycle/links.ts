/** Cables between containers and the carrier of interfaces, while they run or not. */
import { ConflictError } from '../errors.ts';
import { requireTools } from '../host/tool.ts';
import { portPart } from '../network/parts.ts';
import { planNics } from '../plan/container.ts';
import { applySteps } from '../runner/apply.ts';
import { Journal } from '../runner/journal.ts';
import type { ContainerSpec, NicSpec } from '../spec/container.ts';
import { type CableRequest, checkNic, type parseCableEnd } from '../spec/nic.ts';
import { type Begun, beginCable } from '../state/cables.ts';
import { lockContainer, releaseContainer } from '../state/locks.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer, writeContainer } from '../state/store.ts';
import { connect, disconnect, settleNics } from './connect.ts';
import { type Context, spawnContext } from './context.ts';
import { nicNamed, otherEnd } from './link-nics.ts';
import { recover } from './remove.ts';
import { undoParts } from './stop.ts';
import { settleCables } from './unfinished-cables.ts';

export type CableEnd = ReturnType<typeof parseCableEnd>;

/** Throws ConflictError where both ends are one container's. */
export function requireTwo([first, second]: readonly [CableEnd, CableEnd]): void {
  if (first.container !== second.container) return;
  throw new ConflictError(`cannot make a cable from ${first.container} to itself`, {
    hint: 'minict link ONE:eth3 OTHER:eth3',
  });
}

/** What both ask for; the second one's cable is the one that the first one got. */
export function requestsFor([first, second]: readonly [CableEnd, CableEnd]): [CableRequest, CableRequest] {
  const near: CableRequest = { ...first.settings, kind: 'p2p', peer: second.container, isNew: true };
  const far: CableRequest = { ...second.settings, kind: 'p2p', peer: first.container };
  for (const request of [near, far]) checkNic(request);
  return [near, far];
}

/** A new cable between two containers that are there; both ends or none. Throws what connect throws. */
export async function addLink(context: Context, instance: string, ends: readonly [CableEnd, CableEnd]): Promise<void> {
  requireTwo(ends);
  // In the order of their names: of two at once for the same interfaces one wins.
  const [one, other] = ends;
  const inOrder = one.container < other.container ? ([one, other] as const) : ([other, one] as const);
  const [first, second] = inOrder;
  const [near, far] = requestsFor(inOrder);
  for (const { container } of inOrder) await settleCables(context, instance, container);
  await getContainer(context.roots, second.container);
  let work: Begun | undefined;
  const begin = (nic: NicSpec) => {
    const containers = [first.container, second.container] as const;
    work = beginCable(context.roots, { cable: cableOf(nic), containers, aim: 'made' });
  };
  let isHalf = false;
  try {
    const nic = await connect(context, instance, first.container, near, begin);
    isHalf = true;
    try {
      await connect(context, instance, second.container, { ...far, cable: cableOf(nic) });
    } catch (error) {
      await disconnect(context, instance, first.container, (spec) => nicNamed(spec, nic.name, 'remove'));
      isHalf = false;
      throw error;
    }
    isHalf = false;
  } finally {
    if (!isHalf) work?.end();
    work?.release();
  }
}

function cableOf(nic: NicSpec): string {
  if (nic.kind !== 'p2p') throw new Error('a cable that is none');
  return nic.cable;
}

/** Both ends go, wherever the other one is. Throws NotFoundError, ConflictError, HostError. */
export async function removeLink(context: Context, instance: string, name: string, nicName: string): Promise<void> {
  await settleCables(context, instance, name);
  const nic = nicNamed(await getContainer(context.roots, name), nicName, 'remove');
  if (nic.kind === 'veth') {
    throw new ConflictError(`cannot remove ${name}:${nicName}: it is in network ${nic.network}`, {
      hint: `minict network disconnect ${nic.network} ${name} --name ${nicName}`,
    });
  }
  const removeNear = () => disconnect(context, instance, name, (spec) => nicNamed(spec, nicName, 'remove'));
  if (nic.kind !== 'p2p') return removeNear();
  const far = await otherEnd(context, name, nic);
  if (far === undefined) return removeNear();
  const work = beginCable(context.roots, { cable: nic.cable, containers: [name, far.name], aim: 'removed' });
  try {
    await disconnect(context, instance, far.name, (spec) => nicNamed(spec, far.nic.name, 'remove'));
    await removeNear();
    work.end();
  } catch (error) {
    // Nothing was changed yet.
    if ((await otherEnd(context, name, nic)) !== undefined) work.end();
    throw error;
  } finally {
    work.release();
  }
}

function withChanged(spec: ContainerSpec, nic: NicSpec, changed: NicSpec): ContainerSpec {
  return { ...spec, nics: spec.nics.map((each) => (each === nic ? changed : each)) };
}

/** Takes the carrier away, or gives it back; a start leaves it so. Throws NotFoundError, HostError, StepError. */
export async function setLink(
  context: Context,
  instance: string,
  name: string,
  nicName: string,
  wanted: 'up' | 'down',
): Promise<void> {
  requireTools();
  await settleCables(context, instance, name);
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    await recover(context, instance, name, lock.fd);
    const before = await getContainer(context.roots, name);
    const nic = nicNamed(before, nicName, `take ${wanted}`);
    const { down: _, ...rest } = nic;
    const after = withChanged(before, nic, wanted === 'down' ? { ...rest, down: true } : rest);
    const paths = containerPaths(context.roots, name);
    const journal = new Journal(paths.journal);
    const state = await settleNics(context, instance, before, journal, lock.fd);
    writeContainer(context.roots, after);
    if (state?.phase === undefined || state.phase === 'stopped') return;
    const isPort = ({ part }: { part?: string | undefined }) => part === portPart(nic);
    const inEffect = state.steps.filter(isPort);
    if (wanted === 'down') await undoParts(context, name, state, inEffect, journal, lock.fd);
    else if (inEffect.length === 0) {
      const steps = planNics(after, { container: name, instance, runDir: paths.runDir }).filter(isPort);
      await applySteps(`take up ${name}:${nicName}`, steps, journal, spawnContext(context, lock.fd));
      journal.phase(state.phase);
    }
  } finally {
    releaseContainer(context.roots, name, lock);
  }
}
