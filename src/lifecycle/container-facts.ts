/** What the plan of a container has to know of the host and of its image. */
import { existsSync } from 'node:fs';
import { cgroupPaths, readCgroupHost } from '../cgroup/cgroup.ts';
import { NotFoundError } from '../errors.ts';
import { readResolvConf } from '../host/facts.ts';
import type { ContainerFacts } from '../plan/container.ts';
import { type ContainerSpec, treeOf } from '../spec/container.ts';
import type { NetworkRecord } from '../state/network.ts';
import { containerPaths, networkPaths, skeletonPath } from '../state/paths.ts';
import { readRootfsFacts } from '../storage/mount-points.ts';
import { readAttachments } from './attachments.ts';
import type { Context } from './context.ts';

interface ToCome {
  /** A script makes them first. */
  readonly imageToCome?: boolean;
  readonly volumesToCome?: boolean;
}

/** What is known of its root file system. Throws NotFoundError, InvalidInputError. */
export function readRoot(
  context: Context,
  spec: ContainerSpec,
  { imageToCome = false, volumesToCome = false }: ToCome = {},
): Pick<ContainerFacts, 'rootfs' | 'skeleton'> {
  const paths = containerPaths(context.roots, spec.name);
  const skeleton = skeletonPath(context.roots);
  const tree = treeOf(spec, paths.files);
  // A tree that is there needs nothing of what it was made of.
  const sources = tree !== undefined && existsSync(tree) ? [tree] : (spec.lower ?? [tree as string]);
  const what = spec.inPlace ?? (spec.image === undefined ? `the files of ${spec.name}` : `image ${spec.image}`);
  const there = sources.filter((path) => existsSync(path));
  const gone = sources.find((path, index) => path !== there[index]);
  if (gone !== undefined && !imageToCome) {
    throw new NotFoundError(`cannot use ${what}: it is not there any more`, { hint: `put ${gone} back` });
  }
  const overlay = spec.lower !== undefined;
  const image = tree === undefined && existsSync(skeleton) ? [...there, skeleton] : there;
  const layers = tree === undefined && existsSync(paths.upper) ? [paths.upper, ...image] : image;
  const root = { layers, image, overlay, what, toCome: imageToCome };
  const attachments = readAttachments(context, spec, volumesToCome);
  return { rootfs: readRootfsFacts(root, attachments, spec.workdir), skeleton };
}

/** Throws NotFoundError, InvalidInputError. */
export function readFacts(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  network: NetworkRecord | undefined,
  toCome: ToCome = {},
): ContainerFacts {
  return {
    instance,
    cgroup: cgroupPaths(readCgroupHost(), instance, spec.name),
    ...readRoot(context, spec, toCome),
    bridge: network?.bridge,
    hostsFile:
      network === undefined
        ? containerPaths(context.roots, spec.name).hosts
        : networkPaths(context.roots, network.name).hosts,
    resolvConf: readResolvConf(),
  };
}
