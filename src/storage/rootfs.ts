/** Steps that put a container's root file system together: overlay (or a directory in place), proc, sys, dev, /etc files, volumes. */
import { statfsSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { HostError, InvalidInputError } from '../errors.ts';
import { HOST_FILES, HOST_FOLDERS, isWithin } from '../spec/root-paths.ts';
import type { Command, Step } from '../step.ts';
import type { RootfsFacts } from './mount-points.ts';
import { type Mount, mountStep, planTree, READ_ONLY_TREE, TREE } from './mount-step.ts';
import { planFileInTmpfs, planVolumeMount } from './volume-mount.ts';

/** f_type of statfs(2), from linux/magic.h. */
export const OVERLAYFS = 0x794c7630;
const NFS = 0x6969;

/** A read-only bottom layer with the mount points that an image may lack, so that nothing is written for them. */
export function planSkeleton(dir: string): Step[] {
  if (statSync(dir, { throwIfNoEntry: false })) return [];
  const step = (path: string, run: Command): Step => ({ id: `skeleton ${path}`, why: 'mount points', run });
  return [
    ...[...HOST_FOLDERS, '/etc'].map((path) =>
      step(path, { kind: 'mkdir', path: join(dir, path), mode: 0o755, parents: true }),
    ),
    ...HOST_FILES.map((path) => step(path, { kind: 'write', path: join(dir, path), content: '' })),
  ];
}

/** Throws HostError where an overlay's upper directory cannot be. */
export function checkUpper(dir: string): void {
  const type = statfsSync(dir).type;
  if (type === OVERLAYFS || type === NFS) {
    const name = type === NFS ? 'NFS' : 'overlayfs';
    throw new HostError(`cannot put containers into ${dir}: an overlay's upper directory does not work on ${name}`, {
      hint: '--storage copy works there; or name a folder on ext4, xfs, btrfs or tmpfs with --root DIR',
    });
  }
}

/** Throws InvalidInputError where no overlay can be made of `lowers` in a state folder `dir`. */
export function checkLayers(lowers: readonly string[], dir: string): void {
  for (const path of [...lowers, dir]) {
    if (!path.includes('"')) continue;
    throw new InvalidInputError(`cannot make an overlay of ${path}: mount(8) takes no double quote in a path`, {
      hint: 'rename it',
    });
  }
  const around = lowers.find((lower) => isWithin(dir, lower === '/' ? '' : lower));
  if (around !== undefined && statSync(around).dev === statSync(dir).dev) {
    throw new InvalidInputError(`cannot use image ${around}: minict's state folder ${dir} is in it`, {
      hint: 'name a folder on another file system with --root DIR',
    });
  }
}

/** Folders and files of a layer below all others, of one in front, and in volumes, for mounts where there is nothing yet. */
export function planMountPoints(layer: string, front: string, facts: RootfsFacts, chain: string): Step[] {
  const { absent, missing } = facts;
  const files = absent.files.map((path) => join(layer, path));
  const folders = [...absent.folders.map((path) => join(layer, path)), ...files.map((path) => dirname(path))];
  const why = 'a mount point that the image lacks';
  return [
    ...[...new Set(folders)].map(
      (path): Step => ({ id: `folder ${path}`, why, chain, run: { kind: 'mkdir', path, mode: 0o755, parents: true } }),
    ),
    ...files.map((path): Step => ({ id: `file ${path}`, why, chain, run: { kind: 'write', path, content: '' } })),
    ...absent.hidden.map(({ path, isFolder, mode, uid, gid }): Step => {
      const at = join(front, path);
      const folder = ['install', '-d', '-m', mode.toString(8), '-o', String(uid), '-g', String(gid), at];
      const run: Command = isFolder ? { kind: 'run', argv: folder } : { kind: 'write', path: at, content: '' };
      return { id: `in front ${path}`, why: 'a mount point that a layer of the image hides', chain, run };
    }),
    ...missing.flatMap(({ target, isFolder, volume }): Step[] =>
      volume === undefined
        ? []
        : [
            {
              id: `mount point ${target}`,
              why: 'a mount point in a volume',
              chain,
              run: { kind: 'mountpoint', within: volume.dir, path: volume.path, folder: isFolder },
            },
          ],
    ),
  ];
}

/** What may have been made in a tree for them: paths inside, with the folders on the way. */
export function mountPointsOf({ targets, absent, volumes }: RootfsFacts): Set<string> {
  const made = [...absent.hidden.map(({ path }) => path), ...absent.folders, ...absent.files];
  const paths = [...Object.values(targets), ...volumes.map(({ target }) => target), ...made];
  const withParents = (path: string): string[] => (path === '/' ? [] : [...withParents(dirname(path)), path]);
  return new Set(paths.flatMap(withParents));
}

/** Those of /proc, /sys and /dev, in a tree that has no skeleton below it. */
export function planHostFolders(tree: string, { targets }: RootfsFacts, chain: string): Step[] {
  return HOST_FOLDERS.map((folder): Step => {
    const path = join(tree, targets[folder] ?? folder);
    const run: Command = { kind: 'mkdir', path, mode: 0o755, parents: true };
    return { id: `folder ${path}`, why: 'a mount point', chain, run };
  });
}

export interface Overlay {
  readonly lower: readonly string[];
  /** Both absent where it is only looked at: nothing is written into any. */
  readonly upper?: string;
  readonly work?: string;
}

/** What is mounted where the root is seen. */
export interface RootMount {
  readonly why: string;
  readonly source: string;
  readonly fstype: string;
  readonly options: string;
  /** What relative paths in the options begin with. */
  readonly cwd?: string;
}

export interface RootfsPlan {
  readonly name: string;
  /** Where the root is seen: the mount point of `root`, or the directory that is used in place. */
  readonly rootfs: string;
  readonly root: RootMount | undefined;
  /** The directory in place, where it is seen read-only at `rootfs`. */
  readonly readOnlyTree: string | undefined;
  readonly readOnly: boolean;
  readonly files: Readonly<Record<string, string>>;
  readonly mntns: string | undefined;
}

/** overlayfs splits lowerdir at colons, and options at commas; both take a backslash before them. */
function overlayPath(path: string): string {
  return path.replace(/[\\:,]/g, '\\$&');
}

/** mount(2) takes a page of options. */
const MAX_OPTIONS_BYTES = 4095;

/**
 * Where a page is too short for whole paths, they are told from the folder that most layers are in. Throws
 * InvalidInputError where even these are too many.
 */
export function overlayOptions({ lower, upper, work }: Overlay): { options: string; cwd?: string } {
  const optionsOf = (shown: (path: string) => string) =>
    [
      `lowerdir=${lower.map(shown).map(overlayPath).join(':')}`,
      ...(upper === undefined || work === undefined
        ? []
        : [`upperdir=${overlayPath(shown(upper))}`, `workdir=${overlayPath(shown(work))}`]),
      'index=off',
      'metacopy=off',
      'redirect_dir=off',
    ].join(',');
  const options = optionsOf((path) => path);
  if (Buffer.byteLength(options) <= MAX_OPTIONS_BYTES) return { options };
  const byFolder = [...Map.groupBy(lower, (dir) => dirname(dir))].toSorted(([, a], [, b]) => b.length - a.length);
  const cwd = byFolder[0]?.[0] as string;
  const short = optionsOf((path) => relative(cwd, path));
  if (Buffer.byteLength(short) <= MAX_OPTIONS_BYTES) return { options: short, cwd };
  throw new InvalidInputError(`cannot mount ${lower.length} layers: their names do not fit into a page`, {
    hint: 'minict export and minict image import make one layer of many',
  });
}

export function planRootfs(plan: RootfsPlan, facts: RootfsFacts): Step[] {
  const { mntns, root, rootfs, readOnly, readOnlyTree } = plan;
  const place = { chain: `mounts ${plan.name}`, mntns };
  const { chain } = place;
  const steps: Step[] = [];
  if (mntns !== undefined) {
    steps.push({
      id: 'mntns',
      why: "a mount namespace of the container's own, persisted as a file",
      chain,
      run: { kind: 'run', argv: ['unshare', `--mount=${mntns}`, '--propagation', 'slave', 'true'] },
      undo: { kind: 'umount', targets: [mntns] },
      claims: [{ kind: 'nsfile', name: mntns }],
    });
  }
  const mount = (id: string, why: string, what: Omit<Mount, 'id' | 'why'>) =>
    steps.push(mountStep({ id, why, ...what }, place));
  if (root !== undefined) {
    const { why, ...what } = root;
    mount('rootfs', why, { target: rootfs, ...what });
  }
  if (readOnlyTree !== undefined) {
    const bind = { source: readOnlyTree, target: rootfs, fstype: 'none', options: READ_ONLY_TREE, anyTree: true };
    mount('rootfs', 'the directory, read-only', bind);
    steps.push(...planTree('rootfs', { source: readOnlyTree, target: rootfs, readOnly: true }, place));
  }
  const at = (path: string) => join(rootfs, facts.targets[path] ?? path);
  const bind = (source: string, target: string, options: string) => ({ source, target, fstype: 'none', options });
  const proc = { source: 'proc', target: at('/proc'), fstype: 'proc', options: 'defaults' };
  mount('proc', 'processes, as the host sees them', proc);
  mount('sys', "the host's /sys; slave, so that no unmount comes back to the host", bind('/sys', at('/sys'), TREE));
  mount('dev', "the host's /dev, likewise", bind('/dev', at('/dev'), TREE));
  const planFile = (path: string) => {
    const source = plan.files[path] as string;
    steps.push(...planFileInTmpfs(facts, rootfs, facts.targets[path] as string, place));
    mount(path, `minict's own ${path} over the image's`, bind(source, at(path), readOnly ? 'bind,ro' : 'bind'));
  };
  const files = Object.keys(plan.files).filter((path) => facts.targets[path] !== undefined);
  const inVolumes = new Set(
    files.filter((path) => facts.volumes.some(({ target }) => isWithin(facts.targets[path] as string, target))),
  );
  for (const path of files) if (!inVolumes.has(path)) planFile(path);
  for (const volume of facts.volumes) steps.push(...planVolumeMount(volume, facts, rootfs, place));
  for (const path of inVolumes) planFile(path);
  if (mntns !== undefined) {
    steps.push({
      id: 'mntns trim',
      why: "drop the other containers' namespace files, so that no namespace pins another",
      chain,
      run: { kind: 'umount', targets: ['/run/netns', '/run/utsns'], lazy: true, mntns },
      endsWith: 'mntns',
    });
  }
  return steps;
}
