/** Images as one file: what `docker save`, `podman save` and skopeo make, and their `load` takes. */
import { existsSync, realpathSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { firstLine, HostError, InvalidInputError } from '../errors.ts';
import { readToolOutput } from '../host/tool-output.ts';
import { statUserPath } from '../host/user-path.ts';
import type { Roots } from '../state/paths.ts';
import { nameOf, readCatalog } from './catalog.ts';
import { nameImage } from './compose.ts';
import { parseIndex } from './oci.ts';
import { shownName } from './reference.ts';
import { fetchImage, sendImage } from './skopeo.ts';
import { type Staging, withStaging } from './staging.ts';
import { getEntry } from './store.ts';
import { adoptImage, nameFrom } from './transfer.ts';

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

/**
 * To a file, or to standard output; by way of the staging folder, so that nothing half-written comes to the user's path,
 * and no odd path to skopeo. Throws InvalidInputError, NotFoundError, HostError.
 */
export async function saveImage(roots: Roots, ref: string, output: string | undefined, format: string): Promise<void> {
  const verb = `save ${ref}`;
  if (!(FORMATS as readonly string[]).includes(format)) {
    throw new InvalidInputError(`cannot use --format ${format}: ${FORMATS.join(' or ')}`);
  }
  if (output === undefined && process.stdout.isTTY) {
    throw new InvalidInputError(`cannot ${verb}: standard output is a terminal`, { hint: '-o FILE' });
  }
  const entry = getEntry(await readCatalog(roots), ref, verb);
  const name = nameOf(entry);
  await withStaging(roots, verb, async (staging) => {
    const archive = join(staging.dir, 'archive.tar');
    await sendImage(staging, verb, entry, `${format}:${archive}${name === undefined ? '' : `:${name}`}`, {});
    await copyFile(verb, archive, output ?? '-', staging.lockFd);
  });
}

/** An image in an archive: how skopeo finds it, and what it is called. */
interface Member {
  readonly transport: string;
  readonly reference: string;
  readonly name: string | undefined;
}

const dockerManifest = z.array(z.object({ RepoTags: z.nullish(z.array(z.string())) }));

async function readMember(archive: string, name: string): Promise<string | undefined> {
  const output = await readToolOutput(['tar', '--extract', '--to-stdout', '--file', archive, '--', name]);
  return output?.exitCode === 0 && output.stdout !== '' ? output.stdout : undefined;
}

/** Throws InvalidInputError where it is neither kind of archive. */
async function membersOf(archive: string, what: string): Promise<Member[]> {
  const docker = await readMember(archive, 'manifest.json');
  if (docker !== undefined) {
    let value: unknown;
    try {
      value = JSON.parse(docker);
    } catch {
      throw new InvalidInputError(`cannot load ${what}: its manifest.json is not JSON`);
    }
    const parsed = dockerManifest.safeParse(value);
    if (!parsed.success) throw new InvalidInputError(`cannot load ${what}: its manifest.json is damaged`);
    return parsed.data.map(({ RepoTags: tags }, index) => ({
      transport: 'docker-archive',
      reference: tags?.[0] ?? `@${index}`,
      name: tags?.[0],
    }));
  }
  const index = await readMember(archive, 'index.json');
  if (index === undefined) {
    throw new InvalidInputError(`cannot load ${what}: neither docker's archive of images nor OCI's`, {
      hint: `minict image import ${what} NAME takes a root file system`,
    });
  }
  return parseIndex(index, what).map(({ name }) => ({ transport: 'oci-archive', reference: name ?? '', name }));
}

async function loadMember(staging: Staging, archive: string, member: Member, what: string): Promise<string> {
  const { transport, reference, name } = member;
  const verb = `load ${what}`;
  const source = `${transport}:${archive}${reference === '' ? '' : `:${reference}`}`;
  const layout = await fetchImage(staging, verb, source, {});
  const manifest = await adoptImage(staging, layout, what);
  const own = name === undefined ? nameFrom(`docker-archive:${what}`) : nameFrom(`docker://${name}`);
  await nameImage(staging.roots, own, manifest, verb, { move: true });
  return shownName(own);
}

/** From a file, or standard input. Returns the images' names. Throws NotFoundError, InvalidInputError, HostError. */
export async function loadImages(roots: Roots, input: string | undefined): Promise<string[]> {
  const what = input ?? 'standard input';
  if (input !== undefined) statUserPath(input, `load ${input}`);
  const names: string[] = [];
  await withStaging(roots, `load ${what}`, async (staging) => {
    const archive = join(staging.dir, 'archive.tar');
    // skopeo splits its arguments at colons, which a user's path may have.
    if (input === undefined) await copyFile(`load ${what}`, '-', archive, staging.lockFd);
    else symlinkSync(realpathSync(input), archive);
    if (!existsSync(archive)) throw new InvalidInputError(`cannot load ${what}: it is empty`);
    for (const member of await membersOf(archive, what)) names.push(await loadMember(staging, archive, member, what));
  });
  return names;
}
