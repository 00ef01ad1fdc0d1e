/**
 * cp, by docker's rules: a directory goes under its own name into one that is there, and becomes one that is not; its
 * contents alone with `SRC/.`; a slash at the end asks for a directory; a missing parent is never made.
 */
import { mkdirSync } from 'node:fs';
import { posix } from 'node:path';
import { InvalidInputError, type MinictError, NotFoundError } from '../errors.ts';
import { piecesOf, plainPiecesOf } from '../image/unpack.ts';
import { HOST_FOLDERS, isWithin } from '../spec/root-paths.ts';
import { type Entry, fromBytes, pathAt, Tree, toBytes } from '../storage/tree.ts';
import type { Context } from './context.ts';
import {
  ALL,
  type Destination,
  move,
  NOT_THE_HOSTS,
  OWNERLESS,
  type Packing,
  packTo,
  type Transfer,
  unpack,
} from './transfer.ts';
import { openView, type View } from './view.ts';
import { HOSTS } from './view-plan.ts';

/** One of cp's two words. */
export interface Side {
  /** Undefined for the host. */
  readonly container: string | undefined;
  /** `-` on the host is stdin, or stdout. */
  readonly path: string;
}

export interface CopyOptions {
  readonly archive?: boolean;
  readonly followLink?: boolean;
}

export function isStream({ container, path }: Side): boolean {
  return container === undefined && path === '-';
}

function shown({ container, path }: Side): string {
  return container === undefined ? path : `${container}:${path}`;
}

/** A path by docker's reading: `..` is taken out of it as a text. */
interface Wanted {
  /** Absolute, a byte string. */
  readonly path: string;
  /** Its end: `.` is what is in it, a slash says that it is a directory. */
  readonly contents: boolean;
  readonly directory: boolean;
}

