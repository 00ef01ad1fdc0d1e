/** A container's own files: its folder, a tree that is its own, and what its mounts take. Pure. */
import { nsFile } from '../runtime/namespaces.ts';
import type { ContainerSpec } from '../spec/container.ts';
import type { ContainerPaths } from '../state/paths.ts';
import type { Command, Step } from '../step.ts';
import { driverOf } from '../storage/driver.ts';
import { type FillFrom, planNewVolume } from '../storage/fill.ts';
import { planHostFolders, planMountPoints } from '../storage/rootfs.ts';
import type { ContainerFacts } from './container.ts';

/** What a container's files are made of, in place of its image's layers. */
export interface TreeOrigin {
  readonly tree: string;
  /** Made for it alone: it becomes its files. */
  readonly isOwn: boolean;
}

/** The container's folder. Its removal takes all files with it. */
export function planFolder({ dir, files }: ContainerPaths, storage: ContainerSpec['storage']): Step[] {
  return [
    {
      id: 'folder',
      why: "the container's folder",
      run: { kind: 'mkdir', path: dir, mode: 0o755 },
      undo: { kind: 'rmtree', path: dir, ...(storage === 'btrfs' ? { subvolume: files } : {}) },
    },
  ];
}

/** Its files, where a copy of them all is its own; once, when it is made. `origin` is a tree that they are made of. */
export function planOwnFiles(spec: ContainerSpec, paths: ContainerPaths, origin: TreeOrigin | undefined): Step[] {
  const { trees } = driverOf(spec);
  if (trees === undefined || spec.lower === undefined) return [];
  const move: Command = { kind: 'run', argv: ['mv', '-T', '--', origin?.tree ?? '', paths.files] };
  const made =
    origin === undefined ? trees.fromLayers(spec.lower, paths.files) : trees.fromTree(origin.tree, paths.files);
  const commands = origin?.isOwn ? [move] : made;
  return commands.map((run, index) => ({
    id: `files ${index}`,
    why: 'its files, a copy of its own',
    chain: `mounts ${spec.name}`,
    run,
  }));
}

/** What the mounts take: files and folders in the container's own, and the file of their namespace. */
export function planMountedFiles(
  spec: ContainerSpec,
  paths: ContainerPaths,
  facts: ContainerFacts,
  chain: string,
): Step[] {
  const driver = driverOf(spec);
  const own = driver.folders(paths).map((path) => ({ path, why: 'for its root' }));
  const copy = { path: paths.rootfs, why: 'where the directory is seen read-only' };
  const dirs = spec.inPlace === undefined ? own : spec.readOnly ? [copy] : [];
  const file = (why: string, path: string, content: string): Step => ({
    id: `file ${path}`,
    why,
    chain,
    run: { kind: 'write', path, content },
  });
  const mntns = spec.mounts === 'private' ? paths.mntns : undefined;
  const newVolumes = facts.rootfs.volumes.filter(
    ({ volume, toMake }) => toMake && volume.type === 'volume' && volume.name === undefined,
  );
  return [
    ...dirs.map(
      ({ path, why }): Step => ({
        id: `folder ${path}`,
        why,
        chain,
        run: { kind: 'mkdir', path, mode: 0o755, parents: true },
      }),
    ),
    ...newVolumes.flatMap((volume) => planNewVolume(volume, fillFrom(spec, facts.skeleton), chain)),
    ...(driver.trees === undefined
      ? planMountPoints(paths.mountPoints, paths.hiddenMountPoints, facts.rootfs, chain)
      : [
          ...planHostFolders(paths.files, facts.rootfs, chain),
          ...planMountPoints(paths.files, paths.files, facts.rootfs, chain),
        ]),
    file('for /etc/hostname', paths.hostname, `${spec.hostname}\n`),
    file("the host's name servers", paths.resolvConf, facts.resolvConf),
    ...(facts.ownHosts === undefined ? [] : [file('for /etc/hosts', paths.hosts, facts.ownHosts)]),
    ...(mntns === undefined ? [] : [nsFile('mntns', chain, mntns, 'file that will hold the mount namespace')]),
  ];
}

/** The image's, and around them the mount points that it may lack. */
export function lowerLayers(
  image: readonly string[],
  paths: ContainerPaths,
  { rootfs, skeleton }: Pick<ContainerFacts, 'rootfs' | 'skeleton'>,
): string[] {
  const { files, folders, hidden } = rootfs.absent;
  return [
    ...(hidden.length === 0 ? [] : [paths.hiddenMountPoints]),
    ...image,
    ...(files.length === 0 && folders.length === 0 ? [] : [paths.mountPoints]),
    skeleton,
  ];
}

/** What a new volume of the container's is filled from. */
export function fillFrom({ lower, inPlace }: ContainerSpec, skeleton: string): FillFrom {
  return lower === undefined ? { inPlace: inPlace as string } : { lower: [...lower, skeleton] };
}
