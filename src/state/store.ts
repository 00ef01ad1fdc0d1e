/** The state folder: instance id, containers, locks. A container exists while its container.json does. */
import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConflictError, HostError, NotFoundError, StateError } from '../errors.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { readJson, stageJson } from './json-file.ts';
import { containerPaths, instancePaths, type Roots } from './paths.ts';

/** Undefined before first use. Throws StateError for a damaged file. */
export function readInstance(roots: Roots): string | undefined {
  return readId(instancePaths(roots).instance);
}

function readId(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  const id = readFileSync(path, 'utf8').trim();
  if (/^[0-9a-f]{8}$/.test(id)) return id;
  throw new StateError(`cannot read ${path}: it is damaged (not an instance id)`, {
    hint: "8 hex digits, as in the containers' cgroup minict-ID and in the alias of their interfaces",
  });
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

/** Makes the state folders and the instance id. Throws ConflictError where the run dir is another root's. */
export function ensureState(roots: Roots): string {
  const paths = instancePaths(roots);
  // The marker comes last: where it matches, all is there.
  const known = readInstance(roots);
  if (known !== undefined && readId(paths.marker) === known) return known;
  attempt(`use state folder ${roots.root}`, roots.root, '--root DIR or MINICT_ROOT names another folder', () => {
    const folders = ['containers', 'images/blobs/sha256', 'images/layers', 'layers', 'networks', 'volumes', '.trash'];
    for (const dir of ['', ...folders]) {
      mkdirSync(join(roots.root, dir), { recursive: true, mode: 0o700 });
    }
    if (known === undefined) writeOnce(paths.instance, `${newInstance()}\n`);
  });
  const instance = readInstance(roots) as string;
  attempt(`use run dir ${roots.runDir}`, roots.runDir, '--run-dir DIR or MINICT_RUN_DIR names another folder', () => {
    mkdirSync(roots.runDir, { recursive: true, mode: 0o700 });
    writeOnce(paths.marker, `${instance}\n`);
  });
  if (readId(paths.marker) !== instance) {
    throw new ConflictError(`cannot use run dir ${roots.runDir}: it belongs to another minict root`, {
      hint: 'give this root its own: --run-dir DIR or MINICT_RUN_DIR',
    });
  }
  return instance;
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

export function findContainer(roots: Roots, name: string): Promise<ContainerSpec | undefined> {
  return readJson(containerPaths(roots, name).json, 'container', name);
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
export function stageContainer(roots: Roots, spec: ContainerSpec): () => void {
  return stageJson(containerPaths(roots, spec.name).json, spec);
}

/** Replaces what is known of a container that exists; the caller holds its exclusive lock. */
export function writeContainer(roots: Roots, spec: ContainerSpec): void {
  stageContainer(roots, spec)();
}

/** Names of all folders of containers, half-made ones included, in order. */
export function containerFolders(roots: Roots): string[] {
  const dir = join(roots.root, 'containers');
  return existsSync(dir) ? readdirSync(dir).sort() : [];
}

export function listContainers(roots: Roots): string[] {
  return containerFolders(roots).filter((name) => existsSync(containerPaths(roots, name).json));
}
