/**
 * load-container: a container from what save-container wrote, all of it or nothing. It comes into being stopped, by one
 * rename of its folder; paths, interface and images are this host's, and nothing of the stream's but names and settings.
 */
import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { ConflictError, InvalidInputError, MinictError } from '../errors.ts';
import { requireTools } from '../host/tool.ts';
import { type Entry, nameOf, readCatalog } from '../image/catalog.ts';
import { adoptTree } from '../image/layers.ts';
import { parseImageName, shownName } from '../image/reference.ts';
import { type Staging, withStaging } from '../image/staging.ts';
import { layersOfImage } from '../image/store.ts';
import { TarReader } from '../image/tar-stream.ts';
import { doInProcess } from '../runner/in-process.ts';
import { parseAddress } from '../spec/address.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { parseNewContainerName } from '../spec/name.ts';
import { type SavedContainer, volumesOf } from '../spec/saved-container.ts';
import type { VolumeSpec } from '../spec/volume.ts';
import { writeJson } from '../state/json-file.ts';
import { lockContainer, releaseContainer } from '../state/locks.ts';
import type { Member } from '../state/network.ts';
import { containerPaths, type Roots, skeletonPath } from '../state/paths.ts';
import { findContainer } from '../state/store.ts';
import { driverOf } from '../storage/driver.ts';
import { planSkeleton } from '../storage/rootfs.ts';
import { bindSource } from './attachments.ts';
import type { Context } from './context.ts';
import { refuseForeign } from './create.ts';
import { addImages, listUsedImages } from './images.ts';
import { requireLimits } from './limits.ts';
import { leaseAll } from './loaded-nics.ts';
import { type Received, readSaved, receiveParts } from './loaded-parts.ts';
import { sharedLayerDir } from './own-layers.ts';
import { recover, removeTraces } from './remove.ts';
import { namedVolumes, refuseVolumes, withVolumes } from './volumes.ts';

export interface LoadOptions {
  /** In place of the one that it was saved with. */
  readonly name: string | undefined;
  /** The address that it has to have. */
  readonly ip: string | undefined;
  /** It may have the directories of this host that it mounts. */
  readonly binds: boolean;
}

export interface Loaded {
  readonly name: string;
  /** What is other than it was, a sentence each. */
  readonly notes: readonly string[];
}

async function refuseTaken({ roots }: Context, name: string, verb: string): Promise<void> {
  if ((await findContainer(roots, name)) === undefined) return;
  throw new ConflictError(`cannot ${verb}: a container ${name} is there`, {
    hint: '--name NAME gives it another name',
  });
}

/** What an image is called here: a name that it has, or may have; its digest otherwise. */
function labelOf(entries: readonly Entry[], image: string | undefined, digest: string): string {
  const wanted = image === undefined || image.startsWith('sha256:') ? undefined : parseImageName(image);
  const names = entries.filter((entry) => entry.digest === digest).flatMap((entry) => nameOf(entry) ?? []);
  const isFree = wanted !== undefined && !entries.some((entry) => nameOf(entry) === wanted);
  const name = names.find((other) => other === wanted) ?? names[0] ?? (isFree ? wanted : undefined);
  return name === undefined ? digest : shownName(name);
}

type Files = Pick<ContainerSpec, 'image' | 'imageId'> & { lower: string[] };

async function filesHere(
  roots: Roots,
): Promise<(files: Pick<SavedContainer, 'image' | 'imageId' | 'layers'>) => Files> {
  const entries = await readCatalog(roots);
  return ({ image, imageId, layers }) => {
    const own = layers.map((digest) => sharedLayerDir(roots, digest));
    if (imageId === undefined) return { lower: own };
    return { image: labelOf(entries, image, imageId), imageId, lower: [...own, ...layersOfImage(roots, imageId)] };
  };
}

/** As they are here. Throws ConflictError, NotFoundError where they cannot be. */
function volumesHere(context: Context, saved: SavedContainer, binds: boolean, verb: string): VolumeSpec[] {
  const volumes = volumesOf(saved);
  const bound = volumes.find((volume) => volume.type === 'bind');
  if (bound !== undefined && !binds) {
    throw new ConflictError(`cannot ${verb}: it mounts ${bound.source} of its host at ${bound.target}`, {
      hint: '--binds lets it have those of this host',
    });
  }
  refuseVolumes(context, namedFiles(saved).keys());
  return volumes.map((volume) => (volume.type === 'bind' ? { ...volume, source: bindSource(volume.source) } : volume));
}

/** Places of named volumes whose files come along, by their names. */
function namedFiles({ volumes }: SavedContainer): Map<string, number> {
  const named = volumes.map((volume, index) => {
    return [volume.type === 'volume' && volume.files !== undefined ? volume.name : undefined, index] as const;
  });
  return new Map(named.flatMap(([name, index]) => (name === undefined ? [] : [[name, index] as const])));
}

interface Wanted {
  readonly name: string;
  readonly ip: string | undefined;
  readonly volumes: readonly VolumeSpec[];
}

/** The folder of a container as it is to be, in the staging folder. */
function stageFolder(staging: Staging, spec: ContainerSpec, { upper, volumes }: Received): string {
  const folder = join(staging.dir, 'container');
  mkdirSync(folder, { mode: 0o755 });
  if (upper === undefined) mkdirSync(join(folder, 'upper'), { mode: 0o755 });
  else renameSync(upper, join(folder, 'upper'));
  const own = [...volumes].filter(([index]) => isOwn(spec.volumes?.[index]));
  if (own.length > 0) mkdirSync(join(folder, 'volumes'), { mode: 0o755 });
  for (const [index, tree] of own) renameSync(tree, join(folder, 'volumes', String(index)));
  writeJson(join(folder, 'container.json'), spec);
  return folder;
}

