/**
 * Where each mount point of a container really is, and what has to be made for it: nothing is written into an image, a
 * directory in place or the host's files. Reads only.
 */
import { InvalidInputError } from '../errors.ts';
import type { Memory } from '../host/layered.ts';
import type { Mounted } from '../spec/place.ts';
import { HOST_FILES, HOST_FOLDERS, isWithin } from '../spec/root-paths.ts';
import type { VolumeSpec } from '../spec/volume.ts';
import { type Resolved, resolveInRoot, showsFromBelow } from './resolve.ts';

/** A root as it is before anything is mounted in it. */
export interface Root {
  /** From the top; those of an overlay, or the directory in place. */
  readonly layers: readonly string[];
  /** The same without what the container has changed. */
  readonly image: readonly string[];
  readonly overlay: boolean;
  /** For messages: `image web`. */
  readonly what: string;
  /** Its image is made later, by a script. */
  readonly toCome?: boolean;
}

/** What is to be mounted: a volume's files, the host's, or a tmpfs. */
export interface Attachment {
  readonly volume: VolumeSpec;
  /** Absent for a tmpfs. */
  readonly source?: string;
  readonly isFolder: boolean;
  /** It is a volume yet to be made, filled with what the root has there. */
  readonly toMake?: boolean;
}

export interface PlacedVolume extends Attachment {
  /** Inside the root, symlinks followed. */
  readonly target: string;
  /** Directory inside the image that a new volume is filled with. */
  readonly fill?: string;
  /** Mode of the image's directory, which a tmpfs takes on. */
  readonly mode?: number;
}

/** A mount point, or the working directory, that is missing in one of the container's mounts: in a volume at `path`, or in a tmpfs. */
export interface MissingMountPoint {
  readonly target: string;
  readonly isFolder: boolean;
  readonly volume?: { readonly dir: string; readonly path: string };
}

/** A folder with the attributes that the image's own there has, or the file at its end. */
export interface HiddenMountPoint {
  readonly path: string;
  readonly isFolder: boolean;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export interface RootfsFacts {
  /** Minict's own mount points inside the root, symlinks followed; absent where the image leads nowhere. */
  readonly targets: Readonly<Record<string, string>>;
  /** Mount points that are in none of an overlay's layers. */
  readonly absent: {
    readonly files: readonly string[];
    readonly folders: readonly string[];
    /** What a layer of the image has removed or hides: these must be made in front of them, with the folders on the way. */
    readonly hidden: readonly HiddenMountPoint[];
  };
  /** In the order of their mounts. */
  readonly volumes: readonly PlacedVolume[];
  readonly missing: readonly MissingMountPoint[];
}

const OTHER = 'name another place';

/** What is yet to be made for a mount point, or why there can be none. */
type Need =
  | 'nothing'
  | 'layer'
  | readonly HiddenMountPoint[]
  | MissingMountPoint
  | { readonly refused: string; readonly hint: string };

class Placing {
  private readonly root: Root;
  private readonly memory: Memory;
  /** Of minict's own folders. */
  readonly targets: Record<string, string> = {};
  readonly placed: PlacedVolume[] = [];
  readonly mounted: Mounted[] = [];
  readonly missing: MissingMountPoint[] = [];
  readonly absent = { files: [] as string[], folders: [] as string[], hidden: [] as HiddenMountPoint[] };

  constructor(root: Root, memory: Memory) {
    this.root = root;
    this.memory = memory;
  }

  resolve(path: string): Resolved | undefined {
    return resolveInRoot(this.root.layers, path, this.mounted, this.memory);
  }

  showsFromBelow(path: string): boolean {
    return this.root.overlay && showsFromBelow(this.root.layers, path, this.memory);
  }

