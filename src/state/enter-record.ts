/**
 * What `exec` has to know of a container that is up, computed once when it is brought up, since reading it all again
 * (zod, cgroup facts) costs exec 3 ms. It lies in the run dir, which only root can write; it is gone while the
 * container is stopped.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { StateError } from '../errors.ts';
import type { Place } from '../spec/place.ts';
import type { ContainerPaths } from './paths.ts';

export interface EnterRecord {
  readonly version: 1;
  readonly place: Place;
  readonly env: Readonly<Record<string, string>>;
  /** `user[:group]`, and working directory, where exec says nothing else. */
  readonly user?: string;
  readonly workdir?: string;
  /** Its processes are held still (`pause`): a program that enters would be, too. */
  readonly paused?: true;
  /** Files that take `0` from a process that enters the container's cgroups. */
  readonly enter: readonly string[];
}

export function writeEnterRecord(paths: ContainerPaths, record: EnterRecord): void {
  const temporary = `${paths.enter}.tmp`;
  writeFileSync(temporary, JSON.stringify(record), { mode: 0o600 });
  renameSync(temporary, paths.enter);
}

export function removeEnterRecord(paths: ContainerPaths): void {
  rmSync(paths.enter, { force: true });
}

/** Undefined where the container is not up. */
export function readEnterRecord(paths: ContainerPaths): EnterRecord | undefined {
  let text: string;
  try {
    text = readFileSync(paths.enter, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const record = JSON.parse(text) as Partial<EnterRecord>;
  if (record.version !== 1 || record.place?.layers === undefined || record.enter === undefined) {
    throw new StateError(`cannot read ${paths.enter}: written by another version`, { hint: 'minict restart NAME' });
  }
  return record as EnterRecord;
}
