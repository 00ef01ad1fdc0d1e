/**
 * Named volumes: made and filled at first use, all that a create needs or none; held until its container is there; who uses
 * them, and their end. Files are copied before any lock is taken.
 */
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { ConflictError, firstLine, HostError, StateError } from '../errors.ts';
import { requireTools } from '../host/tool.ts';
import type { ContainerFacts } from '../plan/container.ts';
import { fillFrom } from '../plan/files.ts';
import { doInProcess } from '../runner/in-process.ts';
import { runTool } from '../runner/spawn.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { type Lock, lockVolumes } from '../state/locks.ts';
import { skeletonPath, volumePaths, volumesDir } from '../state/paths.ts';
import { inNewFolder } from '../state/staging.ts';
import { findContainer, listContainers } from '../state/store.ts';
import { removeTree } from '../state/trash.ts';
import type { Step } from '../step.ts';
import { type FillFrom, fillArgv, planNewVolume } from '../storage/fill.ts';
import { resolveInRoot } from '../storage/resolve.ts';
import { planSkeleton } from '../storage/rootfs.ts';
import {
  fillVolume,
  findVolume,
  isEmpty,
  publishVolume,
  retireVolume,
  stageVolume,
  volumeNames,
} from '../storage/volume.ts';
import { type Context, spawnContext } from './context.ts';

/** Names of the volumes that outlast the container, each with its place. */
export function namedVolumes({ volumes = [] }: ContainerSpec): { name: string; target: string }[] {
  return volumes.flatMap((volume) =>
    volume.type === 'volume' && volume.name !== undefined ? [{ name: volume.name, target: volume.target }] : [],
  );
}

/** Containers by the volume that they use. Throws StateError: who cannot be read may use any. */
export async function volumeUsers(context: Context): Promise<Map<string, string[]>> {
  const users = new Map<string, string[]>();
  for (const container of listContainers(context.roots)) {
    const spec = await findContainer(context.roots, container);
    if (spec === undefined) continue;
    for (const { name } of namedVolumes(spec)) {
      const known = users.get(name) ?? [];
      if (!known.includes(container)) users.set(name, [...known, container]);
    }
  }
  return users;
}

async function isUnused(context: Context, name: string): Promise<boolean> {
  try {
    return !(await volumeUsers(context)).has(name);
  } catch (error) {
    if (error instanceof StateError) return false;
    throw error;
  }
}

interface Staged {
  readonly name: string;
  readonly folder: string;
  /** What is to be its files, in place of the staged ones. */
  readonly given?: string;
}

/** A volume that is to be made, or is empty and to be filled. */
interface Wanted {
  readonly name: string;
  /** Directory inside the image. */
  readonly fill: string | undefined;
  readonly given?: string;
}

/** Those that are not there yet, or empty, as steps of a script: minict knows them then. */
export function planNamedVolumes(context: Context, spec: ContainerSpec, facts: ContainerFacts): Step[] {
  return facts.rootfs.volumes.flatMap((placed): Step[] => {
    const { volume, toMake } = placed;
    if (!toMake || volume.type !== 'volume' || volume.name === undefined) return [];
    const { json } = volumePaths(context.roots, volume.name);
    const content = `${JSON.stringify({ version: 1, name: volume.name, createdAt: spec.createdAt }, null, 2)}\n`;
    const record: Step = {
      id: `record ${volume.name}`,
      why: 'its record',
      run: { kind: 'write', path: json, content },
    };
    return [...planNewVolume(placed, fillFrom(spec, facts.skeleton)), ...(existsSync(json) ? [] : [record])];
  });
}

/**
 * Does `action` while the container's named volumes are there; where it fails those that were made for it go again. `given`
 * are trees with the files of volumes that come from elsewhere: none of their names may be there yet.
 */
export async function withVolumes<T>(
  context: Context,
  spec: ContainerSpec,
  action: () => Promise<T>,
  given: ReadonlyMap<string, string> = new Map(),
): Promise<T> {
  requireTools();
  for (const { run } of planSkeleton(skeletonPath(context.roots))) doInProcess(run);
  mkdirSync(volumesDir(context.roots), { recursive: true, mode: 0o700 });
  const from = fillFrom(spec, skeletonPath(context.roots));
  let held: Held | undefined;
  try {
    while (held === undefined) {
      // Again where one was removed meanwhile.
      const wanted = await findWanted(context, spec, from, given);
      await stage(context, from, wanted, async (staged) => {
        held = await hold(context, spec, staged);
      });
    }
    return await action();
  } catch (error) {
    try {
      held?.undo();
    } catch {
      // It is an unused volume, or trash: prune says what is in the way.
    }
    throw error;
  } finally {
    held?.lock.release();
  }
}

function alreadyThere(name: string): ConflictError {
  return new ConflictError(`cannot make volume ${name}: one of that name is there`, {
    hint: `minict volume rm ${name}, where it is none to keep; or save the container without --volumes`,
  });
}

/** Throws ConflictError where one of the volumes is there. */
export function refuseVolumes(context: Context, names: Iterable<string>): void {
  for (const name of names) if (existsSync(volumePaths(context.roots, name).dir)) throw alreadyThere(name);
}