  need({ path, stat, inside }: Resolved, isFolder: boolean): Need {
    if (stat !== undefined) {
      if (stat.isDirectory() === isFolder) return 'nothing';
      const [is, mounts] = stat.isDirectory() ? ['a directory', 'a file'] : ['no directory', 'one'];
      return { refused: `it is ${is} there, and ${mounts} is to be mounted`, hint: OTHER };
    }
    if (inside === undefined) {
      if (this.showsFromBelow(path)) return 'layer';
      if (this.root.overlay) return this.inFront(path, isFolder) ?? { refused: 'a file is in its way', hint: OTHER };
      return { refused: 'it is not there', hint: `mkdir -p ${this.root.layers[0]}${path}` };
    }
    if (inside.source === undefined) return { target: path, isFolder };
    const rest = path.slice(inside.path.length + 1);
    const host = `${inside.source}/${rest}`;
    const volume = this.placed.find(({ target }) => target === inside.path)?.volume;
    if (volume?.type !== 'volume') return { refused: `the host has no ${host}`, hint: `mkdir -p ${host}` };
    if (!showsFromBelow(inside.dirs, rest)) return { refused: 'a file of the volume hides it', hint: OTHER };
    return { target: path, isFolder, volume: { dir: inside.source, path: rest } };
  }

  /** From the root down; undefined where one on the way is no directory, or the container itself has removed it. */
  private inFront(path: string, isFolder: boolean): HiddenMountPoint[] | undefined {
    const { layers, image } = this.root;
    if (!showsFromBelow(layers.slice(0, layers.length - image.length), path)) return undefined;
    const parts = path.slice(1).split('/');
    const points: HiddenMountPoint[] = [];
    for (const index of parts.keys()) {
      const here = `/${parts.slice(0, index + 1).join('/')}`;
      const stat = resolveInRoot(this.root.layers, here)?.stat;
      if (stat !== undefined && !stat.isDirectory()) return undefined;
      const { mode = 0o755, uid = 0, gid = 0 } = stat ?? {};
      points.push({ path: here, isFolder: isFolder || here !== path, mode: mode & 0o7777, uid, gid });
    }
    return points;
  }

