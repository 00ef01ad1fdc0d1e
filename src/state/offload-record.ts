/**
 * The features of a NIC as they were before `--offload` first changed them: the kernel does not remember. In the run dir, as
 * a reboot ends the NIC. It counts for that very interface alone.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { StateError } from '../errors.ts';
import type { ContainerPaths } from './paths.ts';

interface OffloadRecord {
  readonly version: 1;
  /** Of the namespace and of the interface in it. */
  readonly identity: string;
  readonly features: Readonly<Record<string, boolean>>;
}

function recordPath({ runDir }: ContainerPaths, nic: string): string {
  return join(runDir, `offload-${nic}.json`);
}

/** Undefined where nothing was changed. Throws StateError. */
export function readOffloadRecord(
  paths: ContainerPaths,
  nic: string,
  identity: string,
): Map<string, boolean> | undefined {
  const path = recordPath(paths, nic);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const record = parseRecord(text);
  if (record === undefined) {
    throw new StateError(`cannot read ${path}: damaged, or written by another version`, {
      hint: `rm ${path}, and set the features with ethtool -K`,
    });
  }
  return record.identity === identity ? new Map(Object.entries(record.features)) : undefined;
}

function parseRecord(text: string): OffloadRecord | undefined {
  try {
    const record = JSON.parse(text) as Partial<OffloadRecord>;
    return record.version === 1 && record.features !== undefined ? (record as OffloadRecord) : undefined;
  } catch {
    return undefined;
  }
}

export function writeOffloadRecord(
  paths: ContainerPaths,
  nic: string,
  identity: string,
  features: ReadonlyMap<string, boolean>,
): void {
  const path = recordPath(paths, nic);
  const record: OffloadRecord = { version: 1, identity, features: Object.fromEntries(features) };
  writeFileSync(`${path}.tmp`, JSON.stringify(record), { mode: 0o600 });
  renameSync(`${path}.tmp`, path);
}

export function removeOffloadRecord(paths: ContainerPaths, nic: string): void {
  rmSync(recordPath(paths, nic), { force: true });
}