function isOwn(volume: VolumeSpec | undefined): boolean {
  return volume?.type === 'volume' && volume.name === undefined;
}

/** Loaded where there are any. */
async function leaseLoadedPorts(context: Context, member: Member, saved: NonNullable<SavedContainer['ports']>) {
  if (saved.length === 0) return { ports: [], notes: [] };
  return (await import('./loaded-ports.ts')).leasePorts(context, member, saved);
}

/** Makes it; the caller holds its lock, and has made an empty folder of its name. */
async function publish(
  context: Context,
  instance: string,
  staging: Staging,
  saved: SavedContainer,
  received: Received,
  { name, ip, volumes }: Wanted,
): Promise<Loaded> {
  const { roots } = context;
  const {
    name: oldName,
    image,
    imageId,
    layers,
    upper: _,
    nics: savedNics,
    volumes: __,
    snapshots,
    ports: savedPorts = [],
    ...settings
  } = saved;
  const here = await filesHere(roots);
  const files = here({ image, imageId, layers });
  driverOf({}).validate(files.lower, roots.root);
  for (const { run } of planSkeleton(skeletonPath(roots))) doInProcess(run);
  const hostname = settings.hostname === oldName ? name : settings.hostname;
  const network = await leaseAll(context, instance, { name, hostname }, savedNics, ip);
  const published = await leaseLoadedPorts(context, { name, hostname, nics: network.nics }, savedPorts);
  const taken = snapshots.map((each) => ({ name: each.name, createdAt: each.createdAt, ...here(each) }));
  const spec: ContainerSpec = {
    ...settings,
    name,
    hostname,
    ...files,
    ...(volumes.length === 0 ? {} : { volumes: [...volumes] }),
    nics: network.nics,
    ...(published.ports.length === 0 ? {} : { ports: published.ports }),
    ...(taken.length === 0 ? {} : { snapshots: taken }),
  };
  const folder = (chosen: ContainerSpec) => stageFolder(staging, chosen, received);
  for (const [digest, tree] of received.layers) adoptTree(tree, sharedLayerDir(roots, digest));
  const given = new Map(
    [...namedFiles(saved)].map(([volume, index]) => [volume, received.volumes.get(index) as string]),
  );
  const put = async (chosen: ContainerSpec) => renameSync(folder(chosen), containerPaths(roots, name).dir);
  const appear = async () =>
    spec.userns === undefined ? put(spec) : (await import('./id-range.ts')).withIdRange(context, spec, put);
  const named = namedVolumes(spec);
  await (named.length === 0 ? appear() : withVolumes(context, spec, appear, given));
  const strange = named.filter((volume) => !given.has(volume.name));
  const notes = strange.map(({ name: volume, target }) => {
    return `${name} has the volume ${volume} of this host at ${target}: no files of it came along`;
  });
  return { name, notes: [...network.notes, ...published.notes, ...notes] };
}

async function makeLoaded(
  context: Context,
  instance: string,
  staging: Staging,
  saved: SavedContainer,
  received: Received,
  wanted: Wanted,
  verb: string,
): Promise<Loaded> {
  const { name } = wanted;
  const paths = containerPaths(context.roots, name);
  const lock = lockContainer(context.roots, name, 'exclusive');
  try {
    await recover(context, instance, name, lock.fd);
    await refuseTaken(context, name, verb);
    refuseForeign(paths, name);
    // Who was killed leaves a folder, by which the next command finds the lease, too.
    mkdirSync(paths.dir, { mode: 0o755 });
    try {
      return await publish(context, instance, staging, saved, received, wanted);
    } catch (error) {
      await removeTraces(context, [name], [lock.fd]);
      throw error;
    }
  } finally {
    releaseContainer(context.roots, name, lock);
  }
}

/**
 * `what` is where it comes from, for messages. Throws InvalidInputError (damaged, cut short, hostile, incomplete),
 * ConflictError, HostError; then all is as before.
 */
export async function loadContainer(
  context: Context,
  instance: string,
  pieces: AsyncIterable<Buffer>,
  what: string,
  options: LoadOptions,
): Promise<Loaded> {
  const verb = `load ${what}`;
  requireTools();
  if (options.ip !== undefined) parseAddress(options.ip);
  const reader = new TarReader(pieces, verb);
  let loaded: Loaded | undefined;
  const load = async (staging: Staging): Promise<Loaded> => {
    const saved = await readSaved(reader, verb);
    const volumes = volumesHere(context, saved, options.binds, verb);
    requireLimits(saved);
    const wanted = { name: parseNewContainerName(options.name ?? saved.name), ip: options.ip, volumes };
    if (wanted.ip !== undefined && saved.nics.length === 0) {
      throw new InvalidInputError(`cannot ${verb}: --ip ${wanted.ip}, but ${saved.name} has no network`);
    }
    // Before the bytes that would come in vain.
    await refuseTaken(context, wanted.name, verb);
    const received = await receiveParts(staging, reader, saved, verb);
    loaded = await makeLoaded(context, instance, staging, saved, received, wanted, verb);
    await listUsedImages(context);
    return loaded;
  };
  try {
    return await addImages(context, () => withStaging(context.roots, verb, load));
  } catch (error) {
    if (loaded === undefined || !(error instanceof MinictError)) throw error;
    // It is there: nobody must take it for lost.
    const note = `${loaded.name} is there; minict system prune does what is left to do: ${error.message}`;
    return { ...loaded, notes: [...loaded.notes, note] };
  } finally {
    await reader.close();
  }
}
