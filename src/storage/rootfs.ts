/** Steps that put a container's root file system together: overlay (or a directory in place), proc, sys, dev, /etc files, volumes. */
import { statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { mountFolderIdmapped } from '../host/user-namespace.ts';
import { HOST_FILES, HOST_FOLDERS, isWithin } from '../spec/root-paths.ts';
import type { UserNamespace } from '../spec/userns.ts';
import type { Command, Step } from '../step.ts';
import type { RootfsFacts } from './mount-points.ts';
import { besideMounts, type Mount, mountStep, planTree, READ_ONLY_TREE, TREE } from './mount-step.ts';
import { planOwnDev } from './own-dev.ts';
import { type OwnSys, planOwnSys } from './own-sys.ts';
import { planFileInTmpfs, planFolderInTmpfs, planVolumeMount } from './volume-mount.ts';

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

/** What is mounted where the root is seen. */
export interface RootMount {
  readonly why: string;
  readonly source: string;
  readonly fstype: string;
  readonly options: string;
  /** What relative paths in the options begin with. */
  readonly cwd?: string;
  /** Removes what is left of a mount before. */
  readonly before?: Command;
  /** Removes what is left by the mount, and keeps the kernel from another one. */
  readonly after?: readonly Command[];
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
  /** Folders of namespace files, which a mount namespace of its own does not need. */
  readonly trim: readonly string[];
  /** Its runtime mounts /proc, /sys and /dev. */
  readonly bare?: boolean;
  /** Its user namespace, and the state folder. */
  readonly userns?: UserNamespace & { readonly folder: string };
  /** A /sys of that network namespace. */
  readonly ownSys?: OwnSys;
  /** /proc comes with its PID namespace. */
  readonly ownProc: boolean;
  /** A /dev of its own, with the message queues of that IPC namespace. */
  readonly ownDev: { readonly ipcns: string | undefined } | undefined;
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
  const { userns } = plan;
  if (userns !== undefined) {
    const why = 'files on the disk have the ids that they have inside';
    steps.push(besideMounts('idmap', why, mountFolderIdmapped(userns.folder, userns.hostId), place));
  }
  if (root !== undefined) {
    const { why, before, after: _, ...what } = root;
    if (before !== undefined)
      steps.push({ id: 'mark left', why: 'of a start that did not come to its end', chain, run: before });
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
  if (!plan.ownProc) mount('proc', 'processes, as the host sees them', proc);
  if (plan.ownSys !== undefined) steps.push(planOwnSys(at('/sys'), plan.ownSys, place));
  else if (!plan.bare)
    mount('sys', "the host's /sys; slave, so that no unmount comes back to the host", bind('/sys', at('/sys'), TREE));
  if (plan.ownDev === undefined && !plan.bare)
    mount('dev', "the host's /dev, likewise", bind('/dev', at('/dev'), TREE));
  if (plan.ownDev !== undefined && !plan.bare) steps.push(...planOwnDev(at('/dev'), plan.ownDev.ipcns, place));
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
  for (const volume of facts.volumes) steps.push(...planVolumeMount(volume, facts, rootfs, place, userns));
  for (const path of inVolumes) planFile(path);
  steps.push(...planFolderInTmpfs(facts, rootfs, place));
  if (mntns !== undefined) {
    steps.push({
      id: 'mntns trim',
      why: "drop the other containers' namespace files, so that no namespace pins another",
      chain,
      run: { kind: 'umount', targets: plan.trim, lazy: true, mntns },
      endsWith: 'mntns',
    });
  }
  for (const [index, run] of (root?.after ?? []).entries()) {
    steps.push({ id: `mark ${index}`, why: 'so that it can be mounted again', chain, run });
  }
  return steps;
}
