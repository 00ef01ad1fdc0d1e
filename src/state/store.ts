/** The state folder: instance id, containers, locks. A container exists while its container.json does. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConflictError, HostError, NotFoundError } from '../errors.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { readJson, stageJson } from './json-file.ts';
import { containerPaths, type Roots } from './paths.ts';

/** Id that tells two roots on one machine apart; undefined before first use. */
export function readInstance(roots: Roots): string | undefined {
  const path = join(roots.root, 'instance');
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
}

function newInstance(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(4))).toString('hex');
}

/** Makes the state folders and the instance id. Throws ConflictError where the run dir is another root's. */
export function ensureState(roots: Roots): string {
  const marker = join(roots.runDir, 'instance');
  // The marker comes last: where it matches, all is there.
  const known = readInstance(roots);
  if (known !== undefined && existsSync(marker) && readFileSync(marker, 'utf8').trim() === known) return known;
  try {
    for (const dir of ['', 'containers', 'images', 'networks', '.trash']) {
      mkdirSync(join(roots.root, dir), { recursive: true, mode: 0o700 });
    }
    mkdirSync(roots.runDir, { recursive: true, mode: 0o700 });
    if (readInstance(roots) === undefined) {
      writeFileSync(join(roots.root, 'instance'), `${newInstance()}\n`, { flag: 'wx', mode: 0o600 });
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw new HostError(`cannot use state folder ${roots.root}: ${(error as Error).message}`, {
        hint: 'minict runs as root; --root DIR or MINICT_ROOT names another folder',
      });
    }
  }
  const instance = readInstance(roots) ?? '';
  try {
    writeFileSync(marker, `${instance}\n`, { flag: 'wx', mode: 0o600 });
  } catch {
    if (readFileSync(marker, 'utf8').trim() !== instance) {
      throw new ConflictError(`cannot use run dir ${roots.runDir}: it belongs to another minict root`, {
        hint: 'give this root its own: --run-dir DIR or MINICT_RUN_DIR',
      });
    }
  }
  return instance;
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

/** Names of all folders of containers, half-made ones included, in order. */
export function containerFolders(roots: Roots): string[] {
  const dir = join(roots.root, 'containers');
  return existsSync(dir) ? readdirSync(dir).sort() : [];
}

export function listContainers(roots: Roots): string[] {
  return containerFolders(roots).filter((name) => existsSync(containerPaths(roots, name).json));
}