async function findWanted(
  context: Context,
  spec: ContainerSpec,
  from: FillFrom,
  given: ReadonlyMap<string, string>,
): Promise<Wanted[]> {
  const wanted = new Map<string, Wanted>();
  const layers = 'lower' in from ? from.lower : [from.inPlace];
  for (const [name, tree] of given) wanted.set(name, { name, fill: undefined, given: tree });
  for (const { name, target } of namedVolumes(spec)) {
    const volume = await findVolume(context.roots, name);
    const image = resolveInRoot(layers, target);
    const fill = image !== undefined && image.merged.length > 0 ? image.path : undefined;
    const isWanted = volume === undefined || (fill !== undefined && isEmpty(volume) && (await isUnused(context, name)));
    if (isWanted && !wanted.has(name)) wanted.set(name, { name, fill });
  }
  return [...wanted.values()];
}

/** Makes all of them in private folders, then does `use`; what that has not published is removed. */
async function stage(
  context: Context,
  from: FillFrom,
  wanted: readonly Wanted[],
  use: (staged: readonly Staged[]) => Promise<void>,
  staged: readonly Staged[] = [],
): Promise<void> {
  const [first, ...rest] = wanted;
  if (first === undefined) return use(staged);
  return inNewFolder(volumesDir(context.roots), async (folder, lockFd) => {
    const data = stageVolume(folder);
    if (first.fill !== undefined) {
      const argv = fillArgv(from, first.fill, data);
      const { exitCode, stderr } = await runTool(argv, spawnContext(context, lockFd));
      if (exitCode !== 0) throw new HostError(`cannot fill volume ${first.name}: ${firstLine(stderr)}`);
    }
    const { name, given } = first;
    return stage(context, from, rest, use, [...staged, { name, folder, ...(given === undefined ? {} : { given }) }]);
  });
}

interface Held {
  readonly lock: Lock;
  undo(): void;
}

/** With volumes of its own making it holds the lock alone: until it is through, nobody else has put anything into them. */
async function hold(context: Context, spec: ContainerSpec, staged: readonly Staged[]): Promise<Held | undefined> {
  const { roots } = context;
  const lock = lockVolumes(roots, staged.length > 0 ? 'exclusive' : 'shared');
  const undos: (() => string)[] = [];
  const undo = () => {
    for (const dir of undos.map((back) => back())) removeTree(dir);
  };
  const made = new Set(staged.map(({ name }) => name));
  const isHere = (name: string) => made.has(name) || existsSync(volumePaths(roots, name).json);
  if (!namedVolumes(spec).every(({ name }) => isHere(name))) {
    lock.release();
    return undefined;
  }
  try {
    for (const { name, folder, given } of staged) {
      const volume = await findVolume(roots, name);
      if (given !== undefined) {
        if (volume !== undefined) throw alreadyThere(name);
        renameSync(given, join(folder, 'data'));
      }
      if (volume === undefined) {
        if (publishVolume(roots, name, folder)) undos.push(() => retireVolume(roots, name, []));
      } else if (isEmpty(volume) && (await isUnused(context, name))) {
        const back = fillVolume(roots, volume, folder);
        if (back !== undefined) undos.push(back);
      }
    }
    return { lock, undo };
  } catch (error) {
    undo();
    lock.release();
    throw error;
  }
}

/** One that is there stays as it is. */
export async function createVolume(context: Context, name: string): Promise<void> {
  // One that a create has made may go again, until it is through.
  const lock = lockVolumes(context.roots, 'shared');
  try {
    if ((await findVolume(context.roots, name)) !== undefined) return;
    mkdirSync(volumesDir(context.roots), { recursive: true, mode: 0o700 });
    await inNewFolder(volumesDir(context.roots), (folder) => {
      stageVolume(folder);
      publishVolume(context.roots, name, folder);
    });
  } finally {
    lock.release();
  }
}

/** No create takes it between the look at who uses it and its end. Throws NotFoundError, ConflictError, HostError. */
export async function removeVolume(context: Context, name: string): Promise<void> {
  const lock = lockVolumes(context.roots, 'exclusive');
  let trash: string;
  try {
    trash = retireVolume(context.roots, name, (await volumeUsers(context)).get(name) ?? []);
  } finally {
    lock.release();
  }
  removeTree(trash);
}

/** Removes those that no container uses, or with `dryRun` only names them; what cannot be removed does not keep the rest. */
export async function pruneVolumes(
  context: Context,
  dryRun: boolean,
): Promise<{ names: readonly string[]; errors: readonly unknown[] }> {
  const lock = dryRun ? undefined : lockVolumes(context.roots, 'exclusive');
  const names: string[] = [];
  const trash: string[] = [];
  const errors: unknown[] = [];
  try {
    const users = await volumeUsers(context);
    for (const name of volumeNames(context.roots).filter((name) => !users.has(name))) {
      try {
        await findVolume(context.roots, name);
        if (!dryRun) trash.push(retireVolume(context.roots, name, []));
        names.push(name);
      } catch (error) {
        errors.push(error);
      }
    }
  } finally {
    lock?.release();
  }
  for (const dir of trash) removeTree(dir);
  return { names, errors };
}
