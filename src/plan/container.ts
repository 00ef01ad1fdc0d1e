/** spec + host facts → the steps that bring a container up. Pure. */
import { type CgroupPaths, planCgroup } from '../cgroup/cgroup.ts';
import { planLoopback, planNic } from '../network/bridge.ts';
import { type ContainerSpec, rootfsOf } from '../spec/container.ts';
import { derivedMac } from '../spec/name.ts';
import { type ContainerPaths, MNTNS_DIR, NETNS_DIR, UTSNS_DIR } from '../state/paths.ts';
import type { Part, Step } from '../step.ts';
import { planRootfs, type RootfsFacts } from '../storage/rootfs.ts';

export interface ContainerFacts {
  readonly instance: string;
  readonly cgroup: CgroupPaths;
  readonly rootfs: RootfsFacts;
  /** Bottom layer with mount points. */
  readonly skeleton: string;
  readonly bridge: string | undefined;
  readonly hostsFile: string;
  readonly resolvConf: string;
}

/** Once a boot: the folders of persisted namespaces. `ip netns` wants its folder shared, a mount namespace private. */
export function planHost(mounted: readonly string[]): Step[] {
  return [
    { dir: NETNS_DIR, propagation: 'shared' },
    { dir: UTSNS_DIR, propagation: 'shared' },
    { dir: MNTNS_DIR, propagation: 'private' },
  ].flatMap(({ dir, propagation }): Step[] => [
    {
      id: `folder ${dir}`,
      why: 'folder of persisted namespaces',
      run: { kind: 'mkdir', path: dir, mode: 0o755, parents: true },
    },
    ...(mounted.includes(dir)
      ? []
      : ([
          {
            id: `bind ${dir}`,
            why: 'a mount of its own, so that its propagation can be set',
            run: { kind: 'run', argv: ['mount', '--bind', dir, dir] },
          },
          {
            id: `propagation ${dir}`,
            why: propagation === 'shared' ? 'namespaces show in every mount namespace' : 'the kernel refuses otherwise',
            run: { kind: 'run', argv: ['mount', `--make-${propagation}`, dir] },
          },
        ] satisfies Step[])),
  ]);
}

/** The container's folder. Its removal takes all files with it. */
export function planFolder(paths: ContainerPaths): Step[] {
  return [
    {
      id: 'folder',
      why: "the container's folder",
      run: { kind: 'mkdir', path: paths.dir, mode: 0o755 },
      undo: { kind: 'rmtree', path: paths.dir },
    },
  ];
}

/** What the mounts take from the container's folder. */
function planFiles(spec: ContainerSpec, paths: ContainerPaths, facts: ContainerFacts, chain: string): Step[] {
  const dirs = spec.inPlace === undefined ? [paths.upper, paths.work, paths.rootfs] : [];
  const file = (why: string, path: string, content: string): Step => ({
    id: `file ${path}`,
    why,
    chain,
    run: { kind: 'write', path, content },
  });
  return [
    ...dirs.map(
      (path): Step => ({
        id: `folder ${path}`,
        why: 'for the overlay',
        chain,
        run: { kind: 'mkdir', path, mode: 0o755, parents: true },
      }),
    ),
    file('for /etc/hostname', paths.hostname, `${spec.hostname}\n`),
    file("the host's name servers", paths.resolvConf, facts.resolvConf),
    ...(spec.nic === undefined
      ? [file('for /etc/hosts', paths.hosts, `127.0.0.1\tlocalhost\n127.0.1.1\t${spec.hostname}\n`)]
      : []),
  ];
}

/** Everything in the kernel, and the files that it takes: namespaces, NICs, mounts, cgroups. */
export function planBringUp(spec: ContainerSpec, paths: ContainerPaths, facts: ContainerFacts): Step[] {
  const mntns = spec.mounts === 'private' ? paths.mntns : undefined;
  const chain = `net ${spec.name}`;
  const namespaces: Step[] = [
    nsFile('netns', chain, paths.netns, 'file that will hold the network namespace'),
    nsFile('utsns', chain, paths.utsns, 'file that will hold the UTS namespace'),
    {
      id: 'netns',
      why: 'network and UTS namespaces, persisted as bind-mounted files; the host name lives in the latter',
      chain,
      run: {
        kind: 'run',
        argv: ['unshare', `--uts=${paths.utsns}`, `--net=${paths.netns}`, 'hostname', spec.hostname],
      },
      undo: { kind: 'umount', targets: [paths.netns, paths.utsns] },
      claims: [
        { kind: 'nsfile', name: paths.netns },
        { kind: 'nsfile', name: paths.utsns },
      ],
    },
  ];
  const nic =
    spec.nic === undefined || facts.bridge === undefined
      ? []
      : planNic(spec.nic, {
          container: spec.name,
          bridge: facts.bridge,
          hostMac: derivedMac(facts.instance, spec.name, `${spec.nic.name}/host`),
          alias: `minict:${facts.instance}:${spec.name}:${spec.nic.name}`,
        });
  const rootfs = planRootfs(
    {
      name: spec.name,
      rootfs: rootfsOf(spec, paths.rootfs),
      overlay:
        spec.lower === undefined
          ? undefined
          : { lower: [spec.lower, facts.skeleton], upper: paths.upper, work: paths.work },
      files: { '/etc/hosts': facts.hostsFile, '/etc/hostname': paths.hostname, '/etc/resolv.conf': paths.resolvConf },
      mntns,
    },
    facts.rootfs,
  );
  const mountChain = `mounts ${spec.name}`;
  const mounts = [
    ...planFiles(spec, paths, facts, mountChain),
    ...(mntns === undefined ? [] : [nsFile('mntns', mountChain, mntns, 'file that will hold the mount namespace')]),
    ...rootfs,
  ];
  // What takes a process comes first: it is at work while files and folders are made.
  return [
    ...inPart('namespaces', [...namespaces, planLoopback(spec.name)]),
    ...inPart('nic', nic),
    ...inPart('mounts', mounts),
    ...inPart('cgroup', planCgroup(facts.cgroup, `cgroup ${spec.name}`)),
  ];
}

function inPart(part: Part, steps: readonly Step[]): Step[] {
  return steps.map((step) => ({ part, ...step }));
}

/** A namespace is bound onto a file; made exclusively, so that another's of that name is never taken. */
function nsFile(id: string, chain: string, path: string, why: string): Step {
  return {
    id: `${id} file`,
    why,
    chain,
    run: { kind: 'write', path, content: '', exclusive: true },
    undo: { kind: 'unlink', path },
    claims: [{ kind: 'file', name: path }],
  };
}
