/** What the plan of a container has to know of the host and of its image. */
import { existsSync } from 'node:fs';
import { cgroupPaths, readCgroupHost } from '../cgroup/cgroup.ts';
import { readLimitFacts } from '../cgroup/controllers.ts';
import { NotFoundError } from '../errors.ts';
import { isMountPoint } from '../host/exec-calls.ts';
import { readResolvConf } from '../host/facts.ts';
import { toolPath } from '../host/tool.ts';
import type { CgroupFacts, ContainerFacts } from '../plan/container.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { type ContainerSpec, hasOwnHosts, isIsolated, networkOf, networksOf, treeOf } from '../spec/container.ts';
import { hostsText, hostsWithout } from '../state/hosts.ts';
import { type NetworkRecord, plainAddress, withMember } from '../state/network.ts';
import {
  containerPaths,
  ISOLATION_FOLDERS,
  NETNS_DIR,
  networkPaths,
  skeletonPath,
  USERNS_DIR,
  UTSNS_DIR,
} from '../state/paths.ts';
import { readRootfsFacts } from '../storage/mount-points.ts';
import { markFolder } from '../storage/overlay.ts';
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
): Pick<ContainerFacts, 'rootfs' | 'skeleton' | 'isMarked'> {
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
  const isMarked = spec.volatile === true && existsSync(markFolder(paths.work));
  return { rootfs: readRootfsFacts(root, attachments, spec.workdir), skeleton, isMarked };
}

/** Throws NotFoundError, InvalidInputError. */
export function readFacts(
  context: Context,
  instance: string,
  spec: ContainerSpec,
  networks: readonly NetworkRecord[],
  { runtime, ...toCome }: ToCome & { readonly runtime?: Runtime | undefined } = {},
): ContainerFacts {
  return {
    ...readCgroupFacts(instance, spec),
    ...readRoot(context, spec, toCome),
    hostsFile: hostsFileOf(context, spec),
    ownHosts: ownHostsOf(spec, networks),
    resolvConf: readResolvConf(spec.dns),
    runtime,
    namespaceFolders: copiedFolders(spec),
    ...(isIsolated(spec, 'pid') && !spec.boot ? { init: toolPath('catatonit') } : {}),
  };
}

/** Those of other containers' namespaces that a new mount namespace has; that of mount namespaces is private, and never copied. */
function copiedFolders({ isolated, userns }: ContainerSpec): string[] {
  const all = isolated === undefined ? ISOLATION_FOLDERS.filter(isMountPoint) : ISOLATION_FOLDERS;
  // A runtime takes it from there.
  const some = userns === undefined ? all : all.filter((dir) => dir !== USERNS_DIR);
  return [NETNS_DIR, UTSNS_DIR, ...some];
}

/** Throws where the host cannot limit it so. */
export function readCgroupFacts(instance: string, { name, limits }: ContainerSpec): CgroupFacts {
  const tracking = readCgroupHost();
  const cgroup = cgroupPaths(tracking, instance, name);
  return { instance, cgroup, ...(limits === undefined ? {} : { limits: { ...readLimitFacts(limits), tracking } }) };
}

/** That of its network, or its own. */
export function hostsFileOf({ roots }: Context, spec: ContainerSpec): string {
  const [network = ''] = networksOf(spec.nics);
  return hasOwnHosts(spec) ? containerPaths(roots, spec.name).hosts : networkPaths(roots, network).hosts;
}

/** `networks` are its own, with itself among the members or not yet. */
export function ownHostsOf(spec: ContainerSpec, networks: readonly NetworkRecord[]): string | undefined {
  if (!hasOwnHosts(spec)) return undefined;
  const { name, hostname, nics, extraHosts } = spec;
  const names = networksOf(nics);
  if (names.length === 0) return hostsWithout(hostname, extraHosts);
  const joined = networks.map((record) => {
    const here = nics.filter((nic) => networkOf(nic) === record.name);
    const addresses = here.map((nic) => [nic.name, nic.addresses.map(plainAddress)] as const);
    return withMember(record, name, { hostname, networks: names }, Object.fromEntries(addresses));
  });
  return hostsText(joined, extraHosts);
}
