/** What a container is doing, from the kernel: its namespaces, its link, its cgroup. Reads only. */
import { existsSync, readFileSync } from 'node:fs';
import { type CgroupPaths, cgroupPaths, isPopulated, readCgroupHost } from '../cgroup/cgroup.ts';
import { interfaceIndex } from '../host/syscalls.ts';
import { identityOf } from '../runner/identity.ts';
import { Journal } from '../runner/journal.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { containerPaths } from '../state/paths.ts';
import type { Context } from './context.ts';

export interface Status {
  readonly state: 'ready' | 'running' | 'stopped' | 'broken';
  /** What is missing, for `broken`. */
  readonly missing: readonly string[];
  readonly exitCode: number | undefined;
}

export function cgroupOf(instance: string, name: string): CgroupPaths {
  return cgroupPaths(readCgroupHost(), instance, name);
}

export function readStatus(context: Context, instance: string, spec: ContainerSpec): Status {
  const paths = containerPaths(context.roots, spec.name);
  const state = new Journal(paths.journal).read();
  const exitCode = existsSync(paths.exit) ? Number(readFileSync(paths.exit, 'utf8').split(' ')[0]) : undefined;
  if (state === undefined || state.phase === 'stopped') return { state: 'stopped', missing: [], exitCode };
  if (state.phase === undefined) return { state: 'broken', missing: ['an interrupted start'], exitCode };
  const missing: string[] = [];
  for (const step of state.steps) {
    for (const claim of step.claims ?? []) {
      // The placeholder files are hidden under the namespaces mounted over them.
      if (claim.kind === 'file') continue;
      const recorded = state.identities.get(step.id)?.[claim.name];
      if (recorded === undefined || identityOf(claim) !== recorded) missing.push(`${claim.kind} ${claim.name}`);
    }
  }
  if (spec.nic !== undefined && interfaceIndex(spec.nic.network) === 0) missing.push(`bridge ${spec.nic.network}`);
  if (missing.length > 0) return { state: 'broken', missing, exitCode };
  const populated = isPopulated(readCgroupHost(), cgroupOf(instance, spec.name).payload);
  return { state: populated ? 'running' : 'ready', missing, exitCode };
}
