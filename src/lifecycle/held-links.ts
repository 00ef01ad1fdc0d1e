/**
 * NICs whose network namespace something still holds when their container is removed: the kernel keeps them as long, with the
 * address that another container may get.
 */
import { HostError } from '../errors.ts';
import { isNamespaceHeld, peerNamespace, takeDown } from '../host/peer-namespace.ts';
import { interfaceIndex } from '../host/syscalls.ts';
import { sayCommand } from '../host/verbose.ts';
import type { SpawnContext } from '../runner/spawn.ts';
import { ownClaims, type Undoing, undoSteps } from '../runner/undo.ts';
import type { Step } from '../step.ts';

/**
 * A socket that was closed a moment ago, such as that of the ip(8) that brought the NIC up, holds its namespace until the
 * kernel's next RCU grace period has passed. To remove an interface takes a whole one.
 */
const LETS_GO_MS = 10;
const POLL_MS = 0.2;

/** An object's interfaces on the host, and the numbers of the namespaces that they lead into, as they were before its undo. */
export interface Behind {
  readonly object: Undoing;
  readonly links: readonly { readonly name: string; readonly index: number }[];
  readonly namespaces: readonly number[];
}

function linkSteps({ steps }: Undoing): Step[] {
  return steps.filter((step) => step.claims?.some(({ kind }) => kind === 'link'));
}

export function lookBehind(object: Undoing): Behind {
  // Names are reused: what is known to be another's by now is not looked at. Two steps may claim one: made, and up.
  const names = linkSteps(object).flatMap((step) => ownClaims(step, object.identities).map(({ name }) => name));
  const links = [...new Set(names)].map((name) => ({ name, index: interfaceIndex(name) }));
  return { object, links, namespaces: links.flatMap(({ name }) => peerNamespace(name) ?? []) };
}

const isHeld = ({ namespaces }: Behind): boolean => namespaces.some(isNamespaceHeld);

/** Takes down those that live on, so that nobody answers there any more. Returns them. */
export function silenceHeldLinks(undone: readonly Behind[], { verbose }: SpawnContext): Behind[] {
  const held = undone.filter(isHeld);
  for (const { name, index } of held.flatMap(({ links }) => links)) {
    if (verbose) sayCommand(['ip', 'link', 'set', 'dev', name, 'down']);
    takeDown(index);
  }
  return held;
}

/**
 * Removes those that still live on: a process of the host in their namespace (`ip netns exec NAME tcpdump`) may keep them for
 * long. Throws HostError.
 */
export async function removeHeldLinks(held: readonly Behind[], spawning: SpawnContext): Promise<void> {
  const end = performance.now() + LETS_GO_MS;
  while (held.some(isHeld) && performance.now() < end) Bun.sleepSync(POLL_MS);
  for (const { object } of held.filter(isHeld)) {
    const left = await undoSteps({ steps: linkSteps(object), identities: object.identities }, spawning);
    if (left.length > 0) throw new HostError(`cannot remove a network interface: ${left.join('; ')}`);
  }
}
