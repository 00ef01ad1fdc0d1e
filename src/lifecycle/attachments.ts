/** What a container's volumes, binds and tmpfs are made of: where their files are on the host. Reads only. */
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { NotFoundError } from '../errors.ts';
import { statUserPath } from '../host/user-path.ts';
import type { ContainerSpec } from '../spec/container.ts';
import type { Mounted } from '../spec/place.ts';
import { parseImageVolume, parseTmpfs, parseVolume, refuseTwice, type VolumeSpec } from '../spec/volume.ts';
import { containerPaths, volumePaths } from '../state/paths.ts';
import type { Attachment, PlacedVolume } from '../storage/mount-points.ts';
import type { Context } from './context.ts';

/**
 * The words of `-v` and `--tmpfs`, and where the image wants volumes, unless the user mounts something there. What is to be
 * bound has to be there. Throws InvalidInputError, NotFoundError.
 */
export function resolveVolumes(
  words: readonly string[],
  tmpfs: readonly string[],
  image: readonly string[],
): VolumeSpec[] {
  const given = [...words.map(parseVolume), ...tmpfs.map(parseTmpfs)];
  refuseTwice(given);
  const more = image.flatMap(parseImageVolume).filter(({ target }) => !given.some((other) => other.target === target));
  return [...given, ...more].map((volume) =>
    volume.type === 'bind' ? { ...volume, source: bindSource(volume.source) } : volume,
  );
}

/** Its real path. Throws NotFoundError, InvalidInputError. */
export function bindSource(source: string): string {
  try {
    statUserPath(source, `mount ${source}`);
  } catch (error) {
    // docker would make a directory: of a name that was mistyped, too.
    if (error instanceof NotFoundError) throw new NotFoundError(error.message, { hint: `mkdir -p ${source}` });
    throw error;
  }
  return realpathSync(source);
}

/** The host's file or directory that is mounted; undefined for a tmpfs. */
export function sourceOf(context: Context, spec: ContainerSpec, volume: VolumeSpec): string | undefined {
  if (volume.type === 'tmpfs') return undefined;
  if (volume.type === 'bind') return volume.source;
  if (volume.name !== undefined) return volumePaths(context.roots, volume.name).data;
  const own = spec.volumes?.indexOf(volume) ?? 0;
  return join(containerPaths(context.roots, spec.name).volumes, String(own));
}

function isNew(data: string): boolean {
  return !existsSync(data) || readdirSync(data).length === 0;
}

function gone(volume: VolumeSpec, source: string): NotFoundError {
  const [what, hint] =
    volume.type === 'volume'
      ? [`volume ${volume.name}`, `minict volume create ${volume.name} makes an empty one`]
      : [source, `put ${source} back`];
  return new NotFoundError(`cannot mount ${what} at ${volume.target}: it is not there any more`, { hint });
}

/** `volumesToCome`: a script makes named ones, too. Throws NotFoundError. */
export function readAttachments(context: Context, spec: ContainerSpec, volumesToCome: boolean): Attachment[] {
  return (spec.volumes ?? []).map((volume): Attachment => {
    const source = sourceOf(context, spec, volume);
    if (source === undefined) return { volume, isFolder: true };
    const isOwn = volume.type === 'volume' && volume.name === undefined;
    const toMake = isOwn ? !existsSync(source) : volume.type === 'volume' && volumesToCome && isNew(source);
    if (toMake) return { volume, source, isFolder: true, toMake };
    const stat = statSync(source, { throwIfNoEntry: false });
    if (stat === undefined) throw gone(volume, source);
    return { volume, source, isFolder: stat.isDirectory() };
  });
}

/** What of them can be seen from outside, once they are mounted. */
export function mountedOf(volumes: readonly PlacedVolume[]): Mounted[] {
  return volumes.map(({ target, source, isFolder }) =>
    source === undefined ? { path: target, dirs: [] } : { path: target, source, dirs: isFolder ? [source] : [] },
  );
}
