/**
 * Builds an image from a recipe: a folder with a `recipe.json` and the files it names. Says what goes into the tree;
 * Debian's own tools fetch and unpack the packages. The recipe is the user's own, unlike an imported tarball, but its
 * paths are checked all the same: recipes are shared.
 */
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join, sep } from 'node:path';
import { execa } from 'execa';
import * as z from 'zod/mini';
import { HostError, InvalidInputError, NotFoundError } from '../errors.ts';
import type { Roots } from '../state/paths.ts';
import { fillBase } from './base.ts';
import { imageOfTree } from './compose.ts';

const suite = z.string().check(z.regex(/^[a-z][a-z0-9.-]*$/, 'not the name of a Debian suite'));
const line = z.string().check(z.minLength(1));
const common = {
  /** Path in the recipe's folder → absolute path in the image. */
  files: z.optional(z.record(line, line)),
  /** Shell lines, run in the tree in order; the first that fails ends the build. */
  run: z.optional(z.array(line)),
};
const recipeSchema = z.union([
  z.strictObject({ from: z.literal('busybox'), ...common }),
  z.strictObject({
    debootstrap: z.strictObject({
      suite,
      packages: z.optional(z.array(z.string().check(z.regex(/^[a-z0-9][a-z0-9+.-]+$/, 'not the name of a package')))),
    }),
    ...common,
  }),
]);
type Recipe = z.infer<typeof recipeSchema>;

export interface BuildOptions {
  /** Instead of the recipe's own Debian suite. */
  readonly suite?: string;
  /** Let the tools show their progress on stderr. */
  readonly progress: boolean;
}

function readRecipe(dir: string): Recipe {
  const path = join(dir, 'recipe.json');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const cause = code === 'ENOENT' ? `no ${path}` : message;
    throw new NotFoundError(`cannot build ${dir}: ${cause}`, {
      hint: 'a recipe is a folder with a recipe.json',
    });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InvalidInputError(`cannot build ${dir}: ${path} is not JSON: ${(error as Error).message}`);
  }
  const parsed = recipeSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new InvalidInputError(`cannot build ${dir}: ${path}: ${explain(parsed.error.issues)}`, {
    hint: '{"from": "busybox"} or {"debootstrap": {"suite": "bookworm", "packages": ["curl"]}}',
  });
}

/** The issue of the alternative that came furthest: "no alternative fits" helps nobody. */
function explain(issues: readonly z.core.$ZodIssue[]): string {
  const all = issues.flatMap((issue) => (issue.code === 'invalid_union' ? issue.errors.flat() : [issue]));
  const deepest = all.reduce((best, issue) => (issue.path.length > best.path.length ? issue : best), all[0] as never);
  return `${deepest.path.length > 0 ? `${deepest.path.join('.')}: ` : ''}${deepest.message}`;
}

/** A file of the recipe's folder, no matter how its path is written. Throws for one outside of it. */
function sourceOf(dir: string, file: string): string {
  const path = join(dir, file);
  if (!existsSync(path)) throw new NotFoundError(`cannot build ${dir}: no file ${file}`);
  const real = realpathSync(path);
  if (!real.startsWith(`${realpathSync(dir)}${sep}`)) {
    throw new InvalidInputError(`cannot build ${dir}: file ${file} is outside of the recipe's folder`);
  }
  if (!lstatSync(real).isFile()) throw new InvalidInputError(`cannot build ${dir}: ${file} is no regular file`);
  return real;
}

/** Makes the folders on the way; a symlink in the tree could lead to the host, so none is followed. */
function targetOf(dir: string, rootfs: string, path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (!path.startsWith('/') || parts.length === 0 || parts.includes('..')) {
    throw new InvalidInputError(`cannot build ${dir}: ${path} is no absolute path in the image`);
  }
  let here = rootfs;
  for (const [index, part] of parts.entries()) {
    here = join(here, part);
    const stat = lstatSync(here, { throwIfNoEntry: false });
    if (stat?.isSymbolicLink()) {
      const link = here.slice(rootfs.length);
      throw new InvalidInputError(
        `cannot build ${dir}: ${link} is a symlink in the image; write its target in ${path}`,
      );
    }
    if (index < parts.length - 1 && stat === undefined) mkdirSync(here, { mode: 0o755 });
  }
  return here;
}

