/**
 * Builds an image from a folder: by its recipe.yaml, a layer a step, of which those are made anew whose inputs have changed;
 * or by its Dockerfile, with buildah.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { InvalidInputError, NotFoundError } from '../errors.ts';
import { statUserPath } from '../host/user-path.ts';
import type { Roots } from '../state/paths.ts';
import { fillBase, findBusybox } from './base.ts';
import { cachedLayer } from './build-cache.ts';
import { copySources, findSources, fingerprint } from './build-copy.ts';
import { makeTree, runInTree, withTree } from './build-tree.ts';
import { readCatalog, readDocuments } from './catalog.ts';
import { composeImage, type Layer, layerOfTree, nameImage } from './compose.ts';
import { fillDebian } from './debian.ts';
import { overlayDirs } from './layers.ts';
import type { Config, Manifest } from './oci.ts';
import { isSuite, RECIPE, type Recipe, type RecipeStep, readRecipe } from './recipe.ts';
import { parseImageName } from './reference.ts';
import { mergeSettings } from './settings.ts';
import { type Staging, withStaging } from './staging.ts';
import { resolveImage, selectEntry } from './store.ts';

export interface BuildOptions {
  /** Instead of the recipe's own Debian suite. */
  readonly suite?: string | undefined;
  /** Every step is made anew, and kept in place of what was kept before. */
  readonly fresh: boolean;
  /** Gets a line for each step; then the tools, too, show on stderr what they do. */
  readonly say?: ((line: string) => void) | undefined;
}

type Settings = NonNullable<Config['config']>;

/** What a recipe begins with, and what is made on top of it. */
interface Build {
  readonly staging: Staging;
  readonly verb: string;
  readonly options: BuildOptions;
  readonly base: { readonly manifest: Manifest; readonly config: Config } | undefined;
  readonly settings: Settings;
  readonly layers: (Layer & { readonly created: string })[];
}

/** Digests of what is in the layers so far, the lowest first. */
function diffIdsOf({ base, layers }: Build): string[] {
  return [...(base?.config.rootfs.diff_ids ?? []), ...layers.map(({ diffId }) => diffId)];
}

/** Adds a layer, made or reused. */
async function addLayer(
  build: Build,
  title: string,
  inputs: readonly unknown[],
  make: () => Promise<Layer>,
): Promise<void> {
  const { staging, options, layers } = build;
  options.say?.(title);
  const { layer, reused } = await cachedLayer(staging, [diffIdsOf(build), ...inputs], options.fresh, make);
  if (reused) options.say?.('    as before');
  layers.push(layer);
}

async function addRoot(build: Build, base: Recipe['base']): Promise<void> {
  const { staging, verb, options } = build;
  const add = (title: string, inputs: readonly unknown[], fill: (tree: string) => Promise<void>) =>
    addLayer(build, title, inputs, async () => {
      const tree = join(staging.dir, 'root');
      mkdirSync(tree, { mode: 0o755 });
      await fill(tree);
      return layerOfTree(staging, tree, `minict ${title}`, verb);
    });
  if (base.kind === 'busybox') {
    const hasher = new Bun.CryptoHasher('sha256').update(await Bun.file(findBusybox()).bytes());
    await add('from busybox', ['busybox', hasher.digest('hex')], async (tree) => fillBase(tree));
  } else if (base.kind === 'debootstrap') {
    const suite = options.suite ?? base.suite;
    const packages = [...new Set(base.packages)].sort();
    const title = ['debootstrap', suite, ...packages].join(' ');
    await add(title, ['debootstrap', suite, packages], (tree) => {
      const tool = { lockFd: staging.lockFd, progress: options.say !== undefined };
      return fillDebian(tree, verb, { suite, packages }, tool);
    });
  }
}

const SHOWN_LETTERS = 60;

function shown(text: string): string {
  const line = text.trim().replace(/\s+/g, ' ');
  return line.length > SHOWN_LETTERS ? `${line.slice(0, SHOWN_LETTERS)}…` : line;
}

/** As it is shown, and the verb for messages. */
function describe(step: RecipeStep, index: number, verb: string): { words: string; verb: string } {
  const words = 'run' in step ? `run ${shown(step.run)}` : `copy ${step.copy.join(' ')} to ${step.to}`;
  return { words, verb: `${verb}: step ${index + 1} (${words})` };
}

