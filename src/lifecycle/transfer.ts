/** Files on their way as a tar stream: GNU tar at both ends, each working relative to a descriptor that it inherits. */
import { fstatSync } from 'node:fs';
import { HostError, type MinictError } from '../errors.ts';
import { toolPath } from '../host/tool.ts';
import { sayCommand } from '../host/verbose.ts';
import { type MemberKind, TarMembers } from '../image/tar-members.ts';
import { causeOf, TarSink } from '../image/tar-sink.ts';
import { Overwriting } from '../storage/overwrite.ts';
import { fromBytes } from '../storage/tree.ts';
import type { Context } from './context.ts';

/** What is packed. */
export interface Packing {
  /** Descriptor of a directory. */
  readonly directory: number;
  /** Its entry, or `.` for all of it. */
  readonly name: string;
  /** What it is called in the stream. */
  readonly as?: string;
  /** What leads to where its owners are numbers of the container's. */
  readonly enter: readonly string[];
  /** What of its metadata, and what not: words for tar. */
  readonly words: readonly string[];
}

/** Where it is unpacked. */
export interface Destination {
  readonly directory: number;
  /** As of what is packed. */
  readonly enter: readonly string[];
  /** Files keep their owners, and belong to root otherwise. */
  readonly keepOwners: boolean;
  /** Devices are made: on the host, whoever may open one is at the machine's. */
  readonly devices: boolean;
  /** Paths of the mounts in a container's root, as byte strings. */
  readonly mountPoints: ReadonlySet<string>;
  /** The directory's own mode and times are not the stream's to set. */
  readonly keepTop: boolean;
}

export interface Transfer {
  readonly context: Context;
  /** For messages: `copy web1:/etc to .`. */
  readonly verb: string;
  /** Inherited by both ends: a container's lock is held until they have ended. */
  readonly lockFd: number;
}

/** Where the inherited descriptor is in tar. */
const DIRECTORY = '/proc/self/fd/3';
const METADATA = ['--numeric-owner', '--acls', '--xattrs', '--xattrs-include=user.*'];
const CAPABILITIES = '--xattrs-include=security.capability';

export const ALL = [...METADATA, CAPABILITIES];
/** Without what a file has for its owner: they are to be another's. */
export const OWNERLESS = [...METADATA, '--mode=ug-s'];
/** Of a whole root: what is in these folders is the host's where the container is up. */
export const NOT_THE_HOSTS = ['--anchored', ...['proc', 'sys', 'dev'].map((name) => `--exclude=./${name}/*`)];

const NO_DEVICE = 'is a device, which is copied with --archive only';

/** In the replacement of a sed expression. */
function replacement(name: string): string {
  return fromBytes(name)
    .replace(/[\\&,]/g, '\\$&')
    .replace(/\n/g, '\\n');
}

function packArgv({ enter, name, as, words }: Packing): string[] {
  // Names of members and of hard links to them, not those that symlinks lead to.
  const rename = `--transform=flags=rSh;s,^${name === '.' ? '\\.' : '.*'},${replacement(as ?? '')},`;
  return [
    ...enter,
    ...[toolPath('tar'), '--create', '--file=-', '--format=posix', '--sparse'],
    // The same files make the same stream.
    '--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime',
    ...words,
    ...(as === undefined ? [] : [rename]),
    // Otherwise backslashes in names would be taken for escapes.
    ...['--no-unquote', '--warning=no-file-ignored', `--directory=${DIRECTORY}`, '--', fromBytes(name)],
  ];
}

function unpackArgv({ enter, keepOwners, keepTop }: Destination): string[] {
  return [
    ...enter,
    ...[toolPath('tar'), '--extract', '--file=-', `--directory=${DIRECTORY}`, '--preserve-permissions', ...ALL],
    ...[keepOwners ? '--same-owner' : '--no-same-owner', '--delay-directory-restore'],
    ...(keepTop ? ['--no-recursion', '--anchored', '--no-wildcards', '--exclude=.'] : []),
  ];
}

