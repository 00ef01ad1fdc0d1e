/** The state folder: instance id, containers, locks. A container exists while its container.json does. */
import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConflictError, HostError, NotFoundError, StateError } from '../errors.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { readJson, stageJson, writeJson } from './json-file.ts';
import { containerPaths, instancePaths, type Roots } from './paths.ts';

/**
 * Undefined before first use. Where the state folder was removed by hand, the run dir still knows the id. Throws StateError
 * for a damaged file.
 */
export function readInstance(roots: Roots): string | undefined {
  return readId(instancePaths(roots).instance) ?? orphanedId(roots, readMarker(roots));
}

function readId(path: string): string | undefined {
  return existsSync(path) ? parseId(readFileSync(path, 'utf8').trim(), path) : undefined;
}

function parseId(text: string, path: string): string {
  if (/^[0-9a-f]{8}$/.test(text)) return text;
  throw new StateError(`cannot read ${path}: it is damaged (not an instance id)`, {
    hint: "8 hex digits, as in the containers' cgroup minict-ID and in the alias of their interfaces",
  });
}

/** Whose the run dir is: an instance, and the path of its state folder. */
interface Marker {
  readonly id: string;
  readonly root: string;
}

function readMarker(roots: Roots): Marker | undefined {
  const path = instancePaths(roots).marker;
  if (!existsSync(path)) return undefined;
  const [id = '', ...root] = readFileSync(path, 'utf8').replace(/\n$/, '').split('\n');
  return { id: parseId(id, path), root: root.join('\n') };
}

/** The id of the state folder that was at this path before. */
function orphanedId(roots: Roots, marker: Marker | undefined): string | undefined {
  return marker?.root === roots.root ? marker.id : undefined;
}

/** Makes the file with its content at once, unless another one was quicker: nobody ever reads half of it. */
function writeOnce(path: string, content: string): void {
  const temporary = `${path}.tmp-${process.pid}`;
  try {
    writeFileSync(temporary, content, { mode: 0o600 });
    linkSync(temporary, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(temporary, { force: true });
  }
}

/**
 * Tells ext4 that what is in the folders of `path` is unrelated, as each layer is: it gets a block group of its own. Where
 * many files were removed a moment ago, ext4 without a journal passes over their inodes one by one, and making new ones
 * takes many times as long. A hint; other file systems have none of it.
 */
function spreadFolders(path: string): void {
  const chattr = Bun.which('chattr');
  if (chattr !== null) Bun.spawnSync([chattr, '+T', path], { stdio: ['ignore', 'ignore', 'ignore'] });
}

/**
 * Makes the state folders and the instance id, that of a state folder which was at the same path before, if so: what is left
 * of it in the kernel is this minict's. Throws ConflictError where the run dir is another root's, or, unless `takeOver`,
 * where containers of a removed state folder are still up.
 */
export function ensureState(roots: Roots, { takeOver = false } = {}): string {
  const paths = instancePaths(roots);
  // The marker is read first, as it is made last: where it matches, all is there.
  const marker = readMarker(roots);
  const known = readId(paths.instance);
  if (known !== undefined && marker?.id === known) return known;
  const id = known ?? orphanedId(roots, marker);
  if (marker !== undefined && marker.id !== id) throw othersRunDir(roots);
  if (known === undefined && id !== undefined && !takeOver) refuseOrphans(roots);
  attempt(`use state folder ${roots.root}`, roots.root, '--root DIR or MINICT_ROOT names another folder', () => {
    const folders = [
      'cables',
      'containers',
      'images/blobs/sha256',
      'images/layers',
      'layers',
      'networks',
      'volumes',
      '.trash',
    ];
    for (const dir of ['', ...folders]) {
      mkdirSync(join(roots.root, dir), { recursive: true, mode: 0o700 });
    }
    if (known === undefined) spreadFolders(join(roots.root, 'images'));
    if (known === undefined) writeOnce(paths.instance, `${id ?? newInstance()}\n`);
  });
  const instance = readId(paths.instance) as string;
  attempt(`use run dir ${roots.runDir}`, roots.runDir, '--run-dir DIR or MINICT_RUN_DIR names another folder', () => {
    mkdirSync(roots.runDir, { recursive: true, mode: 0o700 });
    writeOnce(paths.marker, `${instance}\n${roots.root}\n`);
  });
  if (readMarker(roots)?.id !== instance) throw othersRunDir(roots);
  return instance;
}

function othersRunDir({ runDir }: Roots): ConflictError {
  return new ConflictError(`cannot use run dir ${runDir}: it belongs to another minict root`, {
    hint: 'give this root its own: --run-dir DIR or MINICT_RUN_DIR',
  });
}

/** A new container would get the address of one that nobody knows of any more. */
function refuseOrphans({ root, runDir }: Roots): void {
  const left = readdirSync(runDir, { withFileTypes: true }).some(
    (entry) => entry.isDirectory() && !entry.name.startsWith('.'),
  );
  if (!left) return;
  throw new ConflictError(`cannot use state folder ${root}: it was removed while containers were up`, {
    hint: 'minict system prune removes what is left of them',
  });
}

function newInstance(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(4))).toString('hex');
}