  /** Notes what has to be made. */
  take(path: string, need: Exclude<Need, { refused: string }>, isFolder: boolean): void {
    if (need === 'layer') (isFolder ? this.absent.folders : this.absent.files).push(path);
    else if (isHidden(need)) {
      const known = new Set(this.absent.hidden.map((point) => point.path));
      this.absent.hidden.push(...need.filter((point) => !known.has(point.path)));
    } else if (need !== 'nothing') this.missing.push(need);
  }
}

const isHidden = (need: Need): need is readonly HiddenMountPoint[] => Array.isArray(need);

function isRefused(need: Need): need is Extract<Need, { refused: string }> {
  return typeof need === 'object' && 'refused' in need;
}

/**
 * /proc, /sys and /dev. None may be within another: below a mounted /proc, a path that was looked up in the image leads to
 * something else, by /proc/1/root to the host. Throws InvalidInputError.
 */
function placeHostFolders(placing: Placing, what: string): void {
  const { targets } = placing;
  for (const path of HOST_FOLDERS) {
    const found = placing.resolve(path);
    // A skeleton that is yet to be made has it.
    const fromSkeleton = found?.path === path && found.stat === undefined && placing.showsFromBelow(path);
    if (found === undefined || (!fromSkeleton && !found.stat?.isDirectory())) {
      throw new InvalidInputError(`cannot use ${what}: its ${path} is no directory`, {
        hint: `make a directory ${path} in it`,
      });
    }
    const outer = Object.keys(targets).find(
      (other) => isWithin(found.path, targets[other] as string) || isWithin(targets[other] as string, found.path),
    );
    if (outer !== undefined) {
      throw new InvalidInputError(`cannot use ${what}: its ${path} and ${outer} lead into each other`, {
        hint: `make ${path} and ${outer} directories in it`,
      });
    }
    targets[path] = found.path;
  }
}

/** Throws InvalidInputError where it cannot be there. */
function placeVolume(placing: Placing, attachment: Attachment, root: Root): void {
  const { volume, isFolder, source, toMake } = attachment;
  const refuse = (cause: string, hint = OTHER) =>
    new InvalidInputError(`cannot mount at ${volume.target} of ${root.what}: ${cause}`, { hint });
  const found = placing.resolve(volume.target);
  if (found === undefined) throw refuse('its symlinks lead in a circle');
  const { path: target } = found;
  const leads = target === volume.target ? 'it' : `it leads to ${target}, which`;
  if (target === '/') throw refuse('it leads to the root');
  const host = HOST_FOLDERS.find((path) => {
    const folder = placing.targets[path] as string;
    return isWithin(target, folder) || isWithin(folder, target);
  });
  if (host !== undefined) throw refuse(`${leads} is in the way of ${host}`);
  if (placing.placed.some((other) => other.target === target)) throw refuse(`${leads} is a mount point already`);
  const need = placing.need(found, isFolder);
  if (isRefused(need)) throw refuse(need.refused, need.hint);
  placing.take(target, need, isFolder);
  const image = toMake ? resolveInRoot(root.image, volume.target) : undefined;
  const fill = image !== undefined && (image.merged.length > 0 || root.toCome) ? image.path : undefined;
  placing.placed.push({
    ...attachment,
    target,
    ...(fill === undefined ? {} : { fill }),
    ...(found.stat?.isDirectory() ? { mode: found.stat.mode & 0o7777 } : {}),
  });
  placing.mounted.push({
    path: target,
    ...(source === undefined ? {} : { source }),
    // A new volume will have what is there now.
    dirs: image?.merged ?? (source !== undefined && isFolder ? [source] : []),
  });
}

/** A file that cannot be a mount point, or that something else is mounted over, is left out. */
function placeHostFiles(placing: Placing): void {
  for (const path of HOST_FILES) {
    const found = placing.resolve(path);
    if (found === undefined || placing.placed.some(({ target }) => target === found.path)) continue;
    if (HOST_FOLDERS.some((folder) => isWithin(found.path, placing.targets[folder] as string))) continue;
    if (found.stat !== undefined && !found.stat.isFile()) continue;
    const need = placing.need(found, false);
    if (isRefused(need)) continue;
    placing.take(found.path, need, false);
    placing.targets[path] = found.path;
  }
}

/** Made where it is missing, as docker does, but never in what is the host's. */
function placeWorkdir(placing: Placing, workdir: string): void {
  const found = placing.resolve(workdir);
  if (found === undefined || found.stat !== undefined || found.inside?.path === found.path) return;
  if (HOST_FOLDERS.some((folder) => isWithin(found.path, placing.targets[folder] as string))) return;
  const need = placing.need(found, true);
  if (!isRefused(need)) placing.take(found.path, need, true);
}

const byTarget = (a: { target: string }, b: { target: string }) => (a.target < b.target ? -1 : 1);

/** Throws InvalidInputError where /proc, /sys or /dev, or a volume, has no place in the root. */
export function readRootfsFacts(root: Root, attachments: readonly Attachment[] = [], workdir?: string): RootfsFacts {
  const memory: Memory = new Map();
  let order = [...attachments].sort((a, b) => byTarget(a.volume, b.volume));
  // By a symlink one can be inside another that was to come after it.
  for (let rounds = 0; ; rounds += 1) {
    const placing = new Placing(root, memory);
    placeHostFolders(placing, root.what);
    for (const attachment of order) placeVolume(placing, attachment, root);
    const sorted = [...placing.placed].sort(byTarget);
    if (sorted.every((volume, index) => volume === placing.placed[index])) {
      placeHostFiles(placing);
      if (workdir !== undefined) placeWorkdir(placing, workdir);
      const { targets, absent, placed: volumes, missing } = placing;
      return { targets, absent, volumes, missing };
    }
    if (rounds > attachments.length) {
      const places = order.map(({ volume }) => volume.target).join(', ');
      throw new InvalidInputError(`cannot mount at ${places} of ${root.what}: they lead into each other`, {
        hint: 'name other places',
      });
    }
    order = sorted.map(({ volume }) => attachments.find((other) => other.volume === volume) as Attachment);
  }
}