function say({ context }: Transfer, argv: readonly string[]): void {
  if (context.verbose) sayCommand(argv);
}

const env = () => ({ ...process.env, LC_ALL: 'C' });

interface Packer {
  readonly pieces: AsyncIterable<Buffer>;
  /** What went not quite as it should; nothing is known before all pieces were taken. Throws HostError. */
  judge(): Promise<readonly MinictError[]>;
  kill(): Promise<void>;
}

function startPacking(transfer: Transfer, packing: Packing): Packer {
  const argv = packArgv(packing);
  say(transfer, argv);
  const tar = Bun.spawn(argv, {
    stdio: ['ignore', 'pipe', 'pipe', packing.directory, transfer.lockFd],
    env: env(),
  });
  const complaints = new Response(tar.stderr as ReadableStream).text();
  let isRead = false;
  async function* pieces(): AsyncGenerator<Buffer> {
    for await (const piece of tar.stdout as ReadableStream<Uint8Array>) {
      yield Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    }
    isRead = true;
  }
  return {
    pieces: pieces(),
    judge: async () => (isRead ? judgePacking(transfer, await tar.exited, await complaints) : []),
    kill: async () => {
      tar.kill('SIGKILL');
      await tar.exited;
    },
  };
}

/** tar's 1 means that a file changed, or went away, while it was read. */
function judgePacking({ verb }: Transfer, exitCode: number, complaints: string): readonly MinictError[] {
  if (exitCode > 1) throw new HostError(`cannot ${verb}: ${causeOf(complaints) || 'tar failed'}`);
  if (exitCode === 0) return [];
  return [new HostError(`${verb}: files changed while they were read`, { details: complaints })];
}

/** Packs to a descriptor of this process's. Throws HostError. */
export async function packTo(transfer: Transfer, packing: Packing, output: number): Promise<readonly MinictError[]> {
  const argv = packArgv(packing);
  say(transfer, argv);
  const tar = Bun.spawn(argv, {
    stdio: ['ignore', output, 'pipe', packing.directory, transfer.lockFd],
    env: env(),
  });
  const complaints = await new Response(tar.stderr as ReadableStream).text();
  const exitCode = await tar.exited;
  // Written in part to a file means a full disk; to a pipe, that nobody is at its other end.
  const cutShort = tar.signalCode === 'SIGPIPE' || /Broken pipe|: Wrote only/.test(complaints);
  if (cutShort && !fstatSync(output).isFile()) {
    throw new HostError(`cannot ${transfer.verb}: whoever read it from stdout has gone`);
  }
  return judgePacking(transfer, exitCode, complaints);
}

/** Throws InvalidInputError for a stream that is refused, and for what tar cannot write. */
export async function unpack(
  transfer: Transfer,
  pieces: AsyncIterable<Buffer>,
  destination: Destination,
): Promise<void> {
  const argv = unpackArgv(destination);
  say(transfer, argv);
  const overwriting = new Overwriting(destination.directory, destination.mountPoints);
  const check = (name: string, kind: MemberKind) =>
    kind === 'device' && !destination.devices ? NO_DEVICE : overwriting.refusal(name, kind === 'directory');
  const members = new TarMembers(transfer.verb, false, check);
  const tar = new TarSink(transfer.verb, members, argv, [destination.directory, transfer.lockFd]);
  try {
    for await (const piece of pieces) {
      await tar.push(piece);
      if (tar.hasEnded) break;
    }
    await tar.finish();
  } finally {
    await tar.abandon();
  }
}

/** From tree to tree; returns what went not quite as it should. */
export async function move(
  transfer: Transfer,
  packing: Packing,
  destination: Destination,
): Promise<readonly MinictError[]> {
  const packer = startPacking(transfer, packing);
  try {
    await unpack(transfer, packer.pieces, destination);
    return await packer.judge();
  } catch (error) {
    // A stream that was cut short has its cause at its beginning.
    await packer.judge();
    throw error;
  } finally {
    await packer.kill();
  }
}
