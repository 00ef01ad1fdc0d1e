/** Named volumes on the disk: a folder with `volume.json` and the files in `data`, published by rename. */
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ConflictError, NotFoundError, StateError } from '../errors.ts';
import { readJson, writeJson } from '../state/json-file.ts';
import { type Roots, volumePaths, volumesDir } from '../state/paths.ts';
import { moveToTrash, refuseMounted } from '../state/trash.ts';

export interface Volume {
  readonly name: string;
  readonly createdAt: string;
  /** Folder of its files. */
  readonly data: string;
}

/** Throws StateError where it is damaged. */
export async function findVolume(roots: Roots, name: string): Promise<Volume | undefined> {
  const { json, data } = volumePaths(roots, name);
  const record = await readJson(json, 'volume', name);
  if (record === undefined) return undefined;
  if (!existsSync(data)) {
    // It was removed meanwhile.
    if (!existsSync(json)) return undefined;
    throw new StateError(`cannot use volume ${name}: its folder ${data} is gone`, {
      hint: `minict volume rm ${name}; or mkdir ${data}`,
    });
  }
  return { name, createdAt: record.createdAt, data };
}

/** Throws NotFoundError, StateError. */
export async function getVolume(roots: Roots, name: string): Promise<Volume> {
  const volume = await findVolume(roots, name);
  if (volume === undefined) {
    throw new NotFoundError(`cannot find volume ${name}: no such volume`, { hint: 'minict volume ls' });
  }
  return volume;
}

/** Names of all volumes, in order; one may turn out to be damaged. */
export function volumeNames(roots: Roots): string[] {
  const dir = volumesDir(roots);
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .filter((name) => !name.startsWith('.') && existsSync(volumePaths(roots, name).json))
    .sort();
}

/** Where in a folder of its own the files of a new volume go. */
export function stageVolume(folder: string): string {
  const data = join(folder, 'data');
  mkdirSync(data, { mode: 0o755 });
  return data;
}

/** Puts a staged one in its place; false where another one was quicker. Throws ConflictError where something else is there. */
export function publishVolume(roots: Roots, name: string, folder: string): boolean {
  const { dir, json } = volumePaths(roots, name);
  try {
    writeJson(join(folder, 'volume.json'), { version: 1, name, createdAt: new Date().toISOString() });
    renameSync(folder, dir);
    return true;
  } catch (error) {
    // rename(2) does not replace a folder that has something in it.
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    if (existsSync(json)) return false;
    throw new ConflictError(`cannot make volume ${name}: ${dir} is there, without a volume.json`, {
      hint: `move it away: mv ${dir} ${dir}.old`,
    });
  }
}

/** One that was removed meanwhile is, too. */
export function isEmpty({ data }: Volume): boolean {
  try {
    return readdirSync(data).length === 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true;
    throw error;
  }
}

/** Puts what is staged in the place of none. Returns how to empty it again; undefined where there is something by now. */
export function fillVolume(roots: Roots, { data }: Volume, folder: string): (() => string) | undefined {
  const { mode, uid, gid } = statSync(data);
  try {
    renameSync(join(folder, 'data'), data);
    rmdirSync(folder);
  } catch (error) {
    if (['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
  return () => {
    const trash = moveToTrash(roots, data, 'volume');
    mkdirSync(data);
    chownSync(data, uid, gid);
    chmodSync(data, mode & 0o7777);
    return trash;
  };
}

/**
 * From here on there is no such volume; returns the folder that its files are in, to be removed. Throws NotFoundError,
 * ConflictError while containers use it, or something is mounted in it.
 */
export function retireVolume(roots: Roots, name: string, inUseBy: readonly string[]): string {
  const { dir, json } = volumePaths(roots, name);
  if (!existsSync(json)) {
    throw new NotFoundError(`cannot remove volume ${name}: no such volume`, { hint: 'minict volume ls' });
  }
  if (inUseBy.length > 0) {
    throw new ConflictError(`cannot remove volume ${name}: used by ${inUseBy.join(', ')}`, {
      hint: `minict rm ${inUseBy.join(' ')}`,
    });
  }
  refuseMounted(dir);
  return moveToTrash(roots, dir, 'volume');
}
