/**
 * A user namespace, and what belongs to it. Network and IPC namespace are made in it, or root inside could do nothing with
 * them. Files on the disk have the ids that they have inside: the state folder is seen in the container's mount namespace
 * through an idmapped mount (mount_setattr(2)), and an overlay's layers there, the upper one too, so that nothing that reads them has to know. Pure.
 */
import { USERNS_IDS } from '../spec/userns.ts';
import type { ContainerPaths } from '../state/paths.ts';
import type { Step } from '../step.ts';
import { nsFile, QUIET, WAIT } from './namespaces.ts';

/** $0: the file, $1: the first id. */
const MAKE_USERNS = `
${QUIET}
unshare --user sh -c '${WAIT}' 2>&3 3>&- | {
  read -r pid || exit 1
  map="0 $1 ${USERNS_IDS}"
  echo "$map" >"/proc/$pid/uid_map" && echo "$map" >"/proc/$pid/gid_map" && mount --bind "/proc/$pid/ns/user" "$0"
  status=$?
  kill "$pid"
  exit "$status"
} 2>&3
`;

/** Before all that is to be in it. */
export function planUserns({ userns }: ContainerPaths, hostId: number): Step[] {
  return [
    nsFile('userns', undefined, userns, 'file that will hold the user namespace'),
    {
      id: 'userns',
      why: 'a user namespace, persisted as a file',
      run: { kind: 'run', argv: ['sh', '-c', MAKE_USERNS, userns, String(hostId)] },
      undo: { kind: 'umount', targets: [userns], lazy: true },
      claims: [{ kind: 'nsfile', name: userns }],
    },
  ];
}
