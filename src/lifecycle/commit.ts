/** commit: an image of a container's files and settings. What the container wrote becomes layers on top of its image's. */
import { existsSync } from 'node:fs';
import { whileFrozen } from '../cgroup/freeze.ts';
import { readDocuments } from '../image/catalog.ts';
import { composeImage, type Layer, nameImage, packLayer } from '../image/compose.ts';
import { overlayDirs } from '../image/layers.ts';
import { parseImageName } from '../image/reference.ts';
import { mergeSettings } from '../image/settings.ts';
import { withStaging } from '../image/staging.ts';
import type { Image } from '../image/store.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { lockContainer, releaseContainer } from '../state/locks.ts';
import { containerPaths, type Roots } from '../state/paths.ts';
import { getContainer } from '../state/store.ts';
import type { Context } from './context.ts';
import { settle } from './own-layers.ts';
import { treeOwner } from './own-trees.ts';
import { cgroupOf } from './status.ts';

export interface CommitOptions {
  /** Processes are held still while the files are read. */
  readonly pause: boolean;
  readonly message: string | undefined;
  /** In place of the container's own. */
  readonly settings: Image['settings'];
}

/** As the image's configuration has them. */
function settingsOf({
  env,
  command,
  user,
  workdir,
  stopSignal,
  labels,
  exposedPorts,
}: ContainerSpec): Image['settings'] {
  return {
    Env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
    ...(command.length === 0 ? {} : { Cmd: [...command] }),
    ...(user === undefined ? {} : { User: user }),
    ...(workdir === undefined ? {} : { WorkingDir: workdir }),
    ...(stopSignal === undefined ? {} : { StopSignal: stopSignal }),
    ...(labels === undefined ? {} : { Labels: labels }),
    ...(exposedPorts === undefined ? {} : { ExposedPorts: Object.fromEntries(exposedPorts.map((port) => [port, {}])) }),
  };
}

/** The image's layers, and the directories on top of them that are to be packed, the lowest first. */
function partsOf(roots: Roots, spec: ContainerSpec, upper: string) {
  const { lower, inPlace, imageId } = spec;
  if (lower === undefined) return { base: undefined, directories: [inPlace as string] };
  const documents = imageId === undefined ? undefined : readDocuments(roots, imageId);
  const ofImage = new Set(overlayDirs(roots, documents?.config.rootfs.diff_ids ?? []));
  const own = lower.filter((dir) => !ofImage.has(dir)).reverse();
  const base = documents && { layers: documents.manifest.layers, config: documents.config };
  return { base, directories: [...own, ...(existsSync(upper) ? [upper] : [])] };
}

/** Returns the image's digest; the name is taken from an image that has it. Throws NotFoundError, HostError. */
export async function commitContainer(
  context: Context,
  instance: string,
  name: string,
  rawImage: string,
  { pause, message, settings }: CommitOptions,
): Promise<string> {
  const image = parseImageName(rawImage);
  const verb = `commit ${name}`;
  const { roots } = context;
  const lock = lockContainer(roots, name, 'exclusive');
  try {
    const spec = settle(context, await getContainer(roots, name));
    const paths = containerPaths(roots, name);
    const { payload } = cgroupOf(instance, name);
    const isUp = existsSync(paths.enter);
    return await withStaging(roots, verb, async (staging) => {
      const { base, directories } = partsOf(roots, spec, paths.upper);
      const layers: Layer[] = [];
      const createdBy = message ?? `minict ${verb}`;
      const owner = treeOwner(context, instance, spec, lock.fd);
      if (owner !== undefined) {
        const { packTree } = await import('./tree-layer.ts');
        const options = { createdBy, onImage: base !== undefined, isUp, ...(pause ? { payload } : {}) };
        layers.push(await packTree(owner, staging, verb, options));
      }
      for (const dir of owner === undefined ? directories : []) {
        const isWritten = isUp && pause && (dir === paths.upper || dir === spec.inPlace);
        const pack = () => packLayer(staging, dir, createdBy, verb);
        layers.push(await (isWritten ? whileFrozen(payload, pack) : pack()));
      }
      const manifest = composeImage(staging, layers, mergeSettings(settingsOf(spec), settings), base);
      await nameImage(roots, image, manifest, verb, { move: true });
      return manifest.digest;
    });
  } finally {
    releaseContainer(roots, name, lock);
  }
}
