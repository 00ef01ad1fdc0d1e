/** Where a container's program has to go: its namespaces and its root. */

import { type ContainerSpec, rootfsOf } from '../spec/container.ts';
import type { Place } from '../spec/place.ts';
import type { ContainerPaths } from '../state/paths.ts';

export function placeOf(spec: ContainerSpec, paths: ContainerPaths): Place {
  return {
    rootfs: rootfsOf(spec, paths.rootfs),
    layers: spec.lower === undefined ? [spec.inPlace as string] : [paths.upper, ...spec.lower],
    netns: paths.netns,
    utsns: paths.utsns,
    mntns: spec.mounts === 'private' ? paths.mntns : undefined,
  };
}