function wanted({ container, path }: Side): Wanted {
  const contents = /(^|\/)\.\/*$/.test(path);
  return {
    path: toBytes(container === undefined ? posix.resolve(path) : posix.resolve('/', path)),
    contents,
    directory: contents || path.endsWith('/'),
  };
}

/** Where both ends are, and how to say what is wrong with them. */
class Copying {
  readonly from: Side;
  readonly to: Side;
  readonly transfer: Transfer;
  private readonly options: CopyOptions;
  private readonly view: View;
  private readonly host = new Tree();
  private mountPoints: ReadonlySet<string> = new Set();

  constructor(context: Context, from: Side, to: Side, view: View, options: CopyOptions) {
    this.from = from;
    this.to = to;
    this.view = view;
    this.options = options;
    this.transfer = { context, verb: `copy ${shown(from)} to ${shown(to)}`, lockFd: view.lockFd };
  }

  async run(): Promise<readonly MinictError[]> {
    if (isStream(this.from)) {
      const target = this.findTarget();
      if (!target.stat?.isDirectory()) throw this.badTarget('not a directory');
      const directory = this.treeOf(this.to).enter(target);
      this.mountPoints = await this.view.seal();
      await unpack(this.transfer, plainPiecesOf(piecesOf(0), this.transfer.verb), this.destination(directory, true));
      return [];
    }
    const source = this.findSource();
    const { name, isDirectory } = source;
    if (isStream(this.to)) {
      await this.view.seal();
      return packTo(this.transfer, this.packing(source, name), 1);
    }
    const target = this.findTarget();
    this.mountPoints = await this.view.seal();
    const [packing, destination] = isDirectory ? this.planDirectory(source, target) : this.planFile(source, target);
    return move(this.transfer, packing, destination);
  }

  close(): void {
    this.host.close();
  }

  private treeOf({ container }: Side): Tree {
    return container === undefined ? this.host : this.view.tree;
  }

  private destination(directory: number, keepTop: boolean): Destination {
    const keepOwners = this.options.archive ?? false;
    const devices = keepOwners || this.to.container !== undefined;
    const enter = this.to.container === undefined ? [] : this.view.enter;
    return { directory, enter, keepOwners, devices, mountPoints: this.mountPoints, keepTop };
  }

  private packing({ entry, isDirectory }: Source, as: string): Packing {
    const tree = this.treeOf(this.from);
    // Of an untrusted image no program becomes root's on the host, to be run by anybody.
    const isForeign = this.from.container !== undefined && !isStream(this.to) && !this.options.archive;
    const metadata = isForeign ? OWNERLESS : ALL;
    const words = this.from.container !== undefined && tree.isRoot(entry) ? [...metadata, ...NOT_THE_HOSTS] : metadata;
    const enter = this.from.container === undefined ? [] : this.view.enter;
    if (!isDirectory) {
      return { directory: entry.parent, enter, name: entry.name, words, ...(as === entry.name ? {} : { as }) };
    }
    return { directory: tree.enter(entry), enter, name: '.', words, ...(as === '.' ? {} : { as }) };
  }

  private badSource(cause: string): InvalidInputError {
    return new InvalidInputError(`cannot copy ${shown(this.from)}: ${cause}`);
  }

  private badTarget(cause: string, hint?: string): InvalidInputError {
    return new InvalidInputError(`cannot copy to ${shown(this.to)}: ${cause}`, hint === undefined ? {} : { hint });
  }

  private find(side: Side, path: string, follow: boolean): Entry {
    if (side.container === undefined) return this.host.locate(path, follow);
    const refuse = (cause: string) => (side === this.from ? this.badSource(cause) : this.badTarget(cause));
    // Below them, nothing is there to be found.
    if (HOST_FOLDERS.some((folder) => isWithin(path, folder))) throw refuse(HOSTS);
    const entry = this.view.tree.locate(path, follow);
    const refusal = this.view.refusalOf(entry);
    if (refusal !== undefined) throw refuse(refusal);
    return entry;
  }

  private findSource(): Source {
    const { path, contents, directory } = wanted(this.from);
    const follow = directory || (this.options.followLink ?? false);
    let entry: Entry;
    try {
      entry = this.find(this.from, path, follow);
    } catch (error) {
      throw asSentence(error, (cause) => this.badSource(cause));
    }
    if (entry.stat === undefined) {
      throw new NotFoundError(`cannot copy ${shown(this.from)}: no such file or directory`);
    }
    const isDirectory = entry.stat.isDirectory();
    if (directory && !isDirectory) throw this.badSource('not a directory');
    if (entry.stat.isSocket()) throw this.badSource('a socket');
    // As docker has it: in a stream, a file that a symlink led to has its own name.
    const given = isStream(this.to) && !directory ? entry.name : (path.split('/').at(-1) ?? '');
    return { entry, isDirectory, name: contents || given === '' ? '.' : given };
  }

  private findTarget(): Target {
    const { path, directory } = wanted(this.to);
    let entry: Entry;
    try {
      entry = this.find(this.to, path, true);
    } catch (error) {
      const { code, path: missing = '' } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT') throw asSentence(error, (cause) => this.badTarget(cause));
      const parent = fromBytes(missing).replace(/(.)\/+$/, '$1');
      const inside = this.to.container === undefined ? '' : `minict exec ${this.to.container} `;
      throw this.badTarget(`there is no directory ${parent}`, `${inside}mkdir -p ${parent}`);
    }
    const { stat } = entry;
    if (stat !== undefined && !stat.isDirectory()) {
      if (directory) throw this.badTarget('not a directory');
      if (!stat.isFile()) throw this.badTarget('neither a file nor a directory');
    }
    return { ...entry, mustBeDirectory: directory };
  }

  private planDirectory(source: Source, target: Target): [Packing, Destination] {
    const tree = this.treeOf(this.to);
    const packing = this.packing(source, '.');
    if (target.stat !== undefined && !target.stat.isDirectory()) {
      throw this.badTarget('a file is there, and a directory cannot become one');
    }
    if (target.stat === undefined) return [packing, this.destination(this.make(target), false)];
    const directory = tree.enter(target);
    if (source.name === '.') return [packing, this.destination(directory, true)];
    const under = tree.entry(directory, source.name);
    if (under.stat === undefined) return [packing, this.destination(this.make(under), false)];
    if (under.stat.isDirectory()) return [packing, this.destination(tree.enter(under), false)];
    throw this.badTarget(`${fromBytes(source.name)} is no directory there`);
  }

  private planFile(source: Source, target: Target): [Packing, Destination] {
    if (target.stat?.isDirectory()) {
      const directory = this.treeOf(this.to).enter(target);
      return [this.packing(source, source.name), this.destination(directory, true)];
    }
    if (target.mustBeDirectory) throw this.badTarget('there is no such directory');
    return [this.packing(source, target.name), this.destination(target.parent, true)];
  }

  /** Nobody is let in before its mode comes with the stream. Returns its descriptor. */
  private make(entry: Entry): number {
    try {
      const path = pathAt(entry.parent, entry.name);
      mkdirSync(path, { mode: 0o700 });
      if (this.to.container !== undefined) this.view.own(path);
      return this.treeOf(this.to).enter(entry);
    } catch (error) {
      throw asSentence(error, (cause) => this.badTarget(cause));
    }
  }
}

interface Source {
  readonly entry: Entry;
  readonly isDirectory: boolean;
  /** What it is called where it goes; `.` where only its contents go. */
  readonly name: string;
}

interface Target extends Entry {
  readonly mustBeDirectory: boolean;
}

const CAUSES: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  ENOTDIR: 'not a directory',
  ELOOP: 'too many symbolic links',
  ENAMETOOLONG: 'a name is too long',
  EROFS: 'it is mounted read-only',
  ENOSPC: 'no space left on device',
  EEXIST: 'something else came there meanwhile',
};

function asSentence(error: unknown, say: (cause: string) => MinictError): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === undefined ? error : say(CAUSES[code] ?? message);
}

/** Returns what went not quite as it should. Throws InvalidInputError, NotFoundError, ConflictError, HostError. */
export async function copy(
  context: Context,
  from: Side,
  to: Side,
  options: CopyOptions,
): Promise<readonly MinictError[]> {
  const name = (from.container ?? to.container) as string;
  const view = await openView(context, name, {
    write: to.container !== undefined,
    hurried: isStream(from) || isStream(to),
  });
  const copying = new Copying(context, from, to, view, options);
  try {
    return await copying.run();
  } finally {
    copying.close();
    await view.close();
  }
}
