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
export function planFolder(spec: ContainerSpec, paths: ContainerPaths, facts: ContainerFacts): Step[] {
  const overlay = spec.inPlace === undefined ? [paths.upper, paths.work, paths.rootfs] : [];
  return [
    {
      id: 'folder',
      why: "the container's folder",
      run: { kind: 'mkdir', path: paths.dir, mode: 0o755 },
      undo: { kind: 'rmtree', path: paths.dir },
    },
    ...overlay.map(
      (path): Step => ({ id: `folder ${path}`, why: 'for the overlay', run: { kind: 'mkdir', path, mode: 0o755 } }),
    ),
    {
      id: 'hostname file',
      why: 'for /etc/hostname',
      run: { kind: 'write', path: paths.hostname, content: `${spec.hostname}\n` },
    },
    {
      id: 'resolv.conf',
      why: "the host's name servers",
      run: { kind: 'write', path: paths.resolvConf, content: facts.resolvConf },
    },
    ...(spec.nic === undefined
      ? [
          {
            id: 'hosts file',
            why: 'for /etc/hosts',
            run: { kind: 'write', path: paths.hosts, content: `127.0.0.1\tlocalhost\n127.0.1.1\t${spec.hostname}\n` },
          } satisfies Step,
        ]
      : []),
  ];
}

/** Everything in the kernel: cgroups, namespaces, NICs, mounts. */
export function planBringUp(spec: ContainerSpec, paths: ContainerPaths, facts: ContainerFacts): Step[] {
  const mntns = spec.mounts === 'private' ? paths.mntns : undefined;
  const chain = `net ${spec.name}`;
  const namespaces: Step[] = [
    nsFile('netns', paths.netns, 'file that will hold the network namespace'),
    nsFile('utsns', paths.utsns, 'file that will hold the UTS namespace'),
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
  const mounts =
    mntns === undefined ? rootfs : [nsFile('mntns', mntns, 'file that will hold the mount namespace'), ...rootfs];
  return [
    ...inPart('cgroup', planCgroup(facts.cgroup)),
    ...inPart('namespaces', [...namespaces, planLoopback(spec.name)]),
    ...inPart('nic', nic),
    ...inPart('mounts', mounts),
  ];
}

function inPart(part: Part, steps: readonly Step[]): Step[] {
  return steps.map((step) => ({ part, ...step }));
}

/** A namespace is bound onto a file; made exclusively, so that another's of that name is never taken. */
function nsFile(id: string, path: string, why: string): Step {
  return {
    id: `${id} file`,
    why,
    run: { kind: 'write', path, content: '', exclusive: true },
    undo: { kind: 'unlink', path },
    claims: [{ kind: 'file', name: path }],
  };
}
