/** Whether the thing a step claimed is still the very same thing. Reads only. */
import { existsSync, statSync } from 'node:fs';

import { publishedTarget, tableHandle } from '../host/nft-table.ts';

import { findOvsRow } from '../host/ovs.ts';

import { interfaceIndex } from '../host/syscalls.ts';
import type { Claim } from '../step.ts';

/** Identity now, or undefined where there is no such thing. */
export function identityOf(claim: Claim): string | undefined {
  if (claim.kind === 'link') {
    const index = interfaceIndex(claim.name);
    return index === 0 ? undefined : String(index);
  }
  if (claim.kind === 'ovs') return findOvsRow(claim.name);
  // The path has the instance's random id in it: whose it is needs no number.
  if (claim.kind === 'cgroup') return existsSync(claim.name) ? 'there' : undefined;
  if (claim.kind === 'nft table') return tableHandle(claim.name);
  if (claim.kind === 'port') return publishedTarget(claim.name);
  const stat = statSync(claim.name, { throwIfNoEntry: false });
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`;
}

/** Identities of all claims that are there, by name. */
export function identitiesOf(claims: readonly Claim[]): Record<string, string> {
  const entries = claims.map((claim) => [claim.name, identityOf(claim)] as const);
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => entry[1] !== undefined));
}