async function runTool(what: string, argv: readonly string[], lockFd: number, progress: boolean): Promise<void> {
  const [file = '', ...words] = argv;
  const { failed, stderr } = await execa(file, words, {
    // Packages' scripts ask nothing, and their chatter is no result of minict's.
    // execa's types know descriptors up to 9; it hands on any.
    stdio: ['ignore', progress ? 2 : 'ignore', progress ? 2 : 'pipe', lockFd as 3],
    env: { LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
    reject: false,
  });
  if (!failed) return;
  if (progress) throw new HostError(`cannot ${what}: its tools failed, see above`);
  const lines = (stderr ?? '').trim().split('\n');
  const full = lines.find((text) => /no space left on device/i.test(text));
  const cause = full ?? lines.find((text) => /^E: /.test(text)) ?? lines.at(-1);
  throw new HostError(`cannot ${what}: ${cause || 'a tool failed'}`, {
    hint: 'on a terminal the tools show all they do',
  });
}

/** In a mount namespace of its own: what the tool mounts into the tree goes with it, however it ends. */
const OWN_MOUNTS = ['unshare', '--mount', '--propagation', 'private', '--'];

const NO_RECOMMENDS = '--aptopt=APT::Install-Recommends "false"';
const LEAN = ['man', 'locale', 'doc'].map((dir) => `--dpkgopt=path-exclude=/usr/share/${dir}/*`);
const KEEP_LICENCES = '--dpkgopt=path-include=/usr/share/doc/*/copyright';

async function fillDebian(
  rootfs: string,
  what: string,
  recipe: { suite: string; packages: readonly string[] },
  lockFd: number,
  progress: boolean,
): Promise<void> {
  const include = recipe.packages.length > 0 ? [`--include=${recipe.packages.join(',')}`] : [];
  if (Bun.which('mmdebstrap') !== null) {
    const quiet = progress ? [] : ['--quiet'];
    const options = [...quiet, ...include, NO_RECOMMENDS, ...LEAN, KEEP_LICENCES];
    const tool = ['mmdebstrap', '--mode=root', '--variant=minbase', '--format=directory', ...options];
    await runTool(what, [...OWN_MOUNTS, ...tool, recipe.suite, rootfs], lockFd, progress);
  } else if (Bun.which('debootstrap') !== null) {
    const tool = ['debootstrap', '--variant=minbase', ...include, recipe.suite, rootfs];
    await runTool(what, [...OWN_MOUNTS, ...tool], lockFd, progress);
    await runTool(what, ['chroot', rootfs, '/usr/bin/apt-get', 'clean'], lockFd, progress);
  } else {
    throw new HostError(`cannot ${what}: neither mmdebstrap nor debootstrap found`, {
      hint: 'apt-get install mmdebstrap',
    });
  }
  // Both copy the build host's name and resolver into the tree; mounts of a container need the files to be there.
  for (const file of ['etc/hostname', 'etc/hosts', 'etc/resolv.conf']) {
    rmSync(join(rootfs, file), { force: true });
    writeFileSync(join(rootfs, file), '', { mode: 0o644 });
  }
}

async function runLines(
  rootfs: string,
  what: string,
  lines: readonly string[],
  lockFd: number,
  progress: boolean,
): Promise<void> {
  for (const text of lines) {
    // All processes of the line end with its PID namespace, and /proc goes with the mount namespace.
    const own = ['unshare', '--mount', '--pid', '--fork', '--kill-child', `--root=${rootfs}`, '--wd=/', '--mount-proc'];
    const clean = [
      '/usr/bin/env',
      '-i',
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'HOME=/root',
    ];
    await runTool(`${what}: run ${JSON.stringify(text)}`, [...own, ...clean, 'sh', '-ec', text], lockFd, progress);
  }
}

/**
 * Builds the recipe in folder `dir` into image `name`. Throws NotFoundError, InvalidInputError (the recipe),
 * ConflictError (the name is taken), HostError (a tool is missing or fails).
 */
export async function buildImage(roots: Roots, dir: string, name: string, options: BuildOptions): Promise<void> {
  const recipe = readRecipe(dir);
  const what = `build ${dir}`;
  if (options.suite !== undefined) {
    if (!suite.safeParse(options.suite).success) {
      throw new InvalidInputError(`cannot ${what}: ${JSON.stringify(options.suite)} is not the name of a Debian suite`);
    }
    if (!('debootstrap' in recipe)) throw new InvalidInputError(`cannot ${what}: its recipe takes no --suite`);
  }
  const sources = Object.entries(recipe.files ?? {}).map(([file, path]) => ({ from: sourceOf(dir, file), path }));
  await imageOfTree(roots, name, what, async (rootfs, lockFd) => {
    if ('debootstrap' in recipe) {
      const debian = { suite: options.suite ?? recipe.debootstrap.suite, packages: recipe.debootstrap.packages ?? [] };
      await fillDebian(rootfs, what, debian, lockFd, options.progress);
    } else {
      fillBase(rootfs);
    }
    for (const { from, path } of sources) copyFileSync(from, targetOf(dir, rootfs, path));
    await runLines(rootfs, what, recipe.run ?? [], lockFd, options.progress);
  });
}
