/**
 * Seccomp filters as the kernel takes them, kept in the run dir: to make one of docker's list of system calls takes crun 15 ms,
 * at each start. A filter is known by what it is made of, and by whom.
 */
import { readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Seccomp } from '../spec/security.ts';
import type { ContainerPaths } from '../state/paths.ts';

/** Bytes of an instruction (linux/filter.h). */
const INSTRUCTION_BYTES = 8;

export interface KeptFilter {
  /** Where it is, or is to be. */
  readonly path: string;
  /** Base64; undefined where it is yet to be made. */
  readonly data: string | undefined;
}

/** `program` makes it. */
export function keptFilter(seccomp: Seccomp, program: string, { runDir }: ContainerPaths): KeptFilter {
  const { mtimeMs, size } = statSync(program);
  const key = new Bun.CryptoHasher('sha256').update(JSON.stringify([seccomp, program, mtimeMs, size])).digest('hex');
  const path = join(dirname(runDir), `.seccomp-${key}`);
  return { path, data: read(path) };
}

function read(path: string): string | undefined {
  try {
    const filter = readFileSync(path);
    return filter.length > 0 && filter.length % INSTRUCTION_BYTES === 0 ? filter.toString('base64') : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
