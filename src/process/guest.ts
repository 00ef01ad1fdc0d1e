/** How a program gets into a container whose root is the one of its own mount namespace: by nsenter(1), the host's last tool on the way. */
import { join } from 'node:path';
import { toolPath } from '../host/tool.ts';
import type { GuestPlace, Place } from '../spec/place.ts';
import type { User } from './user.ts';

/**
 * Says what nsenter(1) would not: $0 is that, $1 the mount namespace, $2 a folder in it. Without a name there is no program, which
 * is told (127) after the folder was entered. Its variables are no program's.
 */
const REQUIRE_WORKDIR = `
minict_path=$PATH PATH=/usr/bin:/bin
"$0" "--mount=$1" "--wdns=$2" -- '' 2>/dev/null
[ "$?" -eq 127 ] || { echo "minict: cannot use -w $2: no such directory in the container" >&2; exit 126; }
shift 2; unset PWD OLDPWD SHLVL; PATH=$minict_path
exec "$@"
`;

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
  const required =
    workdir === undefined
      ? []
      : [toolPath('sh'), '-c', REQUIRE_WORKDIR, toolPath('nsenter'), mntns, join('/', workdir)];
  return [
    ...required,
    ...[toolPath('setpriv'), `--bounding-set=${drop}`],
    ...(user === undefined ? [] : [`--regid=${user.gid}`, groups as string]),
    ...['--', toolPath('nsenter'), `--mount=${mntns}`, `--net=${netns}`, `--uts=${utsns}`],
    ...[`--ipc=${ipcns}`, `--cgroup=${cgroupns}`, `--wdns=${join('/', workdir ?? '')}`],
    ...(user === undefined ? [] : [`--setuid=${user.uid}`]),
    '--',
  ];
}
