/** What the plan of a container has to know of the host and of its image. */
import { existsSync } from 'node:fs';
import { cgroupPaths, readCgroupHost } from '../cgroup/cgroup.ts';
import { NotFoundError } from '../errors.ts';
import { readResolvConf } from '../host/facts.ts';
import type { ContainerFacts } from '../plan/container.ts';
import { type ContainerSpec, treeOf } from '../spec/container.ts';
import type { NetworkRecord } from '../state/network.ts';
import { containerPaths, networkPaths, skeletonPath } from '../state/paths.ts';
import { readRootfsFacts } from '../storage/rootfs.ts';
import type { Context } from './context.ts';

/** `imageToCome`: a script makes it first. Throws NotFoundError, InvalidInputError. */
export function readFacts(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  network: NetworkRecord | undefined,
  { imageToCome = false } = {},
): ContainerFacts {
  const paths = containerPaths(context.roots, spec.name);
  const skeleton = skeletonPath(context.roots);
  const tree = treeOf(spec, paths.files);
  // A tree that is there needs nothing of what it was made of.
  const sources = tree !== undefined && existsSync(tree) ? [tree] : (spec.lower ?? [tree as string]);
  const what = spec.inPlace ?? `image ${spec.image}`;
  const gone = imageToCome ? undefined : sources.find((path) => !existsSync(path));
  if (gone !== undefined) {
    throw new NotFoundError(`cannot use ${what}: it is not there any more`, { hint: `put ${gone} back` });
  }
  const overlay = spec.lower !== undefined;
  const layers = tree === undefined ? [paths.upper, ...sources, skeleton].filter(existsSync) : sources;
  return {
    instance,
    cgroup: cgroupPaths(readCgroupHost(), instance, spec.name),
    rootfs: readRootfsFacts(layers, what, overlay),
    skeleton,
    bridge: network?.bridge,
    hostsFile: network === undefined ? paths.hosts : networkPaths(context.roots, network.name).hosts,
    resolvConf: readResolvConf(),
  };
}