function attempt(what: string, dir: string, hint: string, action: () => void): void {
  try {
    action();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw code === 'ENOSPC'
      ? new HostError(`cannot ${what}: no space left on its disk`, { hint: `df -h ${dir}` })
      : new HostError(`cannot ${what}: ${message}`, { hint });
  }
}

export async function findContainer(roots: Roots, name: string): Promise<ContainerSpec | undefined> {
  const { json } = containerPaths(roots, name);
  const spec = await readJson(json, 'container', name);
  if (spec === undefined || spec.name === name) return spec;
  // A rename was killed when it had moved the folder, or is about to go on: what that is to say lies in it.
  publishRenamed(json, name);
  return readJson(json, 'container', name);
}

/** Of a rename to that name alone: who comes late takes nothing into its place that another one, or an update, is writing. */
function renamedJson(json: string, name: string): string {
  return `${json}.to-${name}`;
}

/** Whoever does it first. */
function publishRenamed(json: string, name: string): void {
  try {
    renameSync(renamedJson(json, name), json);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** Gives the container `from` the name of `spec`, whose folder is empty; the rename of the folder is the commit point. */
export function moveContainer(roots: Roots, from: string, spec: ContainerSpec): void {
  const [old, moved] = [containerPaths(roots, from), containerPaths(roots, spec.name)];
  writeJson(renamedJson(old.json, spec.name), spec);
  renameSync(old.dir, moved.dir);
  publishRenamed(moved.json, spec.name);
}

/** Throws NotFoundError. */
export async function getContainer(roots: Roots, name: string): Promise<ContainerSpec> {
  const spec = await findContainer(roots, name);
  if (spec === undefined) {
    throw new NotFoundError(`cannot find container ${name}: no such container`, { hint: 'minict ps -a' });
  }
  return spec;
}

/** Writes container.json under another name; what is returned publishes it: the commit point of `create`. */
export function stageContainer(roots: Roots, spec: ContainerSpec): Promise<() => void> {
  return stageJson(containerPaths(roots, spec.name).json, spec);
}

/** Replaces what is known of a container that exists; the caller holds its exclusive lock. */
export function writeContainer(roots: Roots, spec: ContainerSpec): void {
  writeJson(containerPaths(roots, spec.name).json, spec);
}

/** Names of all folders of containers, half-made ones included, in order. */
export function containerFolders(roots: Roots): string[] {
  const dir = join(roots.root, 'containers');
  return existsSync(dir) ? readdirSync(dir).sort() : [];
}

export function listContainers(roots: Roots): string[] {
  return containerFolders(roots).filter((name) => existsSync(containerPaths(roots, name).json));
}
