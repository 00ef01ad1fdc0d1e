/** spec + host facts → the steps that bring a container up. Pure. */
import { type CgroupHost, type CgroupPaths, planCgroup } from '../cgroup/cgroup.ts';
import { enterLimits, type LimitFacts, planLimitGroups, planLimits } from '../cgroup/limits.ts';
import { nicDriver, type Owner } from '../network/driver.ts';
import { planHairpins, planPorts } from '../network/nat.ts';
import { planLoopback, planNicInside, portPart } from '../network/parts.ts';
import { planRouting, planSysctls } from '../network/routing.ts';
import { chroot } from '../runtime/chroot.ts';
import { nsFile, planCgroupns, planIsolation } from '../runtime/namespaces.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { ownedNetns, planUserns } from '../runtime/userns.ts';
import { type ContainerSpec, isIsolated, rootfsOf } from '../spec/container.ts';
import { type ContainerPaths, MNTNS_DIR } from '../state/paths.ts';
import type { Part, Step } from '../step.ts';
import { driverOf } from '../storage/driver.ts';
import type { RootfsFacts } from '../storage/mount-points.ts';
import { planRootfs } from '../storage/rootfs.ts';
import { lowerLayers, planMountedFiles } from './files.ts';

/** Id of the step that starts PID 1 (runtime/runtime.ts). */
const INIT = 'init';

export interface CgroupFacts {
  readonly instance: string;
  readonly cgroup: CgroupPaths;
  /** Where it has any. */
  readonly limits?: LimitFacts & { readonly tracking: CgroupHost };
}

export interface ContainerFacts extends CgroupFacts {
  readonly rootfs: RootfsFacts;
  /** Bottom layer with mount points. */
  readonly skeleton: string;
  /** See Writing. */
  readonly isMarked?: boolean;
  readonly hostsFile: string;
  /** What is in it, where it is the container's own. */
  readonly ownHosts: string | undefined;
  readonly resolvConf: string;
  /** PID 1 of a PID namespace of its own, where it is to have one. */
  readonly init?: string;
  /** Where it is not chroot. */
  readonly runtime?: Runtime | undefined;
  /** Folders of namespace files that a mount namespace would have copies of. */
  readonly namespaceFolders: readonly string[];
}

/**
 * Once a boot: the folders of persisted namespaces. `ip netns` wants its folder shared, a mount namespace private. From
 * what is there, so that what was done half is done in full by the next one.
 */
export function planHost(
  mounts: readonly { readonly target: string; readonly shared: boolean }[],
  folders: readonly string[],
): Step[] {
  return folders.flatMap((dir): Step[] => {
    const shared = dir !== MNTNS_DIR;
    const mount = mounts.findLast(({ target }) => target === dir);
    const folder: Step = {
      id: `folder ${dir}`,
      why: 'folder of persisted namespaces',
      run: { kind: 'mkdir', path: dir, mode: 0o755, parents: true },
    };
    const bind: Step = {
      id: bindId(dir),
      why: 'a mount of its own, so that its propagation can be set',
      run: { kind: 'run', argv: ['mount', '--bind', dir, dir] },
      undo: { kind: 'run', argv: ['umount', dir] },
    };
    const propagation: Step = {
      id: `propagation ${dir}`,
      why: shared ? 'namespaces show in every mount namespace' : 'the kernel refuses otherwise',
      run: { kind: 'run', argv: ['mount', shared ? '--make-shared' : '--make-private', dir] },
    };
    return [folder, ...(mount === undefined ? [bind] : []), ...(mount?.shared === shared ? [] : [propagation])];
  });
}

/** Id of the step that makes a folder of namespaces a mount of its own. */
export function bindId(dir: string): string {
  return `bind ${dir}`;
}

/** Everything in the kernel, and the files that it takes: namespaces, NICs, mounts, cgroups. */
export function planBringUp(spec: ContainerSpec, paths: ContainerPaths, facts: ContainerFacts): Step[] {
  return [...planNetns(spec, paths, facts.instance), ...planInside(spec, paths, facts)];
}

/** The network namespace and what is in it: needs nothing of the image. */
export function planNetns(spec: ContainerSpec, paths: ContainerPaths, instance: string): Step[] {
  const netns: Step = {
    id: 'netns',
    why: 'a network namespace, persisted as a file',
    chain: `net ${spec.name}`,
    run: { kind: 'run', argv: netnsArgv(spec, paths), exclusive: true },
    // Lazily, as `ip netns del` does: somebody may have the file open.
    undo: { kind: 'umount', targets: [paths.netns], lazy: true, unlink: true },
    claims: [{ kind: 'nsfile', name: paths.netns }],
  };
  return [
    ...inPart('namespaces', [...(spec.userns === undefined ? [] : planUserns(paths, spec.userns.hostId)), netns]),
    ...planSysctls(spec),
    ...planNics(spec, { container: spec.name, instance, runDir: paths.runDir }),
    ...inPart('namespaces', [planLoopback(spec.name)]),
    ...planPorts(instance, spec),
  ];
}

function netnsArgv({ name, userns }: ContainerSpec, paths: ContainerPaths): string[] {
  return userns === undefined ? ['ip', 'netns', 'add', name] : ownedNetns(paths);
}

