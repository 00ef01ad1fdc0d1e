/**
 * A tree of files that is read or written from outside: a container's root, which no path leaves, or the host's. Places in
 * it are held by descriptors: a symlink that comes in between changes nothing of where they are. Names and paths are byte
 * strings (latin1), as a file's name need not be UTF-8.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, type Stats } from 'node:fs';
import { O_PATH, openInRoot } from '../host/syscalls.ts';

/** As many as the kernel follows; path_resolution(7). */
const MAX_LINKS = 40;
const { O_DIRECTORY, O_NOFOLLOW } = constants;

export function toBytes(text: string): string {
  return Buffer.from(text).toString('latin1');
}

export function fromBytes(path: string): string {
  return Buffer.from(path, 'latin1').toString();
}

/** An entry of a directory: there, or with a name to be given. */
export interface Entry {
  /** Descriptor of the directory. */
  readonly parent: number;
  /** `.` for the root, and where the path says so. */
  readonly name: string;
  readonly stat: Stats | undefined;
}

/** A path for node:fs that begins at a directory's descriptor; what follows is not to lead through a symlink. */
export function pathAt(directory: number, path: string): Buffer {
  return Buffer.from(`/proc/self/fd/${directory}/${path}`, 'latin1');
}

export class Tree {
  private readonly root: number;
  private readonly confined: boolean;
  private readonly opened: number[] = [];

  /** `root` is a directory's descriptor, closed with the tree; without one it is the host's. */
  constructor(root?: number) {
    this.confined = root !== undefined;
    this.root = this.keep(root ?? openSync('/', O_PATH | O_DIRECTORY));
  }

  private keep(descriptor: number): number {
    this.opened.push(descriptor);
    return descriptor;
  }

  /** Follows symlinks. Throws an error with a code, and with this `path`. */
  private openDirectory(path: string): number {
    const name = Buffer.from(path, 'latin1');
    const flags = O_PATH | O_DIRECTORY;
    try {
      return this.keep(this.confined ? openInRoot(this.root, name, flags) : openSync(name, flags));
    } catch (error) {
      throw Object.assign(error as Error, { path });
    }
  }

  /**
   * Where an absolute path leads; a symlink at its end is followed with `follow`, also to where nothing is yet. Throws an
   * error with a code, ENOENT, ENOTDIR and so on, and with the `path` of the directory that it would be in.
   */
  locate(path: string, follow: boolean): Entry {
    let at = path;
    for (let links = 0; links <= MAX_LINKS; links += 1) {
      const [, directory = '/', name = ''] = /^(.*\/)([^/]*)\/*$/s.exec(at) ?? [];
      if (['', '.', '..'].includes(name)) return this.entry(this.openDirectory(at), '.');
      const entry = this.entry(this.openDirectory(directory), name);
      if (!follow || !entry.stat?.isSymbolicLink()) return entry;
      const target = readlinkSync(pathAt(entry.parent, name), { encoding: 'buffer' }).toString('latin1');
      at = target.startsWith('/') ? target : `${directory}${target}`;
    }
    throw Object.assign(new Error('too many symbolic links'), { code: 'ELOOP' });
  }

  isRoot({ stat }: Entry): boolean {
    const root = fstatSync(this.root);
    return stat?.ino === root.ino && stat.dev === root.dev;
  }

  /** By name, in a directory. */
  entry(parent: number, name: string): Entry {
    return { parent, name, stat: lstatSync(pathAt(parent, name), { throwIfNoEntry: false }) };
  }

  /** Descriptor of an entry that is a directory. Throws ENOTDIR, or ELOOP, where it is none any more. */
  enter({ parent, name }: Entry): number {
    return this.keep(openSync(pathAt(parent, name), O_PATH | O_DIRECTORY | O_NOFOLLOW));
  }

  close(): void {
    for (const descriptor of this.opened.splice(0)) closeSync(descriptor);
  }
}

/** Where a descriptor's file is, as its mount namespace names it. */
export function pathOf(descriptor: number): string {
  return readlinkSync(`/proc/self/fd/${descriptor}`, { encoding: 'buffer' }).toString('latin1');
}
