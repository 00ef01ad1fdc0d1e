/** A directory tree as a layer's tar: whiteouts of overlayfs become those of the OCI layer format. */
import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { firstLine, HostError } from '../errors.ts';
import { isOpaque } from '../host/syscalls.ts';
import { writeAll } from './blobs.ts';
import { memberHeader, paddingOf } from './tar-header.ts';
import { causeOf } from './tar-sink.ts';

/** What of overlayfs's is in a tree; paths relative to it, as byte strings (latin1). */
interface Marks {
  /** Character devices 0:0. */
  readonly whiteouts: readonly string[];
  /** Folders that hide what lower layers have in them. */
  readonly opaque: readonly string[];
}

/** find(1) tells folders and devices from the rest; names are bytes, which node's readdir makes UTF-8 of. */
async function findMarks(tree: string, what: string): Promise<Marks> {
  const find = Bun.spawn(['find', tree, '(', '-type', 'd', '-o', '-type', 'c', ')', '-printf', '%y%P\\0'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C' },
  });
  const [stdout, stderr] = await Promise.all([
    new Response(find.stdout).arrayBuffer(),
    new Response(find.stderr).text(),
  ]);
  if ((await find.exited) !== 0) throw new HostError(`cannot ${what}: ${firstLine(stderr)}`);
  const marks = { whiteouts: [] as string[], opaque: [] as string[] };
  for (const entry of Buffer.from(stdout).toString('latin1').split('\0').slice(0, -1)) {
    const path = entry.slice(1);
    const bytes = Buffer.concat([Buffer.from(`${tree}/`), Buffer.from(path, 'latin1')]);
    if (entry[0] === 'c') {
      if (lstatSync(bytes, { throwIfNoEntry: false })?.rdev === 0) marks.whiteouts.push(path);
    } else if (isOpaque(bytes)) marks.opaque.push(path);
  }
  return marks;
}

/** A member without an owner, and its content in whole blocks. */
function member(name: string, flag: string, content: string): Buffer {
  const bytes = Buffer.from(content, 'latin1');
  return Buffer.concat([memberHeader(name, flag, bytes.length), bytes, Buffer.alloc(paddingOf(bytes.length))]);
}

function emptyFile(path: string): Buffer {
  const name = `./${path}`;
  if (name.length <= 100) return member(name, '0', '');
  const rest = ` path=${name}\n`;
  let length = rest.length + 1;
  while (`${length}${rest}`.length !== length) length = `${length}${rest}`.length;
  return Buffer.concat([member('pax', 'x', `${length}${rest}`), member('long', '0', '')]);
}

function whiteoutMembers({ whiteouts, opaque }: Marks): Buffer {
  const named = whiteouts.map((path) => path.replace(/[^/]*$/, '.wh.$&'));
  return Buffer.concat([...named, ...opaque.map((path) => join(path, '.wh..wh..opq'))].map(emptyFile));
}

/** What tar leaves out: a name a line of its stdin; those that have a line's end in them, as words. */
function exclusions(paths: readonly string[]): { list: Buffer; words: string[] } {
  const isLine = (path: string) => !path.includes('\n');
  const lines = paths.filter(isLine).map((path) => `./${path}\n`);
  const others = paths.filter((path) => !isLine(path)).map((path) => Buffer.from(path, 'latin1').toString());
  return {
    list: Buffer.from(lines.join(''), 'latin1'),
    words: [
      ...['--no-wildcards', '--anchored', '--exclude-from=/dev/stdin'],
      ...others.map((path) => `--exclude=./${path}`),
      '.',
    ],
  };
}

/** What tar takes, folders without what is in them. */
function inclusions(paths: readonly string[]): { list: Buffer; words: string[] } {
  return {
    list: Buffer.from(paths.map((path) => (path === '.' ? '.\0' : `./${path}\0`)).join(''), 'latin1'),
    words: ['--no-recursion', '--null', '--verbatim-files-from', '--files-from=/dev/stdin'],
  };
}

export interface PackOptions {
  /** Descriptor that keeps others off the tree while tar reads it. */
  readonly lockFd: number;
  /** Paths relative to the tree that are left out. */
  readonly without?: readonly string[];
  /** It is no layer: nothing in it is overlayfs's, and all is taken as it is. */
  readonly isPlain?: boolean;
  /** Of a tree without overlayfs's marks: all that is packed, and what is gone of lower layers. */
  readonly only?: { readonly paths: readonly string[]; readonly gone: readonly string[] };
}

/** Bytes that tar writes at a time, and fills up in the end. By its own 10 KiB a file takes half as long again. */
const RECORD_BYTES = 32 << 10;

/** A tar that is being made. */
interface Packing {
  /** What comes before the output of tar. */
  readonly prologue: Buffer;
  spawnTar(output: 'pipe' | number, ...options: string[]): Bun.Subprocess<Buffer, 'pipe' | number, 'pipe'>;
}

async function startPacking(
  tree: string,
  what: string,
  { lockFd, without = [], isPlain = false, only }: PackOptions,
): Promise<Packing> {
  const unmarked = { whiteouts: only?.gone ?? [], opaque: [] };
  const marks = isPlain || only !== undefined ? unmarked : await findMarks(tree, what);
  const { list, words } = only === undefined ? exclusions([...marks.whiteouts, ...without]) : inclusions(only.paths);
  const argv = [
    ...['tar', '--create', '--file=-', '--directory', tree],
    ...['--numeric-owner', '--format=posix', '--acls', '--sparse', '--sparse-version=0.0'],
    // The newer sparse version writes tar's process id into the headers: one tree would have many digests.
    '--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime',
    ...['--xattrs', '--xattrs-include=*', ...(isPlain ? [] : ['--xattrs-exclude=trusted.overlay.*'])],
    '--warning=no-file-ignored',
  ];
  return {
    prologue: whiteoutMembers(marks),
    spawnTar: (output, ...options) =>
      Bun.spawn([...argv, ...options, ...words], {
        stdio: [list, output, 'pipe', lockFd],
        env: { ...process.env, LC_ALL: 'C' },
      }),
  };
}

/** Throws HostError. */
async function requireSuccess(tar: Bun.Subprocess<Buffer, 'pipe' | number, 'pipe'>, what: string): Promise<void> {
  const complaints = await new Response(tar.stderr).text();
  if ((await tar.exited) !== 0) throw new HostError(`cannot ${what}: ${causeOf(complaints) || 'tar failed'}`);
}

/** Pieces of the tar. Throws HostError. Sockets are left out, as they always are. */
export async function* packedPiecesOf(tree: string, what: string, options: PackOptions): AsyncGenerator<Buffer> {
  const { prologue, spawnTar } = await startPacking(tree, what, options);
  if (prologue.length > 0) yield prologue;
  const tar = spawnTar('pipe');
  const success = requireSuccess(tar, what);
  // Nobody awaits it where who reads has enough.
  success.catch(() => {});
  try {
    for await (const piece of tar.stdout as unknown as AsyncIterable<Uint8Array>) {
      yield Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    }
    await success;
  } finally {
    tar.kill('SIGKILL');
    await tar.exited;
  }
}

/** The same, written by tar itself into an empty file. */
export async function packInto(fd: number, tree: string, what: string, options: PackOptions): Promise<void> {
  const { prologue, spawnTar } = await startPacking(tree, what, options);
  writeAll(fd, prologue);
  await requireSuccess(spawnTar(fd, `--record-size=${RECORD_BYTES}`), what);
}
