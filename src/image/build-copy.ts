/**
 * `copy` steps: files of the recipe's folder, into the tree. Nothing outside of the folder is read, and no symlink in the
 * tree is followed: images have such that point at the host.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  realpathSync,
  type Stats,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { basename, join, sep } from 'node:path';
import { InvalidInputError, NotFoundError } from '../errors.ts';
import type { CopyStep } from './recipe.ts';

const CHUNK_BYTES = 1 << 20;

/** What a step copies; checked to be in the recipe's folder. */
interface Source {
  /** As the recipe has it. */
  readonly name: string;
  readonly path: string;
}

interface Node {
  /** Relative to the source, empty for itself. */
  readonly relative: string;
  readonly path: string;
  readonly stat: Stats;
}

/** Throws NotFoundError, InvalidInputError. */
export function findSources(dir: string, { copy }: CopyStep, verb: string): Source[] {
  const folder = realpathSync(dir);
  return copy.map((name) => {
    let path: string;
    try {
      path = realpathSync(join(folder, name));
    } catch {
      throw new NotFoundError(`cannot ${verb}: no ${name} in ${dir}`);
    }
    if (path !== folder && !path.startsWith(`${folder}${sep}`)) {
      throw new InvalidInputError(`cannot ${verb}: ${name} is outside of ${dir}`, { hint: `copy it into ${dir}` });
    }
    return { name, path };
  });
}

function* nodesOf(path: string, relative: string, verb: string): Generator<Node> {
  const stat = lstatSync(path);
  if (!stat.isFile() && !stat.isDirectory() && !stat.isSymbolicLink()) {
    throw new InvalidInputError(`cannot ${verb}: ${path} is no file, folder or symlink`);
  }
  yield { relative, path, stat };
  if (!stat.isDirectory()) return;
  for (const name of readdirSync(path).sort()) yield* nodesOf(join(path, name), join(relative, name), verb);
}

/** Nobody waits at a pipe, nor follows a link, that came in between. */
function readPieces(path: string, use: (piece: Buffer) => void): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const buffer = Buffer.alloc(CHUNK_BYTES);
    for (let length = readSync(fd, buffer); length > 0; length = readSync(fd, buffer)) use(buffer.subarray(0, length));
  } finally {
    closeSync(fd);
  }
}

/** Where the nodes go; without one they are only looked at. */
interface Target {
  /** Makes a folder or a symlink, or opens a new file. */
  readonly open: (node: Node, source: Source) => number | undefined;
  /** Once all of a file is in it. */
  readonly finish: (fd: number, stat: Stats) => void;
}

/** Digest of names, kinds, modes and content. */
function passOver(sources: readonly Source[], verb: string, target?: Target): string {
  const all = new Bun.CryptoHasher('sha256');
  for (const source of sources) {
    for (const node of nodesOf(source.path, '', verb)) {
      const { relative, path, stat } = node;
      const content = new Bun.CryptoHasher('sha256');
      const fd = target?.open(node, source);
      try {
        if (stat.isSymbolicLink()) content.update(readlinkSync(path));
        if (stat.isFile()) readPieces(path, (piece) => void content.update(writeAll(fd, piece)));
        if (fd !== undefined) target?.finish(fd, stat);
      } finally {
        if (fd !== undefined) closeSync(fd);
      }
      all.update(JSON.stringify([source.name, relative, stat.mode, content.digest('hex')]));
    }
  }
  return all.digest('hex');
}

function writeAll(fd: number | undefined, piece: Buffer): Buffer {
  if (fd !== undefined) for (let at = 0; at < piece.length; ) at += writeSync(fd, piece, at);
  return piece;
}

/** The same as long as the copied files are. Throws InvalidInputError for what can be no part of it. */
export function fingerprint(sources: readonly Source[], verb: string): string {
  return passOver(sources, verb);
}