async function addStep(build: Build, dir: string, step: RecipeStep, index: number, count: number): Promise<void> {
  const { staging, options } = build;
  const { words, verb } = describe(step, index, build.verb);
  const title = `step ${index + 1}/${count}: ${words}`;
  const below = () => overlayDirs(staging.roots, diffIdsOf(build));
  if ('run' in step) {
    const env = build.settings.Env ?? [];
    await addLayer(build, title, ['run', step.run, env], async () => {
      const tree = makeTree(staging, below());
      await runInTree(staging, tree, verb, step.run, { progress: options.say !== undefined, env });
      return layerOfTree(staging, tree.upper, `run ${step.run}`, verb);
    });
    return;
  }
  const sources = findSources(dir, step, verb);
  const before = fingerprint(sources, verb);
  await addLayer(build, title, ['copy', step, before], async () => {
    const tree = makeTree(staging, below());
    const copied = await withTree(staging, tree, verb, (root) => copySources(sources, root, step, verb));
    if (copied !== before) {
      throw new InvalidInputError(`cannot ${verb}: files have changed meanwhile`, { hint: 'build it again' });
    }
    return layerOfTree(staging, tree.upper, words, verb);
  });
}

/** What `from:` names. Throws NotFoundError. */
async function findBase(roots: Roots, { base }: Recipe, verb: string): Promise<string | undefined> {
  if (base.kind !== 'image') return undefined;
  const { ref } = base;
  const isThere = !ref.includes('/') && selectEntry(await readCatalog(roots), ref) !== undefined;
  if (!isThere && ref !== 'base') {
    throw new NotFoundError(`cannot ${verb}: ${RECIPE}: from: no image ${ref}`, {
      hint: ref.includes('/') ? `minict image pull docker://${ref}` : 'minict image ls',
    });
  }
  // It is made at first use, and unpacked at first use.
  return (await resolveImage(roots, ref)).id;
}

/** An overlay of more does not fit into mount(2)'s page of options, whatever the state folder is called. */
const MAX_LAYERS = 120;

async function buildRecipe(roots: Roots, dir: string, name: string, verb: string, options: BuildOptions) {
  const recipe = readRecipe(dir);
  const { base: root, steps } = recipe;
  if (options.suite !== undefined) {
    if (!isSuite(options.suite)) {
      throw new InvalidInputError(`cannot ${verb}: ${JSON.stringify(options.suite)} is not the name of a Debian suite`);
    }
    if (root.kind !== 'debootstrap') throw new InvalidInputError(`cannot ${verb}: its recipe takes no --suite`);
  }
  // Before the first of them is run.
  for (const [index, step] of steps.entries()) {
    if ('copy' in step) findSources(dir, step, describe(step, index, verb).verb);
  }
  await withStaging(roots, verb, async (staging) => {
    const id = await findBase(roots, recipe, verb);
    const base = id === undefined ? undefined : readDocuments(roots, id);
    const settings = mergeSettings(base?.config.config ?? {}, recipe.settings);
    const build: Build = { staging, verb, options, base, settings, layers: [] };
    const count = (base?.manifest.layers.length ?? 1) + steps.length;
    if (count > MAX_LAYERS) {
      throw new InvalidInputError(`cannot ${verb}: it would have ${count} layers, of at most ${MAX_LAYERS}`);
    }
    await addRoot(build, root);
    for (const [index, step] of steps.entries()) await addStep(build, dir, step, index, steps.length);
    const below = base && { layers: base.manifest.layers, config: base.config };
    const created = build.layers.at(-1)?.created ?? base?.config.created;
    await nameImage(roots, name, composeImage(staging, build.layers, settings, below, created), verb, { move: true });
  });
}

/** As docker and podman look for it. */
const DOCKERFILES = ['Containerfile', 'Dockerfile'];

/**
 * Builds what is in folder `dir` into image `name`, which is taken from an image that has it. Throws NotFoundError,
 * InvalidInputError (the recipe), HostError (a tool is missing or fails).
 */
export async function buildImage(roots: Roots, dir: string, rawName: string, options: BuildOptions): Promise<void> {
  const name = parseImageName(rawName);
  const verb = `build ${dir}`;
  if (!statUserPath(dir, verb).isDirectory()) {
    throw new InvalidInputError(`cannot ${verb}: no folder`, { hint: `name the folder that ${RECIPE} is in` });
  }
  if (existsSync(join(dir, RECIPE))) return buildRecipe(roots, dir, name, verb, options);
  const dockerfile = DOCKERFILES.map((file) => join(dir, file)).find((path) => existsSync(path));
  if (dockerfile === undefined) {
    throw new NotFoundError(`cannot ${verb}: it has neither ${RECIPE} nor Dockerfile`, {
      hint: `${RECIPE} begins with from: busybox, from: IMAGE, or debootstrap: {suite: bookworm}`,
    });
  }
  if (options.suite !== undefined) throw new InvalidInputError(`cannot ${verb}: a Dockerfile takes no --suite`);
  await (await import('./dockerfile.ts')).buildDockerfile(roots, dir, dockerfile, name, verb, options);
}
