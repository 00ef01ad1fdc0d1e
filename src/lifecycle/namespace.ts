/** A container's network namespace, as it is in the kernel now, and the interfaces in it. Reads only. */
import { ConflictError, NotFoundError } from '../errors.ts';
import { type NamespaceLink, readNamespaceLinks } from '../host/links.ts';
import { identityOf } from '../runner/identity.ts';
import { Journal } from '../runner/journal.ts';
import { containerPaths } from '../state/paths.ts';
import type { Context } from './context.ts';

export interface Namespace {
  /** `ip -n NAME`. */
  readonly netns: string;
  /** `nsenter --net=FILE`. */
  readonly file: string;
  readonly identity: string;
}

/** That which minict made, and no other of its name. `what` as in `cannot <what>: …`. Throws ConflictError. */
export function requireNamespace(context: Context, name: string, what: string): Namespace {
  const paths = containerPaths(context.roots, name);
  const state = new Journal(paths.journal).read();
  const claim = { kind: 'nsfile', name: paths.netns } as const;
  const identity = identityOf(claim);
  const owner = state?.steps.find((step) => step.claims?.some((other) => other.name === paths.netns));
  const recorded = owner && state?.identities.get(owner.id)?.[paths.netns];
  if (identity !== undefined && recorded === identity) return { netns: name, file: paths.netns, identity };
  throw new ConflictError(`cannot ${what}: ${name} has no network namespace, it was not started since the boot`, {
    hint: `minict start ${name}`,
  });
}

/** Throws NotFoundError, HostError. */
export function requireNic(namespace: Namespace, nic: string, what: string): NamespaceLink {
  const links = readNamespaceLinks(namespace.netns);
  const link = links.find(({ name }) => name === nic);
  if (link !== undefined) return link;
  throw new NotFoundError(`cannot ${what}: ${namespace.netns} has no interface ${nic}`, {
    hint: `it has ${links.map(({ name }) => name).join(', ')}`,
  });
}
