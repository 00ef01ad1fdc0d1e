/** Images as one file: what `docker save`, `podman save` and skopeo make, and their `load` takes. */
import { chmodSync, existsSync, realpathSync, renameSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import * as z from 'zod/mini';
import { firstLine, HostError, InvalidInputError } from '../errors.ts';
import { statUserPath } from '../host/user-path.ts';
import type { Roots } from '../state/paths.ts';
import { nameOf, readCatalog } from './catalog.ts';
import { nameImage } from './compose.ts';
import { takeImage } from './incoming.ts';
import { type Descriptor, parseIndex, parseJson } from './oci.ts';
import { shownName } from './reference.ts';
import { sendImage } from './skopeo.ts';
import { withStaging } from './staging.ts';
import { getEntry } from './store.ts';
import { nameFrom } from './transfer.ts';

export const FORMATS = ['docker-archive', 'oci-archive'] as const;

/** Copies a file, or one of `-` the standard input or output, with the lock held by who copies. */
async function copyFile(verb: string, from: string, to: string, lockFd: number): Promise<void> {
  const argv = from === '-' || to === '-' ? ['cat', '--', from] : ['cp', '--', from, to];
  const child = Bun.spawn(argv, {
    stdio: [from === '-' ? 0 : 'ignore', from === '-' ? Bun.file(to) : 1, 'pipe', lockFd],
  });
  const said = await new Response(child.stderr as ReadableStream).text();
  if ((await child.exited) !== 0) throw new HostError(`cannot ${verb}: ${firstLine(said)}`);
}

/** Puts a file to the user's path, where half of one is never seen; a pipe or a device gets what is in it. */
async function deliver(verb: string, file: string, output: string, lockFd: number): Promise<void> {
  const path = existsSync(output) ? realpathSync(output) : output;
  if (existsSync(path) && !statSync(path).isFile()) return copyFile(verb, file, path, lockFd);
  chmodSync(file, 0o666 & ~process.umask());
  try {
    return renameSync(file, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
  }
  const beside = join(dirname(path), `.${basename(path)}.${process.pid}.minict`);
  try {
    await copyFile(verb, file, beside, lockFd);
    renameSync(beside, path);
  } finally {
    rmSync(beside, { force: true });
  }
}

/** docker's grammar is a narrower one (distribution, reference.go). */
const DOCKER_NAME = /^[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*:/;

function requireDockerName(name: string | undefined, verb: string): void {
  if (name === undefined || DOCKER_NAME.test(name)) return;
  throw new InvalidInputError(`cannot ${verb}: docker takes no such name`, {
    hint: `minict image tag ${shownName(name)} NAME, in lower case`,
  });
}

/** Throws InvalidInputError, NotFoundError where the file cannot be there. */
function requireOutput(output: string | undefined, verb: string): void {
  if (output === undefined) {
    if (!process.stdout.isTTY) return;
    throw new InvalidInputError(`cannot ${verb}: standard output is a terminal`, { hint: '-o FILE' });
  }
  if (
    !statUserPath(dirname(output), `${verb} to ${output}`).isDirectory() ||
    statSync(output, { throwIfNoEntry: false })?.isDirectory()
  ) {
    throw new InvalidInputError(`cannot ${verb} to ${output}: not the name of a file`);
  }
}

/**
 * To a file, or to standard output; by way of the staging folder, so that no odd path gets to skopeo. Throws
 * InvalidInputError, NotFoundError, HostError.
 */
export async function saveImage(roots: Roots, ref: string, output: string | undefined, format: string): Promise<void> {
  const verb = `save ${ref}`;
  if (!(FORMATS as readonly string[]).includes(format)) {
    throw new InvalidInputError(`cannot use --format ${format}: ${FORMATS.join(' or ')}`);
  }
  requireOutput(output, verb);
  const entry = getEntry(await readCatalog(roots), ref, verb);
  const name = nameOf(entry);
  requireDockerName(name, verb);
  await withStaging(roots, verb, async (staging) => {
    const archive = join(staging.dir, 'archive.tar');
    await sendImage(staging, verb, entry, `${format}:${archive}${name === undefined ? '' : `:${name}`}`, {});
    if (output === undefined) await copyFile(verb, archive, '-', staging.lockFd);
    else await deliver(verb, archive, output, staging.lockFd);
  });
}

/** An image in an archive: what skopeo calls it, and what it is called. */
interface Member {
  readonly reference: string;
  readonly names: readonly string[];
}

const dockerManifest = z.array(z.object({ RepoTags: z.nullish(z.array(z.string())) }));

/** A longer document is an attack on memory. */
const MAX_DOCUMENT_BYTES = 8 << 20;

/** Text of a member of the archive, which may be compressed; undefined where there is none. */
async function readMember(archive: string, name: string, what: string): Promise<string | undefined> {
  for (const spelling of [name, `./${name}`]) {
    const argv = ['tar', '--extract', '--to-stdout', '--occurrence=1', '--file', archive, '--', spelling];
    const tar = Bun.spawn(argv, { stdio: ['ignore', 'pipe', 'ignore'], env: { ...process.env, LC_ALL: 'C' } });
    const pieces: Uint8Array[] = [];
    let size = 0;
    try {
      for await (const piece of tar.stdout) {
        size += piece.length;
        if (size > MAX_DOCUMENT_BYTES) throw new InvalidInputError(`cannot load ${what}: its ${name} is no document`);
        pieces.push(piece);
      }
    } finally {
      tar.kill('SIGKILL');
      await tar.exited;
    }
    if (size > 0) return Buffer.concat(pieces).toString('utf8');
  }
  return undefined;
}

/** Throws InvalidInputError where it is neither kind of archive. */
async function membersOf(archive: string, what: string): Promise<Member[]> {
  const docker = await readMember(archive, 'manifest.json', what);
  if (docker !== undefined) {
    return parseJson(dockerManifest, docker, what).map(({ RepoTags: tags }, index) => ({
      reference: `docker-archive:${archive}:@${index}`,
      names: tags ?? [],
    }));
  }
  const index = await readMember(archive, 'index.json', what);
  if (index === undefined) {
    throw new InvalidInputError(`cannot load ${what}: neither docker's archive of images nor OCI's`, {
      hint: `minict image import ${what} NAME takes a root file system`,
    });
  }
  const manifests = parseIndex(index, what);
  return manifests.map(({ name }) => ({
    reference: `oci-archive:${archive}${name === undefined || manifests.length === 1 ? '' : `:${name}`}`,
    names: name === undefined ? [] : [name],
  }));
}

/** What it is to be called here. Throws InvalidInputError where no name can be made of it. */
function ownNames({ names }: Member, what: string): string[] {
  if (names.length === 0) return [nameFrom(`docker-archive:${what}`)];
  return names.map((name) => nameFrom(`docker://${name}`));
}

/** From a file, or standard input. Returns the images' names. Throws NotFoundError, InvalidInputError, HostError. */
export async function loadImages(roots: Roots, input: string | undefined): Promise<string[]> {
  const what = input ?? 'standard input';
  if (input !== undefined && !statUserPath(input, `load ${input}`).isFile()) {
    throw new InvalidInputError(`cannot load ${input}: not a file`);
  }
  const verb = `load ${what}`;
  return withStaging(roots, verb, async (staging) => {
    const archive = join(staging.dir, 'archive.tar');
    // skopeo splits its arguments at colons, which a user's path may have.
    if (input === undefined) await copyFile(verb, '-', archive, staging.lockFd);
    else symlinkSync(realpathSync(input), archive);
    const found: { names: string[]; manifest: Descriptor }[] = [];
    for (const member of await membersOf(archive, what)) {
      const names = ownNames(member, what);
      found.push({ names, manifest: await takeImage(staging, verb, member.reference, what, {}) });
    }
    for (const { names, manifest } of found) {
      for (const name of names) await nameImage(roots, name, manifest, verb, { move: true });
    }
    return found.flatMap(({ names }) => names.map(shownName));
  });
}
