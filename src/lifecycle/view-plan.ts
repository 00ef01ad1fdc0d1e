/** What of a container's root is mounted for a view of it, and what of it cannot be seen from outside. */
import { existsSync } from 'node:fs';
import { lowerLayers } from '../plan/files.ts';
import { Journal } from '../runner/journal.ts';
import { type ContainerSpec, rootfsOf, treeOf } from '../spec/container.ts';
import { HOST_FOLDERS, isWithin } from '../spec/root-paths.ts';
import { containerPaths } from '../state/paths.ts';
import { mountTarget, type Step } from '../step.ts';
import { markFolder } from '../storage/overlay.ts';
import type { Overlay } from '../storage/overlay-options.ts';
import { planRootfs } from '../storage/rootfs.ts';
import type { ViewPlan } from '../storage/view.ts';
import { hostsFileOf, readRoot } from './container-facts.ts';
import type { Context } from './context.ts';

/** A place that is not the container's, as the host sees it. */
export interface Closed {
  readonly path: string;
  readonly cause: string;
}

export interface PlannedView {
  readonly plan: ViewPlan;
  /** What is mounted in a stopped one's root then, by a process of that mount namespace. */
  readonly mounts: (mntns: string) => readonly Step[];
  readonly closed: readonly Closed[];
}

export interface ViewOptions {
  readonly write?: boolean;
  /** Only what the layers have, not what is mounted over them. */
  readonly bare?: boolean;
}

export const HOSTS = "a container's /proc, /sys and /dev are the host's";
const IN_MEMORY = 'a tmpfs is there only while the container is up';
const TO_COME = 'the volume there is made by the next start';

const HOST_MOUNTS = [...HOST_FOLDERS.map((path) => `mount ${path.slice(1)}`), 'init'];

/** One that is up shows as it is, but for what is the host's. */
export function planViewOfUp(context: Context, spec: ContainerSpec, { bare = false }: ViewOptions): PlannedView {
  const paths = containerPaths(context.roots, spec.name);
  const rootfs = rootfsOf(spec, paths.rootfs);
  const steps = new Journal(paths.journal).read()?.steps ?? [];
  const without = steps.flatMap((step) => (HOST_MOUNTS.includes(step.id) ? (mountTarget(step) ?? []) : []));
  const mntns = spec.mounts === 'private' ? paths.mntns : undefined;
  return {
    plan: { rootfs, mntns, overlay: undefined, readOnly: false, bare, without },
    mounts: () => [],
    closed: [...HOST_FOLDERS.map((path) => `${rootfs}${path}`), ...without].map((path) => ({ path, cause: HOSTS })),
  };
}

/** A stopped one gets what it would be started with, but for what is the host's. Throws NotFoundError, InvalidInputError. */
export function planViewOfStopped(
  context: Context,
  spec: ContainerSpec,
  { write = false, bare = false }: ViewOptions,
): PlannedView {
  const paths = containerPaths(context.roots, spec.name);
  const facts = readRoot(context, spec);
  const tree = treeOf(spec, paths.files);
  const rootfs = tree ?? paths.rootfs;
  const readOnly = spec.readOnly ?? false;
  const { upper, work } = paths;
  const lower = lowerLayers(spec.lower ?? [], paths, facts);
  // Read only, its upper layer is one more of the lower ones: nothing is written into any.
  const overlay: Overlay = write && !readOnly ? { lower, upper, work } : { lower: [upper, ...lower] };
  const mark = facts.isMarked && overlay.work !== undefined ? { mark: markFolder(work) } : {};
  const absent = facts.rootfs.volumes.filter(({ volume, toMake }) => volume.type === 'tmpfs' || toMake);
  const volumes = facts.rootfs.volumes.filter(({ target }) => !absent.some((other) => isWithin(target, other.target)));
  const files = Object.entries({
    '/etc/hosts': hostsFileOf(context, spec),
    '/etc/hostname': paths.hostname,
    '/etc/resolv.conf': paths.resolvConf,
  }).filter(([path, source]) => {
    const at = facts.rootfs.targets[path] ?? path;
    return existsSync(source) && !absent.some(({ target }) => isWithin(at, target));
  });
  const mounts = (mntns: string) =>
    planRootfs(
      {
        ...{ name: spec.name, rootfs, root: undefined, readOnlyTree: undefined, readOnly, mntns },
        ...{ trim: [], ownProc: false, ownDev: undefined },
        files: Object.fromEntries(files),
      },
      { ...facts.rootfs, volumes },
    ).filter(({ id }) => !['mntns', 'mntns trim', ...HOST_MOUNTS].includes(id));
  return {
    plan: {
      rootfs,
      mntns: undefined,
      overlay: tree === undefined ? overlay : undefined,
      ...mark,
      readOnly,
      bare,
      without: [],
    },
    mounts: bare ? () => [] : mounts,
    closed: [
      ...HOST_FOLDERS.map((path) => ({ path: `${rootfs}${facts.rootfs.targets[path]}`, cause: HOSTS })),
      ...absent.map(({ target, toMake }) => ({ path: `${rootfs}${target}`, cause: toMake ? TO_COME : IN_MEMORY })),
    ],
  };
}
