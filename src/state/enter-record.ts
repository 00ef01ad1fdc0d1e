/**
 * What `exec` has to know of a container that is up, computed once when it is brought up, since reading it all again
 * (zod, cgroup facts) costs exec 3 ms. It lies in the run dir, which only root can write; it is gone while the
 * container is stopped.
 */
import { StateError } from '../errors.ts';
import { readText } from '../host/exec-calls.ts';
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

/** Undefined where the container is not up. */
export function readEnterRecord(paths: ContainerPaths): EnterRecord | undefined {
  let text: string;
  try {
    text = readText(paths.enter);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const record = parse(text);
  if (record?.version !== 1 || record.place?.layers === undefined || record.enter === undefined) {
    throw new StateError(`cannot read ${paths.enter}: damaged, or written by another version`, {
      hint: 'minict restart NAME',
    });
  }
  return record as EnterRecord;
}

/** Undefined where it is no JSON. */
function parse(text: string): Partial<EnterRecord> | null | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
