/**
 * NICs whose network namespace something still holds when their container is removed: the kernel keeps them as long, with the
 * address that another container may get.
 */
import { statSync } from 'node:fs';
import { HostError } from '../errors.ts';
import { isNamespaceHeld, peerNamespace, takeDown } from '../host/peer-namespace.ts';
import { sayCommand } from '../host/verbose.ts';
import type { SpawnContext } from '../runner/spawn.ts';
import { type Undoing, undoSteps } from '../runner/undo.ts';
import type { ContainerPaths } from '../state/paths.ts';
import type { Step } from '../step.ts';

/**
 * A socket that was closed a moment ago, such as that of the ip(8) that brought the NIC up, holds its namespace until the
 * kernel's next RCU grace period has passed. To remove an interface takes a whole one.
 */
const LETS_GO_MS = 10;
/** Nobody else has found the namespace of a container that came up this long ago, as a rule. */
const IS_NEW_MS = 100;

/** An object's interfaces on the host, and the numbers of the namespaces that they lead into, as they were before its undo. */
export interface Behind {
  readonly object: Undoing;
  readonly links: readonly string[];
  readonly namespaces: readonly number[];
  readonly isNew: boolean;
}

function linkSteps({ steps }: Undoing): Step[] {
  return steps.filter((step) => step.claims?.some(({ kind }) => kind === 'link'));
}

export function lookBehind(object: Undoing, paths: ContainerPaths): Behind {
  const links = linkSteps(object).flatMap((step) => (step.claims ?? []).map(({ name }) => name));
  const up = statSync(paths.enter, { throwIfNoEntry: false });
  const isNew = up !== undefined && Date.now() - up.mtimeMs < IS_NEW_MS;
  return { object, links, namespaces: links.flatMap((link) => peerNamespace(link) ?? []), isNew };
}

const isHeld = ({ namespaces }: Behind): boolean => namespaces.some(isNamespaceHeld);

/**
 * Of what was undone: interfaces that live on are removed, as a process of the host in their namespace (`ip netns exec NAME
 * tcpdump`) may keep them for long. New ones are taken down, which is over at once, and left to the kernel.
 */
export async function loseHeldLinks(undone: readonly Behind[], spawning: SpawnContext): Promise<void> {
  for (const link of undone.flatMap((behind) => (behind.isNew && isHeld(behind) ? behind.links : []))) {
    if (spawning.verbose) sayCommand(['ip', 'link', 'set', 'dev', link, 'down']);
    takeDown(link);
  }
  const old = undone.filter(({ isNew }) => !isNew);
  const end = performance.now() + LETS_GO_MS;
  while (old.some(isHeld) && performance.now() < end) await Bun.sleep(1);
  for (const { object } of old.filter(isHeld)) {
    const left = await undoSteps({ steps: linkSteps(object), identities: object.identities }, spawning);
    if (left.length > 0) throw new HostError(`cannot remove a network interface: ${left.join('; ')}`);
  }
}
