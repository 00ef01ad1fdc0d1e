/** The runtime `chroot`: PID 1 is a small reaper in the container's root, if it has a PID namespace of its own. Pure. */
import { killInit, persistPidns } from './namespaces.ts';
import type { Runtime } from './runtime.ts';

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
  [ -e "/proc/$!/exe" ] || { wait; echo "$1 does not run in its root" >&2; exit 1; }
done
`;

/** A PID namespace lives as long as its PID 1: from here to the stop, in a group of its own. */
export const chroot: Runtime = {
  planInit: (_, paths, { cgroup, init, rootfs, proc }, chain) => {
    const target = `${rootfs}${proc}`;
    const argv = ['unshare', '--pid', 'sh', '-c', START_INIT, cgroup.enterInit, init, rootfs, target];
    return [
      {
        id: 'init',
        why: 'PID 1 of a PID namespace, and /proc of that',
        chain,
        run: {
          kind: 'run',
          argv,
          mntns: paths.mntns,
          mounts: target,
          does: { what: 'start init', enter: cgroup.enterInit, program: init, rootfs },
        },
        undo: killInit(cgroup),
        claims: [{ kind: 'init', name: cgroup.init }],
        // While it lives it keeps the mounts.
        leaves: true,
      },
      ...persistPidns(paths, cgroup, chain),
    ];
  },
};
