/** Snapshots of a container's network: folders of text files, a line for each setting. They go with the container. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { ConflictError, HostError, NotFoundError, StateError } from '../errors.ts';
import type { ContainerPaths } from './paths.ts';

export interface NetSnapshotEntry {
  readonly name: string;
  readonly createdAt: string;
}

/** Half made or half removed; no snapshot's name begins with a dot. */
const UNDER_WAY = ['.new', '.gone'];

export function netSnapshotFolder({ netSnapshots }: ContainerPaths, snapshot: string): string {
  return join(netSnapshots, snapshot);
}

/** The oldest one first. */
export function listNetSnapshots({ netSnapshots }: ContainerPaths): NetSnapshotEntry[] {
  const names = existsSync(netSnapshots) ? readdirSync(netSnapshots).filter((name) => !name.startsWith('.')) : [];
  const entries = names.map((name) => ({ name, createdAt: statSync(join(netSnapshots, name)).mtime.toISOString() }));
  return entries.sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
}

/** Throws NotFoundError. */
export function requireNetSnapshot(paths: ContainerPaths, container: string, snapshot: string): void {
  if (existsSync(netSnapshotFolder(paths, snapshot))) return;
  throw new NotFoundError(`cannot find network snapshot ${snapshot} of ${container}: no such snapshot`, {
    hint: `minict net snapshot ls ${container}`,
  });
}

/** Lines of one of its files. Throws StateError. */
export function readNetSnapshotFile(paths: ContainerPaths, snapshot: string, file: string): string[] {
  const path = join(netSnapshotFolder(paths, snapshot), file);
  try {
    return readFileSync(path, 'utf8').split('\n').slice(0, -1);
  } catch (error) {
    throw new StateError(`cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
}

function clean({ netSnapshots }: ContainerPaths): void {
  for (const name of UNDER_WAY) rmSync(join(netSnapshots, name), { recursive: true, force: true });
}

/** Appears whole, by a rename; the caller holds the container's lock. Throws ConflictError, HostError. */
export function writeNetSnapshot(
  paths: ContainerPaths,
  container: string,
  snapshot: string,
  files: ReadonlyMap<string, readonly string[]>,
): void {
  const folder = netSnapshotFolder(paths, snapshot);
  if (existsSync(folder)) {
    throw new ConflictError(`cannot make network snapshot ${snapshot} of ${container}: there is one of that name`, {
      hint: `minict net snapshot rm ${container} ${snapshot}`,
    });
  }
  const staged = join(paths.netSnapshots, '.new');
  clean(paths);
  try {
    mkdirSync(staged, { recursive: true, mode: 0o700 });
    for (const [file, lines] of files) {
      writeFileSync(join(staged, file), lines.map((line) => `${line}\n`).join(''), { mode: 0o600 });
    }
    renameSync(staged, folder);
  } catch (error) {
    rmSync(staged, { recursive: true, force: true });
    throw new HostError(`cannot write ${folder}: ${(error as Error).message}`, { cause: error });
  }
}

export function removeNetSnapshot(paths: ContainerPaths, snapshot: string): void {
  clean(paths);
  renameSync(netSnapshotFolder(paths, snapshot), join(paths.netSnapshots, '.gone'));
  clean(paths);
  if (readdirSync(paths.netSnapshots).length === 0) rmdirSync(paths.netSnapshots);
}
