/**
 * A Dockerfile, built by buildah(1) in a storage of minict's own, from which the result is taken over. What its layers were
 * made of is buildah's business: its storage is kept for the next build, until prune removes it.
 */
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { join, relative } from 'node:path';
import { HostError, InvalidInputError } from '../errors.ts';
import { takeLock } from '../host/exec-calls.ts';
import { missingTool } from '../host/tool.ts';
import { buildCachePaths, imagePaths, type Roots } from '../state/paths.ts';
import { moveToTrash, removeTree } from '../state/trash.ts';
import type { BuildOptions } from './build.ts';
import { runBuildTool } from './build-tool.ts';
import { nameOf, readCatalog } from './catalog.ts';
import { nameImage } from './compose.ts';
import { takeLayout } from './incoming.ts';
import { shownName } from './reference.ts';
import { type Staging, withStaging } from './staging.ts';
import { resolveImage } from './store.ts';

/** The names that it takes files from, but for its own stages'. */
function basesIn(text: string): string[] {
  const from = [...text.matchAll(/^[ \t]*FROM[ \t]+(?:--\S+[ \t]+)*(\S+)(?:[ \t]+AS[ \t]+(\S+))?/gim)];
  const other = [...text.matchAll(/\bfrom=([^\s,]+)/gi)];
  const stages = new Set(from.map(([, , stage]) => stage?.toLowerCase()));
  return [...from, ...other].flatMap(([, name = '']) => (stages.has(name.toLowerCase()) ? [] : [name]));
}

/** Names that are the store's, with the image: buildah looks there first. */
async function contextsOf(roots: Roots, dockerfile: string): Promise<string[]> {
  const used = new Set(basesIn(readFileSync(dockerfile, 'utf8')));
  // It is made at first use.
  if (used.has('base')) await resolveImage(roots, 'base');
  const names = new Set((await readCatalog(roots)).flatMap((entry) => nameOf(entry) ?? []));
  return [...names].flatMap((name) =>
    [name, shownName(name)]
      .filter((spelling, index, all) => used.has(spelling) && all.indexOf(spelling) === index)
      .map((spelling) => `--build-context=${spelling}=container-image://oci:${STORE}:${name}`),
  );
}

/**
 * The store is an OCI layout. buildah makes a name of a layout's path, which not every path is good for: it gets one that is
 * relative to the staging folder.
 */
const STORE = 'minict-store';

interface Buildah {
  readonly staging: Staging;
  readonly verb: string;
  readonly progress: boolean;
}

async function buildah({ staging, verb, progress }: Buildah, ...words: readonly string[]): Promise<void> {
  const { roots, dir, lockFd } = staging;
  const storage = [
    ...['--root', buildCachePaths(roots).buildah, '--runroot', join(dir, 'buildah-run')],
    ...['--storage-driver', 'overlay'],
  ];
  const env = { TMPDIR: dir };
  try {
    await runBuildTool(verb, ['buildah', ...storage, ...words], { lockFd, progress, cwd: dir, env });
  } catch (error) {
    if (!(error instanceof HostError) || !/short-name .* did not resolve/.test(error.message)) throw error;
    throw new HostError(error.message, {
      details: error.details ?? '',
      hint: 'an image of the store (minict image pull), or a name in full, as docker.io/library/debian:12',
    });
  }
}

/** buildah makes mount options of its storage's path as it stands. Throws InvalidInputError. */
function requirePlainPath({ root }: Roots, verb: string): void {
  if (/^[\w.@+/-]+$/.test(root)) return;
  throw new InvalidInputError(`cannot ${verb}: buildah takes no state folder of this name: ${root}`, {
    hint: 'one without colons, commas and blanks: --root DIR or MINICT_ROOT',
  });
}

/** The name is taken from an image that has it. Throws HostError with what buildah says. */
export async function buildDockerfile(
  roots: Roots,
  dir: string,
  dockerfile: string,
  name: string,
  verb: string,
  { fresh, say }: BuildOptions,
): Promise<void> {
  if (Bun.which('buildah') === null) throw missingTool('buildah');
  requirePlainPath(roots, verb);
  await withStaging(roots, verb, async (staging) => {
    const { buildah: storage, buildahLock } = buildCachePaths(roots);
    mkdirSync(storage, { recursive: true, mode: 0o700 });
    // One at a time: each has a mount namespace of its own, in which the others' layers are not mounted.
    const lock = takeLock(buildahLock, 'exclusive');
    try {
      symlinkSync(imagePaths(roots).dir, join(staging.dir, STORE));
      const tool = { staging, verb, progress: say !== undefined };
      // Working containers are those of a build that was killed, or failed.
      await buildah({ ...tool, progress: false }, 'rm', '--all');
      const idFile = join(staging.dir, 'image-id');
      await buildah(
        tool,
        ...['build', '--layers', '--isolation', 'chroot', '--network', 'host', '--iidfile', idFile],
        ...(fresh ? ['--no-cache', '--pull'] : ['--pull=false']),
        ...(await contextsOf(roots, dockerfile)),
        ...['--file', realpathSync(dockerfile), '--', realpathSync(dir)],
      );
      const id = readFileSync(idFile, 'utf8').trim();
      const manifest = await takeLayout(staging, dir, async ({ layout, blobs }) => {
        mkdirSync(layout);
        symlinkSync(blobs, join(layout, 'blobs'));
        const destination = `oci:${relative(staging.dir, layout)}:built`;
        await buildah({ ...tool, progress: false }, 'push', '--quiet', id, destination);
      });
      await nameImage(roots, name, manifest, verb, { move: true });
    } finally {
      lock?.release();
    }
  });
}

/** Removes what it keeps for the next build, unless one is under way. Returns the paths, with `dryRun` only those. */
export function dropBuildahStorage(roots: Roots, dryRun = false): string[] {
  const { buildah: storage, buildahLock } = buildCachePaths(roots);
  if (!existsSync(storage)) return [];
  const lock = takeLock(buildahLock, 'exclusive', false);
  if (lock === undefined) return [];
  try {
    if (!dryRun) removeTree(moveToTrash(roots, storage, 'buildah'));
    if (!dryRun) rmSync(buildahLock, { force: true });
    return [storage];
  } finally {
    lock.release();
  }
}
