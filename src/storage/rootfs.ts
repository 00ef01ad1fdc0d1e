/** Steps that put a container's root file system together: overlay (or a directory in place), proc, sys, dev, /etc files. */
import { statfsSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { HostError, InvalidInputError } from '../errors.ts';
import type { Command, Step } from '../step.ts';
import { resolveInRoot, showsFromBelow } from './resolve.ts';

/** f_type of statfs(2), from linux/magic.h. */
export const OVERLAYFS = 0x794c7630;
const NFS = 0x6969;

export interface RootfsFacts {
  /** Mount points inside the root, symlinks followed; absent where the image leads nowhere. */
  readonly targets: Readonly<Record<string, string>>;
  /** Targets that are in none of an overlay's layers: the image has a symlink there that leads to nothing yet. */
  readonly absent: readonly string[];
}

/** In the order of their mounts. */
const FOLDERS = ['/proc', '/sys', '/dev'];
const FILES = ['/etc/hosts', '/etc/hostname', '/etc/resolv.conf'];

/** A read-only bottom layer with the mount points that an image may lack, so that nothing is written for them. */
export function planSkeleton(dir: string): Step[] {
  if (statSync(dir, { throwIfNoEntry: false })) return [];
  const step = (path: string, run: Command): Step => ({ id: `skeleton ${path}`, why: 'mount points', run });
  return [
    ...[...FOLDERS, '/etc'].map((path) =>
      step(path, { kind: 'mkdir', path: join(dir, path), mode: 0o755, parents: true }),
    ),
    ...FILES.map((path) => step(path, { kind: 'write', path: join(dir, path), content: '' })),
  ];
}

function isWithin(path: string, dir: string): boolean {
  return `${path}/`.startsWith(`${dir}/`);
}

/**
 * Where each mount point really is. None may be within another: below a mounted /proc, a path that was looked up in the
 * image leads to something else, by /proc/1/root to the host. Throws InvalidInputError where /proc, /sys or /dev cannot
 * be one; a file that cannot be one is left out.
 */
export function readRootfsFacts(layers: readonly string[], what: string, overlay: boolean): RootfsFacts {
  const targets: Record<string, string> = {};
  const absent: string[] = [];
  for (const path of FOLDERS) {
    const found = resolveInRoot(layers, path);
    // A skeleton that is yet to be made has it.
    const fromSkeleton = overlay && found?.path === path && found.stat === undefined && showsFromBelow(layers, path);
    if (!fromSkeleton && !found?.stat?.isDirectory()) {
      throw new InvalidInputError(`cannot use ${what}: its ${path} is no directory`, {
        hint: `make a directory ${path} in it`,
      });
    }
    const outer = Object.keys(targets).find(
      (other) => isWithin(found.path, targets[other] as string) || isWithin(targets[other] as string, found.path),
    );
    if (outer !== undefined) {
      throw new InvalidInputError(`cannot use ${what}: its ${path} and ${outer} lead into each other`, {
        hint: `make ${path} and ${outer} directories in it`,
      });
    }
    targets[path] = found.path;
  }
  const folders = Object.values(targets);
  for (const path of FILES) {
    const found = resolveInRoot(layers, path);
    if (folders.some((folder) => found !== undefined && isWithin(found.path, folder))) continue;
    if (found?.stat?.isFile()) targets[path] = found.path;
    else if (overlay && found !== undefined && found.stat === undefined && showsFromBelow(layers, found.path)) {
      targets[path] = found.path;
      absent.push(found.path);
    }
  }
  return { targets, absent };
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

/** Files of a layer below all others, for mounts where the image has nothing yet. */
export function planMountPoints(layer: string, { absent }: RootfsFacts, chain: string): Step[] {
  const files = absent.map((path) => join(layer, path));
  const why = "a mount point where the image's symlink leads to";
  return [
    ...[...new Set(files.map((path) => dirname(path)))].map(
      (path): Step => ({ id: `folder ${path}`, why, chain, run: { kind: 'mkdir', path, mode: 0o755, parents: true } }),
    ),
    ...files.map((path): Step => ({ id: `file ${path}`, why, chain, run: { kind: 'write', path, content: '' } })),
  ];
}

/** What may have been made in a tree for them: paths inside, with the folders on the way. */
export function mountPointsOf({ targets, absent }: RootfsFacts): Set<string> {
  const paths = [...Object.values(targets), ...absent];
  return new Set(
    paths.flatMap((path) =>
      path
        .split('/')
        .slice(1)
        .map((_, i, parts) => `/${parts.slice(0, i + 1).join('/')}`),
    ),
  );
}

/** Those of /proc, /sys and /dev, in a tree that has no skeleton below it. */
export function planHostFolders(tree: string, { targets }: RootfsFacts, chain: string): Step[] {
  return FOLDERS.map((folder): Step => {
    const path = join(tree, targets[folder] ?? folder);
    return {
      id: `folder ${path}`,
      why: 'a mount point',
      chain,
      run: { kind: 'mkdir', path, mode: 0o755, parents: true },
    };
  });
}

export interface Overlay {
  readonly lower: readonly string[];
  /** Absent where it is only read. */
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
      ...(upper === undefined ? [] : [`upperdir=${overlayPath(shown(upper))}`]),
      ...(work === undefined ? [] : [`workdir=${overlayPath(shown(work))}`]),
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
  const { name, mntns, root, rootfs } = plan;
  const chain = `mounts ${name}`;
  const place = mntns === undefined ? {} : { mntns };
  const steps: Step[] = [];
  const mount = (
    id: string,
    why: string,
    source: string,
    target: string,
    fstype: string,
    options: string,
    cwd?: string,
  ) => {
    const shared: Pick<Step, 'undo' | 'claims'> =
      mntns === undefined
        ? {
            // Slave first: killed between rbind and rslave, an unmount would take the host's /sys with it.
            undo: { kind: 'run', argv: ['sh', '-c', 'mount --make-rslave "$0" && umount -R "$0"', target] },
            claims: [{ kind: 'mount', name: target }],
          }
        : {};
    steps.push({
      id: `mount ${id}`,
      why,
      chain,
      run: { kind: 'mount', source, target, fstype, options, ...place, ...(cwd === undefined ? {} : { cwd }) },
      ...shared,
      ...(mntns === undefined ? {} : { endsWith: 'mntns' }),
    });
  };
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
  if (root !== undefined) {
    const { why, source, fstype, options, cwd } = root;
    mount('rootfs', why, source, rootfs, fstype, options, cwd);
  }
  const at = (path: string) => join(rootfs, facts.targets[path] ?? path);
  mount('proc', 'processes, as the host sees them', 'proc', at('/proc'), 'proc', 'defaults');
  mount(
    'sys',
    "the host's /sys; slave, so that no unmount comes back to the host",
    '/sys',
    at('/sys'),
    'none',
    'rbind,rslave',
  );
  mount('dev', "the host's /dev, likewise", '/dev', at('/dev'), 'none', 'rbind,rslave');
  for (const [path, source] of Object.entries(plan.files)) {
    if (facts.targets[path] === undefined) continue;
    mount(path, `minict's own ${path} over the image's`, source, at(path), 'none', 'bind');
  }
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
