/**
 * recipe.yaml: what an image is made of, and in which order. Read and checked here; nothing of it is run or followed. It is
 * the user's own, unlike an imported tarball, but recipes are shared, so that nothing in it is believed either.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { InvalidInputError } from '../errors.ts';
import { statUserPath } from '../host/user-path.ts';
import { namesTo } from '../spec/names-to.ts';
import { parseSignal } from '../spec/signal.ts';
import type { Config } from './oci.ts';
import { MAX_YAML_BYTES, parseYaml } from './yaml.ts';

export const RECIPE = 'recipe.yaml';

/** What `from:` calls the host's own static busybox. */
const BUSYBOX = 'busybox';

export type RecipeBase =
  | { readonly kind: 'busybox' }
  | { readonly kind: 'image'; readonly ref: string }
  | { readonly kind: 'debootstrap'; readonly suite: string; readonly packages: readonly string[] };

/** Files or folders of the recipe's folder, to an absolute path in the image. */
export interface CopyStep {
  readonly copy: readonly string[];
  /** With a `/` at its end: into that folder. */
  readonly to: string;
  /** `user[:group]`, by the image's own names; root's without it. */
  readonly owner?: string | undefined;
  /** Of the files; their own without it. */
  readonly mode?: number | undefined;
}

/** A shell line, run in the tree. */
export interface RunStep {
  readonly run: string;
}

export type RecipeStep = CopyStep | RunStep;

export interface Recipe {
  readonly base: RecipeBase;
  readonly steps: readonly RecipeStep[];
  /** In the words of the OCI image configuration. */
  readonly settings: NonNullable<Config['config']>;
}

/** An overlay takes some more layers than that; steps that belong together are one. */
const MAX_STEPS = 100;

const string = z
  .string({
    error: ({ input }) => (input === undefined ? 'is missing' : 'has to be text; numbers, true and false go in quotes'),
  })
  .check(z.refine((value) => !value.includes('\0'), 'has a NUL in it'));
const text = string.check(z.minLength(1, 'is empty'));
const absolute = text.check(
  z.refine((path) => path.startsWith('/') && !path.split('/').includes('..'), 'has to be an absolute path without ..'),
);
const suite = text.check(z.regex(/^[a-z][a-z0-9.-]*$/, 'not the name of a Debian suite'));
const packageName = text.check(z.regex(/^[a-z0-9][a-z0-9+.-]+$/, 'not the name of a Debian package'));

function isSignal(name: string): boolean {
  try {
    return parseSignal(name) > 0;
  } catch {
    return false;
  }
}

function listOf<T extends z.ZodMiniType>(item: T, what: string) {
  return z.array(item, `has to be a list of ${what}`);
}

/** Errors say which keys there are. */
function mapping<T extends z.core.$ZodShape>(shape: T) {
  const keys = Object.keys(shape).join(', ');
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `unknown key ${issue.keys?.map((key) => JSON.stringify(key)).join(', ')}; allowed: ${keys}`
        : `has to have keys; allowed: ${keys}`,
  });
}

function namesOf(what: string, value: z.ZodMiniType<string, string>) {
  const name = text.check(z.regex(/^[^\s=]+$/, `not the name of a ${what}`));
  return namesTo(name, value, `has to have names of ${what}s as keys`);
}

/** docker's two forms. */
const command = z.union([listOf(text, 'words'), text], 'has to be a list of words, or a line for the shell');

/** YAML makes numbers of some, without harm. */
function numberOr(pattern: RegExp, message: string) {
  const isFine = (value: unknown) => pattern.test(String(value));
  return z.union([z.number(message), z.string(message)], message).check(z.refine(isFine, message));
}
const port = numberOr(/^[1-9]\d{0,4}(\/(tcp|udp|sctp))?$/, 'not a port; 80 and 53/udp are').check(
  z.refine((value) => Number.parseInt(String(value), 10) <= 65535, 'no port has that number'),
);
const userAndGroup = numberOr(/^[^\s:\0]+(:[^\s:\0]+)?$/, 'has to be user or user:group');

const recipeSchema = mapping({
  from: z.optional(text),
  debootstrap: z.optional(mapping({ suite, packages: z.optional(listOf(packageName, 'packages')) })),
  steps: z.optional(
    listOf(z.unknown(), 'steps').check(z.maxLength(MAX_STEPS, `more than ${MAX_STEPS} steps; make fewer of them`)),
  ),
  env: z.optional(namesOf('variable', string)),
  cmd: z.optional(command),
  entrypoint: z.optional(command),
  workdir: z.optional(absolute),
  user: z.optional(userAndGroup),
  labels: z.optional(namesOf('label', string)),
  expose: z.optional(listOf(port, 'ports')),
  'stop-signal': z.optional(text.check(z.refine(isSignal, 'not a signal; QUIT and SIGTERM are'))),
  volumes: z.optional(listOf(absolute, 'absolute paths')),
});

const copySchema = mapping({
  copy: z.union(
    [listOf(text, 'files').check(z.minLength(1, 'is empty')), text],
    'has to be a file, a folder or a list',
  ),
  to: absolute,
  owner: z.optional(userAndGroup),
  // YAML reads 0644 as the number 644, and 0o644 as 420.
  mode: z.optional(
    z.string("has to be octal in quotes, as '0644'").check(z.regex(/^[0-7]{3,4}$/, "has to be octal, as '0644'")),
  ),
});
const runSchema = mapping({ run: text });