/** Ids by the image's own passwd and group, or as numbers. */
function ownerIn(root: string, owner: string, verb: string): { uid: number; gid: number } {
  const entries = (file: string): string[][] => {
    const isPlain = lstatSync(join(root, 'etc'), { throwIfNoEntry: false })?.isDirectory();
    const path = join(root, 'etc', file);
    if (!isPlain || !lstatSync(path, { throwIfNoEntry: false })?.isFile()) return [];
    return readFileSync(path, 'utf8')
      .split('\n')
      .map((line) => line.split(':'));
  };
  const find = (file: string, name: string) => entries(file).find((fields) => fields[0] === name);
  const idOf = (file: string, name: string): number => {
    const id = find(file, name)?.[2] ?? name;
    if (/^\d{1,9}$/.test(id)) return Number(id);
    throw new NotFoundError(`cannot ${verb}: no ${name} in /etc/${file} of the image`, {
      hint: 'name one of its own, or give a number',
    });
  };
  const [user = '', group] = owner.split(':');
  const uid = idOf('passwd', user);
  return { uid, gid: group === undefined ? Number(find('passwd', user)?.[3] ?? uid) : idOf('group', group) };
}

/** Copies into the tree at `root`. Returns the fingerprint of what it copied. Throws InvalidInputError, NotFoundError. */
export function copySources(
  sources: readonly Source[],
  root: string,
  { to, owner, mode }: CopyStep,
  verb: string,
): string {
  const { uid, gid } = owner === undefined ? { uid: 0, gid: 0 } : ownerIn(root, owner, verb);

  /** What is at a path in the image, whose folders are checked. */
  const lookAt = (path: string): Stats | undefined => {
    const stat = lstatSync(join(root, path), { throwIfNoEntry: false });
    if (!stat?.isSymbolicLink()) return stat;
    throw new InvalidInputError(`cannot ${verb}: /${path} is a symlink in the image`, {
      hint: `it leads to ${readlinkSync(join(root, path))}: name that`,
    });
  };
  const ensureFolder = (path: string, isCopied: Stats | undefined) => {
    const stat = lookAt(path);
    if (stat?.isDirectory()) return;
    if (stat) throw new InvalidInputError(`cannot ${verb}: /${path} is no folder in the image`);
    mkdirSync(join(root, path));
    if (isCopied) chownSync(join(root, path), uid, gid);
    chmodSync(join(root, path), isCopied ? isCopied.mode & 0o7777 : 0o755);
  };
  const ensureParents = (path: string) => {
    const parts = path.split('/').slice(0, -1);
    for (const [index] of parts.entries()) ensureFolder(parts.slice(0, index + 1).join('/'), undefined);
  };

  const make = (path: string, { path: from, stat }: Node): number | undefined => {
    const there = path === '' ? undefined : lookAt(path);
    if (there?.isDirectory()) {
      throw new InvalidInputError(`cannot ${verb}: /${path} is a folder in the image`, { hint: `to: /${path}/` });
    }
    const place = join(root, path);
    if (there) unlinkSync(place);
    if (stat.isFile()) return openSync(place, 'wx', 0o600);
    symlinkSync(readlinkSync(from), place);
    lchownSync(place, uid, gid);
    return undefined;
  };

  return passOver(sources, verb, {
    open: (node, { name, path: source }) => {
      const isInto = to.endsWith('/') && !lstatSync(source).isDirectory();
      const parts = [...to.split('/'), ...(isInto ? [basename(name)] : []), ...node.relative.split('/')];
      const path = parts.filter((part) => part !== '' && part !== '.').join('/');
      ensureParents(path);
      if (!node.stat.isDirectory()) return make(path, node);
      if (path !== '') ensureFolder(path, node.stat);
      return undefined;
    },
    finish: (fd, stat) => {
      fchownSync(fd, uid, gid);
      fchmodSync(fd, mode ?? stat.mode & 0o7777);
      futimesSync(fd, stat.mtime, stat.mtime);
    },
  });
}
