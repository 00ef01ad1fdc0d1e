/** Namespaces beside those that every container has: PID, IPC and cgroup, persisted as files like the others. Pure. */
import type { CgroupPaths } from '../cgroup/cgroup.ts';
import { type ContainerSpec, isIsolated } from '../spec/container.ts';
import type { ContainerPaths } from '../state/paths.ts';
import type { Step } from '../step.ts';

/** A namespace is bound onto a file; made exclusively, so that another's of that name is never taken. */
export function nsFile(id: string, chain: string, path: string, why: string): Step {
  return {
    id: `${id} file`,
    why,
    chain,
    run: { kind: 'write', path, content: '', exclusive: true },
    undo: { kind: 'unlink', path },
    claims: [{ kind: 'file', name: path }],
  };
}

function persisted(id: string, chain: string, path: string, why: string, argv: readonly string[]): Step[] {
  return [
    nsFile(id, chain, path, `file that will hold the ${why}`),
    {
      id,
      why: `a ${why}, persisted as a file`,
      chain,
      run: { kind: 'run', argv },
      undo: { kind: 'umount', targets: [path], lazy: true },
      claims: [{ kind: 'nsfile', name: path }],
    },
  ];
}

/** Those that a process leaves behind, once the cgroups are there: the root that a cgroup namespace shows is its maker's group. */
export function planIsolation(spec: ContainerSpec, paths: ContainerPaths, cgroup: CgroupPaths, chain: string): Step[] {
  const inGroup = 'echo 0 >"$0" && exec unshare "--cgroup=$1" true';
  return [
    ...(isIsolated(spec, 'ipc')
      ? persisted('ipcns', chain, paths.ipcns, 'IPC namespace', ['unshare', `--ipc=${paths.ipcns}`, 'true'])
      : []),
    ...(isIsolated(spec, 'cgroupns')
      ? persisted('cgroupns', chain, paths.cgroupns, 'cgroup namespace', [
          ...['sh', '-c', inGroup, cgroup.enterPayload, paths.cgroupns],
        ])
      : []),
  ];
}

/**
 * $0: the init group's file, $1: the reaper, $2: the root, $3: where its /proc is. unshare(1) does not fork, so the first
 * that this shell forks is PID 1. The reaper needs no file in the image: it is run by a descriptor, and inherits no lock.
 */
const START_INIT = `
echo 0 >"$0" || exit 1
(
  mount -t proc proc "$3" || exit 1
  exec 3<"$1" 4>&- 5>&- 6>&-
  exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin setsid chroot "$2" /proc/self/fd/3 -P 2>/dev/null
) </dev/null >/dev/null &
until [ "/proc/$!/exe" -ef "$1" ]; do
  [ -e "/proc/$!/exe" ] || { echo "$1 does not run in its root" >&2; exit 1; }
done
`;

/** Both that shell and the reaper have it as the namespace of their children. */
const PERSIST_PIDNS = 'read -r pid <"$0" && exec mount --bind "/proc/$pid/ns/pid_for_children" "$1"';

const KILL_INIT = `
while read -r pid <"$0/cgroup.procs"; do kill -s KILL "$pid" 2>/dev/null; done
`;

/** A PID namespace lives as long as its PID 1: a small reaper in a group of its own, from here to the stop. */
export function planInit(
  spec: ContainerSpec,
  paths: ContainerPaths,
  { cgroup, init, rootfs, proc }: { cgroup: CgroupPaths; init: string; rootfs: string; proc: string },
  chain: string,
): Step[] {
  if (!isIsolated(spec, 'pid')) return [];
  const target = `${rootfs}${proc}`;
  const start = ['unshare', '--pid', 'sh', '-c', START_INIT, cgroup.enterInit, init, rootfs, target];
  return [
    {
      id: 'init',
      why: 'PID 1 of a PID namespace, and /proc of that',
      chain,
      run: { kind: 'run', argv: start, mntns: paths.mntns, mounts: target },
      undo: { kind: 'run', argv: ['sh', '-c', KILL_INIT, cgroup.init] },
      claims: [{ kind: 'init', name: cgroup.init }],
      // While it lives it keeps the mounts.
      leaves: true,
    },
    ...persisted('pidns', chain, paths.pidns, 'PID namespace', [
      ...['sh', '-c', PERSIST_PIDNS, `${cgroup.init}/cgroup.procs`, paths.pidns],
    ]),
  ];
}
