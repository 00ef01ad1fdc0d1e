/** How a program gets into a container whose root is the one of its own mount namespace: by nsenter(1), the host's last tool on the way. */
import { toolPath } from '../host/tool.ts';
import type { GuestPlace, Place } from '../spec/place.ts';
import type { User } from './user.ts';

/**
 * Without the PID namespace. Behind the mount namespace there are the guest's files alone, so what the user is made of, but
 * its number, is set before; nsenter(1) leaves that alone where it is given no group. The working directory is entered inside.
 */
export function guestWords(
  { netns, utsns, ipcns, cgroupns }: Place,
  { mntns, drop }: GuestPlace,
  { user, workdir }: { readonly user: User | undefined; readonly workdir: string | undefined },
): string[] {
  const groups = user && (user.groups.length === 0 ? '--clear-groups' : `--groups=${user.groups.join(',')}`);
  return [
    ...[toolPath('setpriv'), `--bounding-set=${drop}`],
    ...(user === undefined ? [] : [`--regid=${user.gid}`, groups as string]),
    ...['--', toolPath('nsenter'), `--mount=${mntns}`, `--net=${netns}`, `--uts=${utsns}`],
    ...[`--ipc=${ipcns}`, `--cgroup=${cgroupns}`, `--wdns=${workdir ?? '/'}`],
    ...(user === undefined ? [] : [`--setuid=${user.uid}`]),
    '--',
  ];
}
