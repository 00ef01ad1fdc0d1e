/** Whether the thing a step claimed is still the very same thing. Reads only. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readGroupFile } from '../host/group-file.ts';
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
  if (claim.kind === 'init') return initOf(claim.name);
  if (claim.kind === 'nft table') return tableHandle(claim.name);
  if (claim.kind === 'port') return publishedTarget(claim.name);
  const stat = statSync(claim.name, { throwIfNoEntry: false });
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`;
}

/** The PID 1 that is in the group; who started it may still be there. */
export function initOf(group: string): string | undefined {
  return processesOf(group).find(isInit);
}

/** Numbers of those in a group; 0 is one of another PID namespace. */
export function processesOf(group: string): string[] {
  return (readGroupFile(join(group, 'cgroup.procs')) ?? '').split('\n').filter(Boolean);
}

/** NSpid of proc_pid_status(5): its number in each PID namespace that it is in. */
function isInit(pid: string): boolean {
  try {
    return /^NSpid:.*\t1$/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false; // It has ended meanwhile.
  }
}

/** Identities of all claims that are there, by name. */
export function identitiesOf(claims: readonly Claim[]): Record<string, string> {
  const entries = claims.map((claim) => [claim.name, identityOf(claim)] as const);
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => entry[1] !== undefined));
}
