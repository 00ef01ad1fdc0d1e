/** Images out of one file: what `docker save`, `podman save`, skopeo or `image save` made. */
import { closeSync, openSync, realpathSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { InvalidInputError } from '../errors.ts';
import { statUserPath } from '../host/user-path.ts';
import type { Roots } from '../state/paths.ts';
import { writeAll } from './blobs.ts';
import { nameImage } from './compose.ts';
import { copyFile } from './copy-file.ts';
import { takeImage } from './incoming.ts';
import { type Descriptor, parseIndex, parseJson } from './oci.ts';
import { nameOfTarball, parseImageName, shownName } from './reference.ts';
import { type Staging, withStaging } from './staging.ts';
import { nameFrom } from './transfer.ts';
import { compressionOfFile, inflatedPiecesOf } from './unpack.ts';

/** An image in an archive: what skopeo calls it, and what it is called. */
interface Member {
  readonly reference: string;
  readonly names: readonly string[];
}

const dockerManifest = z.array(z.object({ RepoTags: z.nullish(z.array(z.string())) }));

/** A longer document is an attack on memory. */
const MAX_DOCUMENT_BYTES = 8 << 20;

/** Text of a member of the archive; undefined where there is none. */
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
async function membersOf(archive: string, input: string | undefined, what: string): Promise<Member[]> {
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
      hint: `minict image import ${input ?? '-'} NAME takes a root file system`,
    });
  }
  const manifests = parseIndex(index, what);
  return manifests.map(({ name }) => ({
    reference: `oci-archive:${archive}${name === undefined || manifests.length === 1 ? '' : `:${name}`}`,
    names: name === undefined ? [] : [name],
  }));
}

/** The archive as a file of the staging folder, not compressed: skopeo would take such a one of docker's for damaged. */
async function fetchArchive({ dir, lockFd }: Staging, input: string | undefined, verb: string): Promise<string> {
  const archive = join(dir, 'archive.tar');
  // skopeo splits its arguments at colons, which a user's path may have.
  if (input === undefined) await copyFile(verb, '-', archive, lockFd);
  else symlinkSync(realpathSync(input), archive);
  const compression = compressionOfFile(archive);
  if (compression === undefined) return archive;
  const [from, plain] = [openSync(archive, 'r'), join(dir, 'plain.tar')];
  const to = openSync(plain, 'wx', 0o600);
  try {
    for await (const piece of inflatedPiecesOf(from, compression, verb)) writeAll(to, piece);
  } finally {
    closeSync(from);
    closeSync(to);
  }
  return plain;
}

/** What it is to be called here. Throws InvalidInputError where no name can be made of it. */
function ownNames({ names }: Member, input: string | undefined): string[] {
  if (names.length > 0) return names.map((name) => nameFrom(`docker://${name}`));
  if (input !== undefined) return [parseImageName(nameOfTarball(input))];
  throw new InvalidInputError('cannot load standard input: its image has no name', {
    hint: '-i FILE calls it after the file',
  });
}

/** From a file, or standard input. Returns the images' names. Throws NotFoundError, InvalidInputError, HostError. */
export async function loadImages(roots: Roots, input: string | undefined): Promise<string[]> {
  const what = input ?? 'standard input';
  if (input !== undefined && !statUserPath(input, `load ${input}`).isFile()) {
    throw new InvalidInputError(`cannot load ${input}: not a file`);
  }
  const verb = `load ${what}`;
  return withStaging(roots, verb, async (staging) => {
    const archive = await fetchArchive(staging, input, verb);
    const found: { names: string[]; manifest: Descriptor }[] = [];
    for (const member of await membersOf(archive, input, what)) {
      const names = ownNames(member, input);
      found.push({ names, manifest: await takeImage(staging, verb, member.reference, what, {}) });
    }
    for (const { names, manifest } of found) {
      for (const name of names) await nameImage(roots, name, manifest, verb, { move: true });
    }
    return found.flatMap(({ names }) => names.map(shownName));
  });
}