/** `steps.1.to` is the second step's `to`. */
function place(path: readonly PropertyKey[]): string {
  const [first, index, ...rest] = path;
  if (first !== 'steps' || typeof index !== 'number') return path.map(String).join('.');
  return [`step ${index + 1}`, ...rest.map(String)].join(': ');
}

/** The issue of the alternative that came furthest: "neither of the two" helps nobody. */
function deepest(issues: readonly z.core.$ZodIssue[], path: readonly PropertyKey[] = []): [PropertyKey[], string] {
  const all = issues.map((issue): [PropertyKey[], string] => {
    const here = [...path, ...issue.path];
    const inner = issue.code === 'invalid_union' ? deepest(issue.errors.flat(), here) : undefined;
    return inner !== undefined && inner[0].length > here.length ? inner : [here, messageOf(issue)];
  });
  return all.reduce((best, other) => (other[0].length > best[0].length ? other : best));
}

/** Of a key, what is wrong with it is in an issue of its own. */
function messageOf(issue: z.core.$ZodIssue): string {
  return issue.code === 'invalid_key' ? (issue.issues[0]?.message ?? issue.message) : issue.message;
}

function check<T extends z.ZodMiniType>(schema: T, value: unknown, what: string, path: PropertyKey[]): z.infer<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [where, message] = deepest(parsed.error.issues, path);
  const at = place(where);
  throw new InvalidInputError(`${what}: ${at === '' ? '' : `${at}: `}${message}`);
}

function readStep(value: unknown, index: number, what: string): RecipeStep {
  const path = ['steps', index];
  const keys = typeof value === 'object' && value !== null ? Object.keys(value) : [];
  if (keys.includes('copy') === keys.includes('run')) {
    throw new InvalidInputError(`${what}: ${place(path)}: has to have one of copy, run`);
  }
  if (keys.includes('run')) return check(runSchema, value, what, path);
  const { copy, to, owner, mode } = check(copySchema, value, what, path);
  const sources = typeof copy === 'string' ? [copy] : copy;
  if (sources.length > 1 && !to.endsWith('/')) {
    throw new InvalidInputError(`${what}: ${place([...path, 'to'])}: has to end with / where several files go`);
  }
  return {
    copy: sources,
    to,
    owner: owner === undefined ? undefined : String(owner),
    mode: mode === undefined ? undefined : Number.parseInt(mode, 8),
  };
}

function baseOf({ from, debootstrap }: z.infer<typeof recipeSchema>, what: string): RecipeBase {
  if ((from === undefined) === (debootstrap === undefined)) {
    throw new InvalidInputError(`${what}: has to have one of from, debootstrap`, {
      hint: `from: ${BUSYBOX}, from: IMAGE, or debootstrap: {suite: bookworm, packages: [curl]}`,
    });
  }
  if (debootstrap !== undefined) {
    return { kind: 'debootstrap', suite: debootstrap.suite, packages: debootstrap.packages ?? [] };
  }
  return from === BUSYBOX ? { kind: 'busybox' } : { kind: 'image', ref: from as string };
}

function words(value: string | string[]): string[] {
  return typeof value === 'string' ? ['/bin/sh', '-c', value] : value;
}

function keysOf(names: readonly string[]): Record<string, object> {
  return Object.fromEntries(names.map((name) => [name, {}]));
}

function settingsOf(recipe: z.infer<typeof recipeSchema>): Recipe['settings'] {
  const { env, cmd, entrypoint, workdir, user, labels, expose, volumes } = recipe;
  const ports = expose?.map((value) => (String(value).includes('/') ? String(value) : `${value}/tcp`));
  return {
    ...(env && { Env: Object.entries(env).map(([name, value]) => `${name}=${value}`) }),
    ...(entrypoint && { Entrypoint: words(entrypoint) }),
    ...(cmd && { Cmd: words(cmd) }),
    ...(workdir && { WorkingDir: workdir }),
    ...(user !== undefined && { User: String(user) }),
    ...(labels && { Labels: labels }),
    ...(ports && { ExposedPorts: keysOf(ports) }),
    ...(recipe['stop-signal'] && { StopSignal: recipe['stop-signal'] }),
    ...(volumes && { Volumes: keysOf(volumes) }),
  };
}

export function isSuite(name: string): boolean {
  return suite.safeParse(name).success;
}

/** Throws InvalidInputError, with the line or the path of the mistake, NotFoundError. */
export function readRecipe(dir: string): Recipe {
  const path = join(dir, RECIPE);
  const what = `cannot build ${dir}: ${RECIPE}`;
  const stat = statUserPath(path, `build ${dir}`);
  if (!stat.isFile()) throw new InvalidInputError(`${what}: is no regular file`);
  if (stat.size > MAX_YAML_BYTES) throw new InvalidInputError(`${what}: is larger than ${MAX_YAML_BYTES >> 10} KiB`);
  const value = parseYaml(readFileSync(path, 'utf8'), what);
  const recipe = check(recipeSchema, value, what, []);
  return {
    base: baseOf(recipe, what),
    steps: (recipe.steps ?? []).map((step, index) => readStep(step, index, what)),
    settings: settingsOf(recipe),
  };
}
