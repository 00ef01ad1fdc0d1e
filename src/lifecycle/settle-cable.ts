/** Both ends of a cable, or none: of one whose making or removal was killed. */
import { NotFoundError } from '../errors.ts';
import { Journal } from '../runner/journal.ts';
import type { ContainerSpec, NicSpec } from '../spec/container.ts';
import type { CableWork } from '../state/cables.ts';
import { lockContainer, releaseContainer } from '../state/locks.ts';
import { containerPaths } from '../state/paths.ts';
import { findContainer } from '../state/store.ts';
import { disconnect, settleNics } from './connect.ts';
import type { Context } from './context.ts';

function endOf(spec: ContainerSpec | undefined, cable: string): NicSpec | undefined {
  return spec?.nics.find((nic) => nic.kind === 'p2p' && nic.cable === cable);
}

/** Throws HostError, StepError. */
export async function settleCable(
  context: Context,
  instance: string,
  { cable, containers, aim }: CableWork,
): Promise<void> {
  const specs = await Promise.all(containers.map((name) => findContainer(context.roots, name)));
  const isWhole = aim === 'made' && specs.every((spec) => endOf(spec, cable) !== undefined);
  for (const spec of specs) {
    if (spec === undefined) continue;
    if (isWhole || endOf(spec, cable) === undefined) await settleEnd(context, instance, spec.name);
    else await removeEnd(context, instance, spec.name, cable);
  }
}

/** What is recorded of it is so in the kernel, too. */
async function settleEnd(context: Context, instance: string, name: string): Promise<void> {
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    const spec = await findContainer(context.roots, name);
    if (spec === undefined) return;
    await settleNics(context, instance, spec, new Journal(containerPaths(context.roots, name).journal), lock.fd);
  } finally {
    releaseContainer(context.roots, name, lock);
  }
}

async function removeEnd(context: Context, instance: string, name: string, cable: string): Promise<void> {
  try {
    await disconnect(context, instance, name, (spec) => {
      const nic = endOf(spec, cable);
      if (nic !== undefined) return nic;
      throw new NotFoundError(`cannot remove cable ${cable} of ${name}: it is gone`);
    });
  } catch (error) {
    // Somebody else was quicker.
    if (!(error instanceof NotFoundError)) throw error;
  }
}
