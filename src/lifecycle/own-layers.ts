/**
 * Layers of a container's own: what it wrote until a snapshot, a clone or a rebase. A stopped one's upper directory becomes
 * a layer by a rename, in constant time; one that is mounted is copied. container.json says so before it is done.
 */
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { whileFrozen } from '../cgroup/freeze.ts';
import { ConflictError, HostError } from '../errors.ts';
import { shortName } from '../image/layers.ts';
import { runTool } from '../runner/spawn.ts';
import { type ContainerSpec, layersOf } from '../spec/container.ts';
import { containerPaths, ownLayersPath, type Roots } from '../state/paths.ts';
import { writeContainer } from '../state/store.ts';
import { moveToTrash, removeTree } from '../state/trash.ts';
import { driverOf } from '../storage/driver.ts';
import { type Context, spawnContext } from './context.ts';
import { settleTree } from './own-trees.ts';
import { cgroupOf } from './status.ts';

/** Those of its layers that no image has. */
export function ownLayersOf(roots: Roots, spec: ContainerSpec): string[] {
  return layersOf(spec).filter((dir) => dirname(dir) === ownLayersPath(roots));
}

/** The layers below its upper directory. Throws ConflictError for a container that has none. */
export function requireLayers(spec: ContainerSpec, verb: string): string[] {
  if (spec.lower !== undefined) return spec.lower;
  throw new ConflictError(`cannot ${verb} ${spec.name}: its files are in ${spec.inPlace} itself, without layers`, {
    hint: 'create it with --image instead of --rootfs',
  });
}

/** Of one that came from elsewhere: known by the digest of its tar, and shared by all who have it. */
export function sharedLayerDir(roots: Roots, digest: string): string {
  return join(ownLayersPath(roots), shortName(digest));
}

/** Where one of them can be. */
export function newLayer({ roots }: Context): string {
  return join(ownLayersPath(roots), Buffer.from(crypto.getRandomValues(new Uint8Array(6))).toString('hex'));
}

/** An empty upper directory; it is what `/` is seen as, which is as it was in the layer of its own below. */
function makeUpper(roots: Roots, upper: string, [top]: readonly string[]): void {
  mkdirSync(upper, { recursive: true, mode: 0o755 });
  if (top === undefined || dirname(top) !== ownLayersPath(roots)) return;
  const { uid, gid, mode } = statSync(top);
  chownSync(upper, uid, gid);
  chmodSync(upper, mode & 0o7777);
}

/** Finishes, or takes back, what a killed minict began. The caller holds the exclusive lock. Returns what is so then. */
export function settle(context: Context, spec: ContainerSpec): ContainerSpec {
  if (spec.pending === undefined) return spec;
  if (driverOf(spec).trees !== undefined) return settleTree(context, spec);
  const { pending, ...rest } = spec;
  const { upper } = containerPaths(context.roots, spec.name);
  let settled: ContainerSpec = rest;
  if (pending.kind === 'freeze' && existsSync(pending.layer)) {
    settled = { ...rest, lower: [pending.layer, ...(spec.lower ?? [])] };
  }
  if (pending.kind === 'discard' && existsSync(upper)) removeTree(moveToTrash(context.roots, upper, 'upper'));
  if (!existsSync(upper)) makeUpper(context.roots, upper, settled.lower ?? []);
  // A copy is half a layer, or a clone's by now: the next prune looks who has it.
  writeContainer(context.roots, settled);
  return settled;
}

/** Gives a stopped container other layers, and an empty upper directory: what it wrote since its last layer is gone. */
export function replaceFiles(context: Context, spec: ContainerSpec): void {
  const replaced: ContainerSpec = { ...spec, pending: { kind: 'discard' } };
  writeContainer(context.roots, replaced);
  settle(context, replaced);
}

/** Whether it wrote anything since it was made, or since its last layer. */
function hasWritten(upper: string): boolean {
  return existsSync(upper) && readdirSync(upper).length > 0;
}

/**
 * Of a stopped container: its upper directory becomes its top layer, and it has an empty one. `change` is written together
 * with that. Returns what is so then.
 */
export function freezeUpper(
  context: Context,
  spec: ContainerSpec,
  change: (frozen: ContainerSpec) => ContainerSpec,
): ContainerSpec {
  const { upper } = containerPaths(context.roots, spec.name);
  let frozen = spec;
  if (hasWritten(upper)) {
    const layer = newLayer(context);
    writeContainer(context.roots, { ...spec, pending: { kind: 'freeze', layer } });
    mkdirSync(ownLayersPath(context.roots), { recursive: true, mode: 0o700 });
    renameSync(upper, layer);
    frozen = { ...spec, lower: [layer, ...(spec.lower ?? [])] };
    makeUpper(context.roots, upper, frozen.lower ?? []);
  }
  const changed = change(frozen);
  writeContainer(context.roots, changed);
  return changed;
}

/**
 * Of a container that is up: a copy of its upper directory, made while its processes are held still. `change` gets the
 * layers as they are now, and is written together with the end of the copy.
 */
export async function copyUpper(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  lockFd: number,
  change: (lower: string[]) => ContainerSpec,
): Promise<ContainerSpec> {
  const { upper } = containerPaths(context.roots, spec.name);
  const lower = spec.lower ?? [];
  if (!hasWritten(upper)) {
    const changed = change(lower);
    writeContainer(context.roots, changed);
    return changed;
  }
  const layer = newLayer(context);
  writeContainer(context.roots, { ...spec, pending: { kind: 'copy', layer } });
  mkdirSync(ownLayersPath(context.roots), { recursive: true, mode: 0o700 });
  const copy = ['cp', '-a', '--reflink=auto', '--', upper, layer];
  const { exitCode, stderr } = await whileFrozen(cgroupOf(instance, spec.name).payload, () =>
    runTool(copy, spawnContext(context, lockFd)),
  );
  if (exitCode !== 0) {
    settle(context, { ...spec, pending: { kind: 'copy', layer } });
    throw new HostError(`cannot copy the files of ${spec.name}: ${stderr.trim().split('\n')[0]}`);
  }
  const changed = change([layer, ...lower]);
  writeContainer(context.roots, changed);
  return changed;
}
