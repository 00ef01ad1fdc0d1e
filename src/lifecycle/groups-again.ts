/**
 * Empty cgroups that somebody removed of a container in which processes run: they are made again without a touch to the groups
 * that those are in.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { readCgroupHost } from '../cgroup/cgroup.ts';
import { isPopulated, processesIn } from '../cgroup/processes.ts';
import { ConflictError } from '../errors.ts';
import { identityOf } from '../runner/identity.ts';
import type { JournalState } from '../runner/journal.ts';
import { type ContainerSpec, isIsolated, rootfsOf } from '../spec/container.ts';
import type { ContainerPaths } from '../state/paths.ts';
import type { Step } from '../step.ts';
import type { Repair } from './repair.ts';
import { cgroupOf } from './status.ts';

/** The group of a step that makes one; undefined for what is written into groups. */
function groupOf(step: Step): string | undefined {
  return step.claims?.find(({ kind }) => kind === 'cgroup')?.name;
}

const isLost = (group: string) => identityOf({ kind: 'cgroup', name: group }) === undefined;

function lostGroups(steps: readonly Step[]): string[] {
  return steps
    .filter(({ part }) => part === 'cgroup')
    .flatMap((step) => groupOf(step) ?? [])
    .filter(isLost);
}

/** The same repair with no more of the groups than are lost, where nothing that runs has to be in these; else as it is. */
export function sparePopulated(repair: Repair, state: JournalState, instance: string, spec: ContainerSpec): Repair {
  const { undo, redo } = repair;
  const { payload, supervisor } = cgroupOf(instance, spec.name);
  const lost = new Set(lostGroups(undo));
  const inEffect = new Set(state.steps.map(({ id }) => id));
  const isWhole = ({ id, part }: Step) => part !== 'cgroup' || (inEffect.has(id) && !state.interrupted.has(id));
  if (lost.size === 0 || !redo.every(isWhole)) return repair;
  // What is in the payload is in the groups of its limits, too.
  if (isPopulated(readCgroupHost(), payload) && [...lost].some((group) => group !== supervisor)) return repair;
  // A cgroup namespace has the very group as its root that was there when it was made.
  if (lost.has(payload) && isIsolated(spec, 'cgroupns')) return repair;
  const kept = new Set(redo.flatMap((step) => groupOf(step) ?? []).filter((group) => !lost.has(group)));
  const isSpared = ({ run, part, ...step }: Step) => {
    const path = groupOf({ run, ...step }) ?? (run.kind === 'write' ? dirname(run.path) : '');
    return part === 'cgroup' && kept.has(path);
  };
  // Of what is lost there is nothing to undo.
  return {
    ...repair,
    undo: undo.filter(({ part }) => part !== 'cgroup'),
    redo: redo.filter((step) => !isSpared(step)),
  };
}

/** A group goes only when it is empty; who took it away may have put its processes elsewhere, where no stop would find them. */
export function refuseStrays(
  { steps }: JournalState,
  instance: string,
  spec: ContainerSpec,
  paths: ContainerPaths,
): void {
  const { name } = spec;
  const groups = cgroupOf(instance, name);
  if (!lostGroups(steps).includes(groups.payload)) return;
  const known = new Set([...processesIn(groups.container), ...processesIn(groups.supervisor)]);
  const strays = processesInside(spec, paths).filter((pid) => !known.has(pid));
  if (strays.length === 0) return;
  throw new ConflictError(
    `cannot start ${name}: its cgroup ${groups.payload} was removed, and processes of it are elsewhere: ${strays.join(', ')}`,
    { hint: `kill ${strays.join(' ')}; minict start ${name}` },
  );
}

/** By their mount namespace, or, where that is the host's, by their root. */
function processesInside(spec: ContainerSpec, { mntns, guestMntns, rootfs }: ContainerPaths): number[] {
  const own = [mntns, guestMntns].flatMap((file) => identityOf({ kind: 'nsfile', name: file }) ?? []);
  const isInside = (pid: string) => {
    try {
      if (spec.mounts === 'host') return readlinkSync(`/proc/${pid}/root`) === rootfsOf(spec, rootfs);
      return own.includes(identityOf({ kind: 'nsfile', name: `/proc/${pid}/ns/mnt` }) ?? '');
    } catch {
      return false; // It has ended meanwhile.
    }
  };
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter(isInside)
    .map(Number);
}