/** The rest. Neighbours that one process can carry out stand together. */
export function planInside(spec: ContainerSpec, paths: ContainerPaths, facts: ContainerFacts): Step[] {
  const chain = `mounts ${spec.name}`;
  const utsns: Step = {
    id: 'utsns',
    why: 'a UTS namespace for the host name, persisted as a file',
    chain,
    run: { kind: 'run', argv: ['unshare', `--uts=${paths.utsns}`, 'hostname', spec.hostname] },
    undo: { kind: 'umount', targets: [paths.utsns], lazy: true },
    claims: [{ kind: 'nsfile', name: paths.utsns }],
  };
  const beside = `cgroup ${spec.name}`;
  const makesOwn = facts.runtime?.makesNamespaces ?? false;
  const cgroup = inPart('cgroup', [
    ...planCgroup(facts.cgroup, beside, isIsolated(spec, 'pid')),
    ...planLimitsOf(spec, facts).map((step) => ({ ...step, chain: beside })),
  ]);
  const files = [
    ...inPart('mounts', planMountedFiles(spec, paths, facts, chain)),
    ...(makesOwn
      ? []
      : inPart('namespaces', [nsFile('utsns', chain, paths.utsns, 'file that will hold the UTS namespace'), utsns])),
  ];
  if (spec.isolated === undefined) return [...files, ...inPart('mounts', planMounts(spec, paths, facts)), ...cgroup];
  const groups = [...cgroup, ...inPart('mounts', makesOwn ? [] : planCgroupns(spec, paths, facts.cgroup, beside))];
  const isolated = inPart('mounts', planIsolated(spec, paths, facts, chain));
  // Its processes are in these.
  const after = groups.slice(-1).map(({ id }) => id);
  return [
    // A process makes the last of them: first of all.
    ...groups,
    ...files,
    ...isolated.map((step) => (step.id === INIT ? { ...step, after: [...(step.after ?? []), ...after] } : step)),
  ];
}

function planLimitsOf({ name, limits }: ContainerSpec, { instance, limits: facts }: ContainerFacts): Step[] {
  if (limits === undefined || facts === undefined) return [];
  const limited = { tracking: facts.tracking, instance, name };
  return [...planLimitGroups(facts, limited), ...planLimits(limits, facts, limited)];
}

/** Files that take `0` of a program that enters the container: of its payload, and of its limits. */
export function enterFiles(name: string, { instance, cgroup, limits }: CgroupFacts): string[] {
  const others = limits === undefined ? [] : enterLimits(limits, { tracking: limits.tracking, instance, name });
  return [cgroup.enterPayload, ...others];
}

/** What is done on the host stands together, and what is done inside: one process each, however many there are. */
export function planNics(spec: ContainerSpec, owner: Owner): Step[] {
  const { nics, name } = spec;
  const down = new Set(nics.flatMap((nic) => (nic.down ? [portPart(nic)] : [])));
  const made = nics.flatMap((nic) => nicDriver(nic).planNic(nic, owner));
  const isInside = ({ run }: Step) => run.kind === 'run' && run.netns !== undefined;
  return [
    ...made.filter((step) => !isInside(step)),
    ...planHairpins(spec),
    ...made.filter(isInside),
    ...nics.flatMap((nic) => nicDriver(nic).planInside?.(nic, owner) ?? planNicInside(nic, name)),
    ...nics.flatMap((nic) => planRouting(spec, nic)),
  ].filter(({ part }) => part === undefined || !down.has(part));
}

/** In a user namespace nobody but its maker can mount one, so no runtime can. */
function ownSysOf({ runtime, userns, isolated, profile }: ContainerSpec, { netns }: ContainerPaths) {
  if (userns !== undefined) return { ownSys: { netns, readOnly: profile === 'hardened', cgroups: false } };
  if (runtime !== undefined || !isIsolated({ isolated }, 'sys')) return {};
  return { ownSys: { netns, readOnly: false, cgroups: true } };
}

function planMounts(spec: ContainerSpec, paths: ContainerPaths, facts: ContainerFacts): Step[] {
  return planRootfs(
    {
      name: spec.name,
      rootfs: rootfsOf(spec, paths.rootfs),
      root:
        spec.lower &&
        driverOf(spec).rootMount(paths, lowerLayers(spec.lower, paths, facts), { ...spec, isMarked: facts.isMarked }),
      readOnlyTree: spec.readOnly ? spec.inPlace : undefined,
      readOnly: spec.readOnly ?? false,
      files: { '/etc/hosts': facts.hostsFile, '/etc/hostname': paths.hostname, '/etc/resolv.conf': paths.resolvConf },
      mntns: spec.mounts === 'private' ? paths.mntns : undefined,
      trim: facts.namespaceFolders,
      ownProc: isIsolated(spec, 'pid'),
      bare: spec.runtime !== undefined,
      ...(spec.userns === undefined
        ? {}
        : { userns: { file: paths.userns, hostId: spec.userns.hostId, folder: paths.stateFolder } }),
      ...ownSysOf(spec, paths),
      ownDev: isIsolated(spec, 'dev') ? { ipcns: isIsolated(spec, 'ipc') ? paths.ipcns : undefined } : undefined,
    },
    facts.rootfs,
  );
}

function planIsolated(spec: ContainerSpec, paths: ContainerPaths, facts: ContainerFacts, chain: string): Step[] {
  const { cgroup, init = '', runtime = chroot } = facts;
  const proc = facts.rootfs.targets['/proc'] ?? '/proc';
  const root = { cgroup, init, rootfs: rootfsOf(spec, paths.rootfs), proc };
  return [
    ...(runtime.makesNamespaces ? [] : planIsolation(spec, paths, chain)),
    ...planMounts(spec, paths, facts),
    ...(isIsolated(spec, 'pid') ? runtime.planInit(spec, paths, root, chain) : []),
  ];
}

function inPart(part: Part, steps: readonly Step[]): Step[] {
  return steps.map((step) => ({ part, ...step }));
}
